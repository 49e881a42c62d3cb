"""Settings of one provider: where it is, how it is asked, how long it may take."""

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from gateway.core.breaker import BreakerSettings
from gateway.core.quantity import NotSwitch, Seconds
from gateway.core.settings import Settings
from gateway.core.timeouts import TimeoutOverrides, Timeouts, merged

__all__ = [
    "BreakerSettings",
    "PoolSettings",
    "ProviderSettings",
    "TimeoutOverrides",
    "Timeouts",
    "TlsSettings",
    "UnfinishedSettings",
    "is_local_host",
    "merged",
]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name (RFC 9110, section 5.6.2)."""

_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
_KEY = re.compile(r"[\x21-\x7e]+")

_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that frame the message or belong to the connection (RFC 9110, section 7.6.1): ours to write."""

_CREDENTIAL_HEADER = {"openai": "authorization", "anthropic": "x-api-key"}


def _check_key(key: SecretStr) -> SecretStr:
    value = key.get_secret_value()
    if not value:
        raise ValueError("is empty: set the variable it comes from, or write api_keys: [] to send no credential")
    if _KEY.fullmatch(value) is None:
        raise ValueError("must be printable ASCII without spaces (was a line break pasted with it?)")
    return key


def _check_headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    seen = set()
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a header name: letters, digits and - only")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is written by the gateway itself: remove it")
        if name.lower() in seen:
            raise ValueError(f"{name} is there twice, in different spellings: keep one")
        seen.add(name.lower())
        if _FIELD_VALUE.fullmatch(value.get_secret_value()) is None:
            raise ValueError(
                f"the value of {name} must be printable ASCII, not empty, without line breaks or spaces at its ends"
            )
    return MappingProxyType(dict(headers))


def _freeze(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


def _check_different(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if len({key.get_secret_value() for key in keys}) < len(keys):
        raise ValueError("has the same key twice: keep one")
    return keys


def _check_base_url(url: str) -> str:
    if _KEY.fullmatch(url) is None:
        raise ValueError("must be printable ASCII without spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("has no valid host and port: write https://host[:port]/path") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must be a whole address: write https://host[:port]/path")
    if "@" in parts.netloc:
        raise ValueError("must hold no user or password: put the key into api_keys or headers")
    if "?" in url or "#" in url:
        raise ValueError("must end with its path: put what follows the ? into query")
    return url.rstrip("/")


def is_local_host(host: str) -> bool:
    """Tell whether plain HTTP to this host stays within a machine or a private network.

    True for loopback, private and link-local addresses (RFC 1918, RFC 4193, RFC 3927), ``localhost``
    (RFC 6761) and names without a dot, which only a container network or the local domain can resolve; not
    for a bare number, which a resolver takes for an address.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ("." not in host and not host[:1].isdigit()) or host.lower().endswith(".localhost")
    return address.is_loopback or (address.is_private and not address.is_unspecified) or address.is_link_local


class PoolSettings(Settings):
    """Connections to one provider."""

    connections: Annotated[int, Field(ge=1, le=1_000_000), NotSwitch] = 10_000
    """Most connections at once; each stream holds one."""
    keepalive_s: Seconds = 60.0
    """How long an idle connection is kept, in seconds."""
    connect_s: Seconds = 5.0
    """For the name, the connection and TLS together, in seconds."""
    dns_ttl_s: Seconds = 60.0
    """How long a resolved address is used, in seconds."""
    warm: Annotated[int, Field(ge=0, le=1000), NotSwitch] = 1
    """Connections opened at start, before the first request; 0 is none."""
    max_queued: Annotated[int, Field(ge=0, le=1_000_000), NotSwitch] = 1000
    """Requests that may wait for a connection when all are in use; one more is refused at once."""
    queue_s: Seconds = 1.0
    """How long each of them waits at most, in seconds."""

    @field_validator("warm")
    @classmethod
    def _within_connections(cls, warm: int, info: ValidationInfo) -> int:
        connections = info.data.get("connections", warm)
        if warm > connections:
            raise ValueError(f"must be at most connections, {connections}")
        return warm


class TlsSettings(Settings):
    """TLS to one provider. Certificates and host names are always verified."""

    ca_file: Annotated[str, Field(min_length=1)] | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""


class UnfinishedSettings(Settings):
    """What becomes of a stream whose client left in the middle of it."""

    settle: Literal["cancel", "drain"] = "cancel"
    """cancel ends it upstream and estimates its usage; drain reads on, unseen, for the provider's own figures."""
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), NotSwitch] = 4096
    """Where settle is drain: output tokens read on at most; then it is cancelled."""
    max_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False), NotSwitch] = 60.0
    """Where settle is drain: seconds read on at most; then it is cancelled."""


class RetrySettings(Settings):
    """How often a target may be asked again; to turn to another target needs no leave."""

    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NotSwitch] = 0.2
    """Retries that each first request to a target earns it; with floor: 0, 0 switches them off."""
    floor: Annotated[int, Field(ge=0, le=1000), NotSwitch] = 3
    """Retries that a target has before any traffic."""


class ProviderSettings(Settings):
    """One provider: an address, a dialect and credentials."""

    # The order matters: a validator sees the fields above its own.
    dialect: Literal["openai", "anthropic"]
    """What the provider speaks: openai or anthropic."""
    allow_plaintext: bool = False
    """Permits http:// to a host neither loopback nor private: keys and prompts are readable on the way."""
    base_url: Annotated[str, AfterValidator(_check_base_url)]
    """Where it answers: openai with its version (https://api.openai.com/v1), anthropic without it."""
    api_keys: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_check_key)], ...], AfterValidator(_check_different)
    ] = ()
    """Credentials, used in turn; an empty list sends none."""
    headers: Annotated[Mapping[str, SecretStr], AfterValidator(_check_headers)] = Field(default_factory=dict)
    """Headers added to every request."""
    query: Annotated[Mapping[str, str], AfterValidator(_freeze)] = Field(default_factory=dict, repr=False)
    """Query parameters added to every request (Azure's api-version)."""
    usage: Literal["inject", "as_asked"] = "inject"
    """inject asks for usage in OpenAI streams and hides its event again; as_asked leaves requests alone."""
    pool: PoolSettings = PoolSettings()
    """Connections."""
    timeouts: Timeouts = Timeouts()
    """How long it may take."""
    tls: TlsSettings = TlsSettings()
    """TLS."""
    breaker: BreakerSettings = BreakerSettings()
    """When a model of it that fails is left alone, and when it is tried again."""
    retries: RetrySettings = RetrySettings()
    """How often a model of it may be asked again."""
    unfinished: UnfinishedSettings = UnfinishedSettings()
    """What becomes of streams whose client left."""

    @field_validator("base_url")
    @classmethod
    def _fits_dialect_and_network(cls, url: str, info: ValidationInfo) -> str:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if info.data.get("dialect") == "anthropic" and parts.path.endswith("/v1"):
            raise ValueError("must not end with /v1 for an anthropic provider: the gateway adds /v1/messages")
        if parts.scheme == "http" and not info.data.get("allow_plaintext", True) and not is_local_host(host):
            raise ValueError(
                f"would send keys and prompts unencrypted to {host}, which is neither loopback nor private: "
                "write https://, or allow_plaintext: true if the way there is protected"
            )
        return url

    @field_validator("headers")
    @classmethod
    def _one_credential(cls, headers: Mapping[str, SecretStr], info: ValidationInfo) -> Mapping[str, SecretStr]:
        credential = _CREDENTIAL_HEADER.get(info.data.get("dialect", ""))
        if info.data.get("api_keys") and credential in {name.lower() for name in headers}:
            raise ValueError(f"has {credential} beside api_keys, which is a second credential: keep one of them")
        return headers
