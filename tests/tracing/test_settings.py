"""What may stand under ``telemetry``."""

import sys
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.tracing.settings import TelemetrySettings, is_installed


def test_nothing_is_traced_unless_somebody_says_where_to() -> None:
    """Without an address, or with the empty one of a variable that is not set."""
    assert TelemetrySettings().otlp_endpoint is None
    assert TelemetrySettings.model_validate({"otlp_endpoint": "", "sample": 0.5}).otlp_endpoint is None


def test_all_of_it() -> None:
    """A path may stand before /v1/traces; what a collector wants for a credential is not shown."""
    settings = TelemetrySettings.model_validate(
        {"otlp_endpoint": "https://c.example/otlp/", "headers": {"x-key": "secret-1"}, "sample": 0.1}
    )
    assert settings.otlp_endpoint == "https://c.example/otlp"
    assert settings.headers["x-key"].get_secret_value() == "secret-1"
    assert "secret-1" not in repr(settings)
    assert (settings.sample, settings.service_name) == (0.1, "ai-gateway")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"otlp_endpoint": "collector:4318"}, "must be a whole address"),
        ({"otlp_endpoint": "grpc://c:4317"}, "must be a whole address"),
        ({"otlp_endpoint": "http://c:port"}, "no valid host and port"),
        ({"otlp_endpoint": "http://me:secret@c:4318"}, "credentials belong into headers"),
        ({"otlp_endpoint": "http://c:4318?key=1"}, "must be an address alone"),
        ({"headers": {"a b": "x"}}, "is not a header name"),
        ({"headers": {"a": "x\n"}}, "must be printable ASCII"),
        ({"headers": {"a": ""}}, "must be printable ASCII"),
        ({"sample": 1.5}, "less than or equal to 1"),
        ({"sample": -0.1}, "greater than or equal to 0"),
        ({"sample": True}, "must be a number"),
        ({"sample": float("nan")}, "finite"),
        ({"service_name": ""}, "at least 1"),
        ({"endpoint": "http://c:4318"}, "Extra inputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_mistakes(written: dict[str, Any], said: str) -> None:
    """Each is refused with what to write."""
    with pytest.raises(ValidationError, match=said):
        TelemetrySettings.model_validate(written)


@pytest.mark.parametrize(
    "missing", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_both_packages_are_needed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK and the exporter; the tests have them."""
    assert is_installed()
    monkeypatch.setitem(sys.modules, missing, None)
    assert not is_installed()


def test_a_package_that_is_not_there_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the package around it: no error, but an answer."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.exporter.otlp", raising=False)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter.")]:
        monkeypatch.delitem(sys.modules, name)
    assert not is_installed()
