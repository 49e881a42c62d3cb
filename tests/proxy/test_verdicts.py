"""What a provider's status means: one outcome each, and whose words the client reads."""

import json
import time
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict

from gateway.core.outcome import Outcome
from gateway.core.routing import Route, Target
from gateway.proxy.answers import ProviderFailure, ProviderRefusal, Rests
from gateway.proxy.verdicts import judge
from gateway.upstream.provider import Provider
from gateway.upstream.settings import PoolSettings, ProviderSettings
from tests.provider_answers import anthropic_error_doc, openai_error_doc

KEY = "sk-never-shown"
NOW_S = 1_800_000_000.0
TARGET = Target("p", "real")
ROUTE = Route("asked", "asked", (TARGET,), None, None, "openai")
ERROR = json.dumps(openai_error_doc(f"no, {KEY}")).encode()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider that nobody talks to."""
    settings = ProviderSettings.model_validate(
        {"dialect": "openai", "base_url": "http://127.0.0.1:1/v1", "api_keys": [KEY], "pool": PoolSettings(warm=0)}
    )
    made = Provider("p", settings, spliced=True, clock=time.monotonic)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (201, {}, Outcome.PROVIDER_ERROR),
        (204, {}, Outcome.PROVIDER_ERROR),
        (302, {"Location": "x"}, Outcome.PROVIDER_ERROR),
        (400, {}, Outcome.INVALID_REQUEST),
        (401, {}, Outcome.PROVIDER_AUTH),
        (402, {}, Outcome.PROVIDER_AUTH),
        (403, {}, Outcome.PROVIDER_AUTH),
        (404, {}, Outcome.PROVIDER_MISROUTED),
        (408, {}, Outcome.PROVIDER_ERROR),
        (413, {}, Outcome.INVALID_REQUEST),
        (422, {}, Outcome.INVALID_REQUEST),
        (429, {}, Outcome.PROVIDER_THROTTLED),
        (500, {"Retry-After": "3"}, Outcome.PROVIDER_ERROR),
        (502, {}, Outcome.PROVIDER_ERROR),
        (503, {}, Outcome.PROVIDER_ERROR),
        (503, {"Retry-After": "3"}, Outcome.PROVIDER_THROTTLED),
        (504, {}, Outcome.PROVIDER_ERROR),
        (529, {}, Outcome.PROVIDER_THROTTLED),
    ],
)
async def test_each_status_has_one_outcome(
    provider: Provider, status: int, headers: dict[str, str], outcome: Outcome
) -> None:
    """And no message shows the key or the provider's own words."""
    error = judge(provider, TARGET, ROUTE, (status, CIMultiDict(headers), ERROR), NOW_S)
    assert error.outcome is outcome
    assert KEY not in error.message
    assert "no," not in error.message


@pytest.mark.parametrize(
    ("label", "model", "outcome"),
    [
        ("asked", "real", Outcome.PROVIDER_MISROUTED),
        ("asked", "asked", Outcome.PROVIDER_MISROUTED),
        ("as*", "real", Outcome.PROVIDER_MISROUTED),
        ("as*", "asked", Outcome.INVALID_REQUEST),
    ],
)
async def test_who_chose_a_model_that_is_not_there(
    provider: Provider, label: str, model: str, outcome: Outcome
) -> None:
    """The client, where its word went through a pattern; else the operator."""
    target = Target("p", model)
    route = Route("asked", label, (target,), None, None, "openai")
    assert judge(provider, target, route, (404, {}, ERROR), NOW_S).outcome is outcome


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({}, 1.0), ({"Retry-After": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5), ({"Retry-After": "nonsense"}, 1.0)],
)
async def test_how_long_to_wait(provider: Provider, headers: dict[str, str], wait_s: float) -> None:
    """As told, or a second."""
    assert judge(provider, TARGET, ROUTE, (429, CIMultiDict(headers), b""), NOW_S).retry_after_s == wait_s


QUOTA = json.dumps({"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}}).encode()
SECOND = {"Retry-After": "1"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "rests"),
    [
        (401, {}, ERROR, Rests.KEY_REFUSED),
        (402, {}, ERROR, Rests.KEY_EXHAUSTED),
        (403, {}, ERROR, Rests.NOTHING),
        (429, {}, ERROR, Rests.KEY),
        (429, SECOND, ERROR, Rests.KEY),
        (429, SECOND, QUOTA, Rests.KEY_EXHAUSTED),
        (429, SECOND, b'{"error": {"code": "insufficient_quota"}}', Rests.KEY_EXHAUSTED),
        (429, SECOND, b'{"error": "insufficient_quota"}', Rests.KEY),
        (429, SECOND, b"[]", Rests.KEY),
        (429, SECOND, b"insufficient_quota", Rests.KEY),
        (503, SECOND, QUOTA, Rests.TARGET),
        (529, {}, ERROR, Rests.TARGET),
    ],
)
async def test_who_is_to_rest(
    provider: Provider, status: int, headers: dict[str, str], body: bytes, rests: Rests
) -> None:
    """The key, where it is over its limit or not accepted; the target, where all of it is overloaded."""
    failure = judge(provider, TARGET, ROUTE, (status, CIMultiDict(headers), body), NOW_S)
    assert isinstance(failure, ProviderFailure)
    assert failure.rests is rests


@pytest.mark.parametrize(("headers", "rests"), [({}, Rests.KEY_EXHAUSTED), (SECOND, Rests.KEY)])
async def test_anthropics_spending_limit(headers: dict[str, str], rests: Rests) -> None:
    """Its 429 for speed names a time; one that does not is a limit that no wait cures."""
    settings = ProviderSettings.model_validate({"dialect": "anthropic", "base_url": "http://127.0.0.1:1"})
    provider = Provider("claude", settings, spliced=True, clock=time.monotonic)
    error = json.dumps(anthropic_error_doc("no")).encode()
    failure = judge(provider, TARGET, ROUTE, (429, CIMultiDict(headers), error), NOW_S)
    await provider.close()
    assert isinstance(failure, ProviderFailure)
    assert (failure.rests, failure.retry_after_s, failure.is_guess) == (rests, 1.0, not headers)


@pytest.mark.parametrize(("headers", "wait_s"), [({}, None), ({"Retry-After": "3"}, 3.0), ({"Retry-After": "x"}, None)])
async def test_a_server_error_may_name_a_time(
    provider: Provider, headers: dict[str, str], wait_s: float | None
) -> None:
    """It is a failure all the same; nobody is asked again before."""
    error = judge(provider, TARGET, ROUTE, (500, CIMultiDict(headers), b""), NOW_S)
    assert (error.outcome, error.retry_after_s) == (Outcome.PROVIDER_ERROR, wait_s)


@pytest.mark.parametrize(
    "body", [b"", b"<p>no</p>", b'{"detail":"no"}', b"[1]", json.dumps(anthropic_error_doc("no")).encode()[:20]]
)
async def test_words_that_are_no_error_object_stay(provider: Provider, body: bytes) -> None:
    """They are summarised: the status is named, nothing is quoted."""
    error = judge(provider, TARGET, ROUTE, (422, {}, body), NOW_S)
    assert not isinstance(error, ProviderRefusal)
    assert (error.status, "422" in error.message) == (400, True)


async def test_words_that_are_one_pass(provider: Provider) -> None:
    """Less our key, with the status, and the headers that may cross."""
    error = judge(provider, TARGET, ROUTE, (422, {"x-request-id": "a", "Server": "b"}, ERROR), NOW_S)
    assert isinstance(error, ProviderRefusal)
    assert (error.status, error.body) == (422, ERROR.replace(KEY.encode(), b"[key]"))
    assert error.headers == {"x-provider-request-id": "a"}
