"""What the listening side may be told: sensible without a word, and strict about what it is told."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.proxy.settings import OpsSettings, ServerSettings


def test_what_holds_where_nothing_is_written() -> None:
    """The defaults are those of the README."""
    settings = ServerSettings()
    assert (settings.host, settings.port, settings.max_body_bytes) == ("0.0.0.0", 8080, 32 * 1024 * 1024)
    assert (settings.deadline_s, settings.keepalive_s, settings.write_timeout_s) == (120, 15, 60)
    assert (settings.head_timeout_s, settings.body_timeout_s, settings.idle_timeout_s) == (10, 30, 75)
    assert (settings.log_level, settings.access_log) == ("info", True)
    assert OpsSettings().metrics_token is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", ""),
        ("port", -1),
        ("port", 65536),
        ("port", True),
        ("max_body_mb", 0),
        ("max_body_mb", 1025),
        ("deadline_s", 0),
        ("keepalive_s", -1),
        ("log_level", "loud"),
        ("access_log", "perhaps"),
        ("prot", 8080),
    ],
)
def test_what_is_refused(key: str, value: Any) -> None:
    """Each at its key, unknown keys included."""
    with pytest.raises(ValidationError) as refusal:
        ServerSettings.model_validate({key: value})
    assert [error["loc"] for error in refusal.value.errors()] == [(key,)]


def test_settings_do_not_change() -> None:
    """What was loaded holds until it is loaded again."""
    settings = ServerSettings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(("written", "held"), [("secret", "secret"), ("", None), (None, None)])
def test_metrics_token(written: str | None, held: str | None) -> None:
    """An empty one, from an empty variable, say, is none; it never shows in a representation."""
    token = OpsSettings.model_validate({"metrics_token": written}).metrics_token
    assert (token.get_secret_value() if token is not None else None) == held
    assert "secret" not in repr(token)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ünicode"])
def test_metrics_tokens_that_no_header_could_carry(token: str) -> None:
    """They are refused when they are written, not when they are first needed."""
    with pytest.raises(ValidationError):
        OpsSettings.model_validate({"metrics_token": token})
