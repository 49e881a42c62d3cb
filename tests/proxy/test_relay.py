"""The relay on its own: what every answer's head says, and how refusals are worded."""

import json
from typing import Any

import pytest
from aiohttp import web

from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.core.routing import Target
from gateway.metrics import Metrics
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.answers import ProviderRefusal, WholeAnswer
from gateway.proxy.relay import SERVER, Relay, head_of
from gateway.proxy.settlement import Settlement
from tests.surface.exchanges import NOW_S, admitted, attempt, begun, books_of, no_limits, tried

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
METRICS = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
BOOKS = books_of(METRICS)
SETTLEMENT = Settlement(METRICS, AccessLog(None), BOOKS, lambda *_: None, lambda: NOW_S)
RELAY = Relay(BOOKS, no_limits(METRICS), SETTLEMENT, METRICS, lambda: NOW_S)


def body_of(response: web.StreamResponse) -> Any:
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_heads_say_who_served() -> None:
    """Provider, model, attempts; before any attempt only who we are and which request it was."""
    assert head_of(begun(CHAT)) == {"Server": SERVER, "x-request-id": "req_new", "X-Content-Type-Options": "nosniff"}
    exchange = tried(CHAT, ASK)
    exchange.attempts.append(attempt(Target("two", "other")))
    head = head_of(exchange)
    assert (head["x-gateway-provider"], head["x-gateway-model"], head["x-gateway-attempts"]) == ("two", "other", "2")
    assert head["x-gateway-cache"] == "bypass"
    assert head_of(exchange, "pending")["x-gateway-provider"] == "pending"
    assert head_of(begun(MESSAGES))["request-id"] == "req_new"


async def test_whole_answers() -> None:
    """Status, type and body of the provider, with the headers that cross; what was read is kept for the settlement."""
    exchange = tried(CHAT, ASK)
    answer = WholeAnswer(b'{"a":1}', {"a": 1}, "application/json", {"x-provider-request-id": "r"})
    response = await RELAY.send(exchange, answer)
    assert isinstance(response, web.Response)
    assert (response.status, response.body, response.headers["Content-Type"]) == (200, b'{"a":1}', "application/json")
    assert response.headers["x-provider-request-id"] == "r"
    assert (exchange.outcome, exchange.answer, exchange.status) == (Outcome.SUCCESS, {"a": 1}, 200)


@pytest.mark.parametrize(
    ("wait_s", "header"), [(None, None), (0.0, "1"), (0.2, "1"), (1.0, "1"), (1.5, "2"), (60.0, "60")]
)
async def test_how_long_a_refused_client_waits(wait_s: float | None, header: str | None) -> None:
    """Whole seconds, rounded up, at least one."""
    error = GatewayError("provider_throttled", "Wait.", retry_after_s=wait_s)
    response = await RELAY.refuse(admitted(CHAT, ASK), error)
    assert response.headers.get("Retry-After") == header


async def test_refusals_in_either_dialect() -> None:
    """The code is in both; the request is settled as what the code stands for."""
    for path in (CHAT, MESSAGES):
        exchange = admitted(path, ASK)
        response = await RELAY.refuse(exchange, GatewayError("provider_error", "It failed."))
        document = body_of(response)
        assert (response.status, exchange.status, exchange.outcome) == (502, 502, Outcome.PROVIDER_ERROR)
        assert (document["error"]["code"], document["error"]["message"]) == ("provider_error", "It failed.")
        assert ("request_id" in document) == (path == MESSAGES)
        assert "x-should-retry" not in response.headers


async def test_refusals_after_several_attempts() -> None:
    """We have tried again already: the SDK need not."""
    exchange = tried(CHAT, ASK)
    exchange.attempts.append(attempt(Target("two", "m")))
    response = await RELAY.refuse(exchange, GatewayError("connect_failed", "Away."))
    assert response.headers["x-should-retry"] == "false"


async def test_the_providers_own_refusal() -> None:
    """Its words as they are."""
    response = await RELAY.refuse(tried(CHAT, ASK), ProviderRefusal(422, b'{"error":{"x":1}}', {"Retry-After": "9"}))
    assert (response.status, body_of(response)) == (422, {"error": {"x": 1}})
    assert response.headers["Retry-After"] == "9"


async def test_refusals_that_end_the_connection() -> None:
    """Where the rest of the request was not read, nothing else can come on it."""
    error = GatewayError("request_too_large", "Too large.", headers={"Connection": "close"})
    response = await RELAY.refuse(begun(CHAT), error)
    assert response.keep_alive is False
