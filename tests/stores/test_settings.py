"""The settings of stores and ledger: what may be written, what is refused and how, and that secrets stay secret."""

import pytest
from pydantic import ValidationError

from gateway.stores.settings import LedgerSettings, StoresSettings


def test_alone_it_needs_nothing() -> None:
    """A file under data/, state in process, rows for ever."""
    stores = StoresSettings()
    assert stores.database_url.get_secret_value() == "sqlite:///data/gateway.db"
    assert (stores.redis_url, stores.on_outage) == (None, "local")
    assert LedgerSettings() == LedgerSettings(open_wait_s=2, end_wait_s=2, retention_days=None)


@pytest.mark.parametrize("written", ["", None])
def test_an_unset_variable_is_no_redis(written: str | None) -> None:
    """`${REDIS_URL:-}` is empty where it is not set."""
    assert StoresSettings.model_validate({"redis_url": written}).redis_url is None


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://:p%40ss@cache.internal:6380/2", "redis://[::1]:6379"])
def test_redis_may_be_anywhere(url: str) -> None:
    """With or without TLS, password, port and database."""
    found = StoresSettings.model_validate({"redis_url": url}).redis_url
    assert found is not None
    assert found.get_secret_value() == url


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        (StoresSettings, "database_url", "mysql://db/x", "must begin with sqlite:/// or postgresql://"),
        (StoresSettings, "database_url", "sqlite://", "must be a file"),
        (StoresSettings, "database_url", "postgresql://u:p@db:port/x", "no valid host and port"),
        (StoresSettings, "redis_url", "http://cache", "must be a whole address"),
        (StoresSettings, "redis_url", "redis://", "must be a whole address"),
        (StoresSettings, "redis_url", "redis://cache:port", "no valid host and port"),
        (StoresSettings, "on_outage", "ignore", "'local', 'deny' or 'allow'"),
        (StoresSettings, "sqlite", "x", "Extra inputs"),
        (LedgerSettings, "end_wait_s", 0, "greater than 0"),
        (LedgerSettings, "open_wait_s", True, "not true or false"),
        (LedgerSettings, "retention_days", 31, "greater than or equal to 32"),
        (LedgerSettings, "retention_days", 90.5, "integer"),
    ],
)
def test_mistakes_are_named(
    section: type[StoresSettings] | type[LedgerSettings], key: str, value: object, sentence: str
) -> None:
    """By their key, with what to write."""
    with pytest.raises(ValidationError) as refused:
        section.model_validate({key: value})
    (error,) = refused.value.errors()
    assert error["loc"][0] == key
    assert sentence in error["msg"]


def test_passwords_are_not_shown() -> None:
    """Neither in what is printed nor in what is dumped."""
    stores = StoresSettings.model_validate(
        {"database_url": "postgresql://u:hunter2@db/x", "redis_url": "redis://:hunter2@cache"}
    )
    assert "hunter2" not in repr(stores) + str(stores.model_dump()) + stores.model_dump_json()
