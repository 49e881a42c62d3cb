"""Settings of traces: where they go, how many, under which name. None of them means no traces, at no cost."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from gateway.core.quantity import NotSwitch
from gateway.core.settings import Settings

_WRITE: Final = "write http://collector:4318, say, with neither user nor query (credentials belong into headers)"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
"""Fields of HTTP: RFC 9110, sections 5.1 and 5.5."""

_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _check_endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"has no valid host and port: {_WRITE}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"must be a whole address: {_WRITE}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"must be an address alone: {_WRITE}")
    return url.rstrip("/")


def _check_headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a header name: letters, digits and - only")
        if _VALUE.fullmatch(value.get_secret_value()) is None:
            raise ValueError(f"the value of {name} must be printable ASCII, not empty, without spaces at its ends")
    return MappingProxyType(dict(headers))


class TelemetrySettings(Settings):
    """OpenTelemetry traces (docs/tracing.md); needs the extra: pip install '.[otel]'."""

    otlp_endpoint: Annotated[
        Annotated[str, AfterValidator(_check_endpoint)] | None, BeforeValidator(_empty_is_none)
    ] = None
    """Base address of a collector that speaks OTLP over HTTP; /v1/traces is appended; null or empty: no traces."""
    headers: Annotated[Mapping[str, SecretStr], AfterValidator(_check_headers)] = Field(default_factory=dict)
    """Sent with every export: what the collector wants for a credential."""
    sample: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NotSwitch] = 1.0
    """The share of requests that are traced, of those that come with no `traceparent`: that one decides for itself."""
    service_name: Annotated[str, Field(min_length=1, max_length=255)] = "ai-gateway"
    """The resource attribute `service.name`."""


def is_installed() -> bool:
    """Whether the packages of the extra are there."""
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:
        return False
