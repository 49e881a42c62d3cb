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
    assert (settings.max_in_flight, settings.max_queued, settings.queue_s) == (20_000, 1000, 1)
    assert (settings.ready_grace_s, settings.drain_s) == (5, 60)
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
        ("max_in_flight", 0),
        ("max_in_flight", True),
        ("max_in_flight", 0.5),
        ("max_queued", -1),
        ("queue_s", 0),
        ("drain_s", -1),
        ("drain_s", float("inf")),
        ("drain_s", float("nan")),
        ("drain_s", False),
        ("drain_s", 86401),
        ("ready_grace_s", -1),
        ("ready_grace_s", True),
        ("ready_grace_s", 61),
        ("log_level", "loud"),
        ("access_log", "perhaps"),
        ("prot", 8080),
    ],
)
def test_what_is_refused(key: str, value: Any) -> None:
    """Each at its key, unknown keys included."""
    with pytest.raises(ValidationError) as refusal:
        ServerSettings.model_validate({key: value})
    # a default that is made from other keys is not made when one of them is wrong, and pydantic says that too
    found = [error["loc"] for error in refusal.value.errors() if error["type"] != "default_factory_not_called"]
    assert found == [(key,)]


@pytest.mark.parametrize(
    ("written", "grace_s"),
    [
        ({}, 5),
        ({"drain_s": 0}, 0),
        ({"drain_s": 2}, 2),
        ({"drain_s": 600}, 5),
        ({"drain_s": 2, "ready_grace_s": 2}, 2),
        ({"drain_s": 10, "ready_grace_s": 0}, 0),
        ({"ready_grace_s": 0}, 0),
        ({"ready_grace_s": 60}, 60),
    ],
)
def test_the_grace_is_part_of_the_drain(written: dict[str, Any], grace_s: float) -> None:
    """Both begin with the signal: a short drain shortens a grace of which nothing is said."""
    settings = ServerSettings.model_validate(written)
    assert settings.ready_grace_s == grace_s <= settings.drain_s


def test_a_grace_beyond_the_drain_is_refused() -> None:
    """Nobody would be served in what is beyond it."""
    with pytest.raises(ValidationError, match="must be at most drain_s, 5,"):
        ServerSettings.model_validate({"drain_s": 5, "ready_grace_s": 5.5})


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
