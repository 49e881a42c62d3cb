"""What spans are called and what they say."""

from collections.abc import Iterable

import pytest

from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.core.tokens import Source, Usage
from gateway.dialects import OPERATIONS
from gateway.proxy.exchange import Attempt, Exchange
from gateway.tracing import naming
from tests.surface.exchanges import admitted, attempt, begun, order_of, tried

CHAT = "/v1/chat/completions"
ASKED = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}


def served(outcome: Outcome = Outcome.SUCCESS, **asked: object) -> tuple[Exchange, Attempt]:
    """An exchange whose only attempt has ended, and this attempt."""
    exchange = tried(CHAT, {**ASKED, **asked})
    (only,) = exchange.attempts
    only.end(outcome, only.started_at + 1)
    exchange.served, exchange.outcome = only, outcome
    return exchange, only


def test_operations_are_called_as_the_conventions_call_them() -> None:
    """Its well-known words where it has one for ours; counting tokens it does not know."""
    assert {operation.path: naming.operation_name(operation) for operation in OPERATIONS} == {
        "/v1/chat/completions": "chat",
        "/v1/completions": "text_completion",
        "/v1/embeddings": "embeddings",
        "/v1/responses": "chat",
        "/v1/messages": "chat",
        "/v1/messages/count_tokens": "count_tokens",
    }


def test_a_model_that_leads_nowhere_names_no_span() -> None:
    """Clients could make up as many names as they like; as an attribute it is there."""
    exchange = begun(CHAT)
    assert exchange.operation is not None
    exchange.asked = "made-up"
    assert naming.request_name(exchange, exchange.operation) == "chat"
    assert naming.of_request(exchange, exchange.operation)["gen_ai.request.model"] == "made-up"
    exchange.label = "made-*"
    assert naming.request_name(exchange, exchange.operation) == "chat made-up"


def test_what_is_asked_for() -> None:
    """Only what differs from what everybody asks for."""
    plain = admitted(CHAT, ASKED)
    found = naming.of_attempt(order_of(plain), attempt())
    assert not {"gen_ai.request.stream", "gen_ai.request.choice.count", "gen_ai.request.max_tokens"} & found.keys()
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", 1)
    rich = admitted(CHAT, {**ASKED, "stream": True, "n": 2, "max_tokens": 7})
    found = naming.of_attempt(order_of(rich), attempt())
    assert found["gen_ai.request.stream"] is True
    assert (found["gen_ai.request.choice.count"], found["gen_ai.request.max_tokens"]) == (2, 7)


def test_tokens_stand_at_the_attempt_that_served() -> None:
    """All input as one sum, as the conventions want it; kinds of it where there are any."""
    exchange, only = served()
    exchange.usage = Usage(5, 3, 2, 1, output=9, reasoning=4, source=Source.REPORTED)
    lost = attempt()
    lost.end(Outcome.HEDGE_LOST, lost.started_at)
    assert naming.of_attempt_ended(exchange, lost, {}) == {"aigateway.outcome": "hedge_lost"}
    found = naming.of_attempt_ended(exchange, only, {"gen_ai.response.id": "r"})
    assert found == {
        "aigateway.outcome": "success",
        "gen_ai.response.id": "r",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.cache_write.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 4,
        "aigateway.usage.source": "reported",
    }
    exchange.usage = Usage(0, source=Source.REPORTED)
    none = naming.of_attempt_ended(exchange, only, {})
    assert none["gen_ai.usage.output_tokens"] == 0  # zero reported is zero
    assert "gen_ai.usage.reasoning.output_tokens" not in none


def outcomes(*but: Outcome) -> Iterable[Outcome]:
    return sorted(set(Outcome) - set(but))


FINE = (Outcome.SUCCESS, Outcome.HEDGE_LOST)
NOT_THE_PROVIDER = (*FINE, Outcome.CLIENT_CLOSED, Outcome.BUDGET_CUT, Outcome.DRAINING)
OF_CLIENTS = (
    *(Outcome.INVALID_REQUEST, Outcome.UNAUTHORIZED, Outcome.FORBIDDEN_MODEL, Outcome.RATE_LIMITED, Outcome.TOO_BUSY),
    *(Outcome.OVER_BUDGET, Outcome.CLIENT_CLOSED, Outcome.BUDGET_CUT),
)


def test_whose_fault_it_is() -> None:
    """A provider's span fails with what the provider did; the request's with what was not the client's doing."""
    failed = [outcome for outcome in Outcome if naming.attempt_failed(served(outcome)[1])]
    assert sorted(failed) == outcomes(*NOT_THE_PROVIDER)
    failed = [outcome for outcome in Outcome if naming.request_failed(served(outcome)[0])]
    assert sorted(failed) == outcomes(*FINE, *OF_CLIENTS)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_other_ending_has_a_type(outcome: Outcome) -> None:
    """An outcome is there in any case; the error's own code where there is one, since it says more."""
    exchange, only = served(outcome)
    for found in (naming.of_request_ended(exchange), naming.of_attempt_ended(exchange, only, {})):
        assert found["aigateway.outcome"] == outcome.value
        assert found.get("error.type") == (None if outcome in FINE else outcome.value)
    exchange.error = GatewayError("model_not_found", "no")
    if outcome not in FINE:
        assert naming.of_request_ended(exchange)["error.type"] == "model_not_found"


def test_what_was_never_sent_has_no_status() -> None:
    """A client that left before the head got none; who is not known is not named."""
    found = naming.of_request_ended(begun(CHAT))
    assert found == {
        "aigateway.outcome": "internal",
        "aigateway.attempts": 0,
        "aigateway.cost_nanousd": 0,
        "error.type": "internal",
    }


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'data: {"id":"c1","model":"m","choices":[]}\n\n', ("c1", "m")),
        (b': hello\r\n\r\ndata:{"id":"c1","model":"m"}\r\n\r\ndata: {"id":"c2"}', ("c1", "m")),
        (
            b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg","model":"cl"}}\n\n',
            ("msg", "cl"),
        ),
        (b'data: {"type":"response.created","response":{"id":"resp","model":"o"}}\n\n', ("resp", "o")),
        (b'data: {"id":7,"model":""}\n\n', ()),
        (b'data: {"id":"c1","mod', ()),
        (b"data: [DONE]\n\n", ()),
        (b"data: [1]\n\n", ()),
        (b": ping\n\n", ()),
        (b"", ()),
    ],
    ids=["chat", "comment", "messages", "responses", "no words", "cut", "done", "list", "silent", "empty"],
)
def test_what_a_stream_says_of_itself(payload: bytes, said: tuple[str, ...]) -> None:
    """Its first event has id and model, wherever the dialect puts them; whatever else it is, is nothing."""
    assert tuple(naming.of_first_event(payload).values()) == said
