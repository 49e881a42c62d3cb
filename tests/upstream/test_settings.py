"""What a provider may be told to do; the sentences for mistakes are tested with the whole file."""

import pytest
from pydantic import ValidationError

from gateway.upstream.settings import (
    BreakerSettings,
    PoolSettings,
    ProviderSettings,
    UnfinishedSettings,
    is_local_host,
)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("192.168.0.1", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("169.254.1.1", True),
        ("fd00::1", True),
        ("fe80::1", True),
        ("0.0.0.0", False),
        ("8.8.8.8", False),
        ("localhost", True),
        ("a.localhost", True),
        ("ollama", True),
        ("api.openai.com", False),
        ("2130706433", False),
        ("0x7f000001", False),
        ("", True),
    ],
)
def test_hosts_that_plain_http_may_reach(host: str, local: bool) -> None:
    """This machine, private networks, and names that only they resolve."""
    assert is_local_host(host) is local


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://api.example.com/v1"},
        {"base_url": "https://user@api.example.com/v1"},
        {"base_url": "https://api.example.com/v1?x=y"},
        {"base_url": "ftp://api.example.com"},
        {"base_url": "https://api.example.com:99999/v1"},
        {"api_keys": ("a", "a")},
        {"api_keys": ("a b",)},
        {"api_keys": ("a",), "headers": {"Authorization": "b"}},
        {"headers": {"Host": "x"}},
        {"headers": {"A": "x", "a": "y"}},
        {"headers": {"A": "x\r\nB: y"}},
        {"headers": {"A B": "x"}},
        {"dialect": "anthropic", "base_url": "https://api.example.com/v1"},
        {"pool": {"connections": 1, "warm": 2}},
        {"pool": {"max_queued": -1}},
        {"pool": {"max_queued": True}},
        {"pool": {"queue_s": 0}},
        {"breaker": {"probes": 0}},
        {"breaker": {"window_s": float("inf")}},
        {"breaker": {"cooldown_s": 2, "max_cooldown_s": 1}},
        {"breaker": None},
        {"unfinished": {"settle": "wait"}},
        {"unfinished": {"settle": "drain", "max_tokens": 0}},
        {"unfinished": {"settle": "drain", "max_s": 0}},
        {"unfinished": {"settle": "drain", "max_s": 3601}},
        {"unfinished": {"settle": "drain", "max_s": True}},
        {"unknown": 1},
    ],
)
def test_what_is_refused(fields: dict[str, object]) -> None:
    """Each of these would leak a key, be ambiguous, or never work."""
    with pytest.raises(ValidationError):
        ProviderSettings.model_validate({"dialect": "openai", "base_url": "https://api.example.com/v1", **fields})


def test_defaults_and_secrets() -> None:
    """Little has to be said, and no key or header shows in the settings' text."""
    settings = ProviderSettings.model_validate(
        {
            "dialect": "openai",
            "base_url": "https://api.example.com/v1/",
            "api_keys": ["sk-hidden"],
            "headers": {"X-Key": "hidden-too"},
            "query": {"key": "hidden-three"},
        }
    )
    assert settings.base_url == "https://api.example.com/v1"
    assert (settings.usage, settings.pool) == ("inject", PoolSettings())
    assert "hidden" not in repr(settings)


def test_what_holds_in_an_outage_where_nothing_is_written() -> None:
    """A circuit with its defaults, a short queue, and no stream that goes on without its client."""
    settings = ProviderSettings.model_validate({"dialect": "openai", "base_url": "https://api.example.com/v1"})
    assert settings.breaker == BreakerSettings()
    assert (settings.pool.max_queued, settings.pool.queue_s) == (1000, 1)
    assert settings.unfinished == UnfinishedSettings(settle="cancel", max_tokens=4096, max_s=60)
