"""Dispatch: targets in order, on to the next where the table allows it, continued answers where they came from."""

from typing import Any

import pytest

from gateway.core.errors import KINDS, GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.core.routing import Route, Target
from gateway.proxy.answers import WholeAnswer
from gateway.proxy.dispatch import MAX_PINS, Dispatch
from gateway.proxy.exchange import Attempt, Exchange
from tests.surface.exchanges import NOW_S, admitted, order_of

ASK = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
TENANT = "acme"
ANSWER = WholeAnswer(b"{}", {}, "application/json", {})


class HandUpstreams:
    """Stands for the providers: each attempt ends as it is told, in order."""

    def __init__(self, *endings: str | None) -> None:
        self.endings = list(endings)
        self.asked: list[tuple[str, int | None]] = []

    async def ask(self, exchange: Exchange, order: Any, attempt: Attempt, pinned_key: int | None) -> WholeAnswer:
        self.asked.append((attempt.target.provider, pinned_key))
        ending = self.endings.pop(0)
        if ending is not None:
            raise GatewayError(ending, "As told.")
        return ANSWER


def dispatching(*endings: str | None, now: float = NOW_S) -> tuple[Dispatch, HandUpstreams]:
    upstreams = HandUpstreams(*endings)
    return Dispatch(upstreams, spliced=True, clock=lambda: now), upstreams  # type: ignore[arg-type]


def asking(path: str = CHAT, **fields: Any) -> Exchange:
    """An exchange with three targets."""
    document = {**ASK, "input": "x", **fields}
    exchange = admitted(path, document)
    order = order_of(exchange)
    targets = tuple(Target(name, "m") for name in ("a", "b", "c"))
    order.route = Route("gpt", "gpt", targets, None, None, "openai")
    return exchange


async def test_the_first_that_answers_serves() -> None:
    """Targets are asked in order; what failed keeps its outcome, and the request's body is let go."""
    dispatch, upstreams = dispatching("connect_failed", "stream_error", None)
    exchange = asking()
    assert await dispatch.open(exchange, order_of(exchange)) is ANSWER
    assert upstreams.asked == [("a", None), ("b", None), ("c", None)]
    assert [attempt.outcome for attempt in exchange.attempts] == [Outcome.CONNECT_FAILED, Outcome.STREAM_ERROR, None]
    assert (order_of(exchange).body, order_of(exchange).document) == (b"", {})


@pytest.mark.parametrize("code", sorted(code for code, kind in KINDS.items() if code == kind.outcome))
async def test_the_table_says_who_moves_on(code: str) -> None:
    """Every outcome, by its one column."""
    dispatch, upstreams = dispatching(code, None)
    exchange = asking()
    if CONSEQUENCES[Outcome(code)].may_move_on:
        assert await dispatch.open(exchange, order_of(exchange)) is ANSWER
    else:
        with pytest.raises(GatewayError, match=code):
            await dispatch.open(exchange, order_of(exchange))
        assert len(upstreams.asked) == 1
        assert order_of(exchange).body != b""


async def test_the_last_failure_is_the_answer() -> None:
    """Where none answers, the client reads of the last."""
    dispatch, _ = dispatching("connect_failed", "provider_error", "provider_throttled")
    exchange = asking()
    with pytest.raises(GatewayError, match="provider_throttled"):
        await dispatch.open(exchange, order_of(exchange))


async def test_the_deadline_ends_the_tries() -> None:
    """No further target is asked once it has passed."""
    dispatch, upstreams = dispatching("connect_failed", None, now=NOW_S + 61)
    exchange = asking()
    with pytest.raises(GatewayError, match="connect_failed"):
        await dispatch.open(exchange, order_of(exchange))
    assert len(upstreams.asked) == 1


async def test_continued_answers() -> None:
    """They go to the target and the key that gave them and nowhere else; an unknown one takes the usual order."""
    dispatch, upstreams = dispatching(None, "connect_failed", None)
    dispatch.remember("resp_1", TENANT, Attempt(Target("b", "m"), NOW_S, key_index=3))
    exchange = asking(RESPONSES, previous_response_id="resp_1")
    await dispatch.open(exchange, order_of(exchange))
    again = asking(RESPONSES, previous_response_id="resp_1")
    with pytest.raises(GatewayError, match="connect_failed"):
        await dispatch.open(again, order_of(again))
    unknown = asking(RESPONSES, previous_response_id="resp_2")
    await dispatch.open(unknown, order_of(unknown))
    assert upstreams.asked == [("b", 3), ("b", 3), ("a", None)]


async def test_continued_answers_of_another_model() -> None:
    """Where the answer's provider does not serve the model, the client is told, and nobody is asked."""
    dispatch, upstreams = dispatching()
    dispatch.remember("resp_1", TENANT, Attempt(Target("elsewhere", "m"), NOW_S))
    exchange = asking(RESPONSES, previous_response_id="resp_1")
    with pytest.raises(GatewayError) as caught:
        await dispatch.open(exchange, order_of(exchange))
    assert (caught.value.status, caught.value.param) == (400, "previous_response_id")
    assert (upstreams.asked, exchange.attempts) == ([], [])


async def test_answers_of_another_tenant_cannot_be_continued() -> None:
    """The provider would: all tenants share its account. Here such an answer does not exist, and nobody is asked."""
    dispatch, upstreams = dispatching()
    dispatch.remember("resp_1", "somebody-else", Attempt(Target("b", "m"), NOW_S))
    exchange = asking(RESPONSES, previous_response_id="resp_1")
    with pytest.raises(GatewayError) as caught:
        await dispatch.open(exchange, order_of(exchange))
    assert (caught.value.status, caught.value.param) == (400, "previous_response_id")
    assert (upstreams.asked, exchange.attempts) == ([], [])


async def test_memory_of_answers_is_bounded() -> None:
    """The oldest is forgotten first."""
    dispatch, upstreams = dispatching(None, None)
    for number in range(MAX_PINS + 1):
        dispatch.remember(f"resp_{number}", TENANT, Attempt(Target("c", "m"), NOW_S))
    for number in (0, 1):
        exchange = asking(RESPONSES, previous_response_id=f"resp_{number}")
        await dispatch.open(exchange, order_of(exchange))
    assert upstreams.asked == [("a", None), ("c", 0)]
