"""A traced attempt: told before it is asked, asked with its own headers, told again when it has answered."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from gateway.core.errors import GatewayError
from gateway.core.routing import Target
from gateway.metrics import Metrics
from gateway.proxy.answers import Answer, WholeAnswer
from gateway.proxy.exchange import Attempt
from gateway.tracing.upstreams import TracedUpstreams
from tests.surface.exchanges import NOW_S, PRICE, order_of, tried
from tests.tracing.notes import Notes

ANSWER = WholeAnswer(b"{}", {}, "application/json", {})


class Told(TracedUpstreams):
    """The real ones, less the network: whatever a provider returns is the answer."""

    async def _answer(self, call: Any, response: Any) -> Answer:
        return cast(Answer, response)


class Post:
    """A provider's `post`: notes the headers, and does as it is told."""

    def __init__(self, ending: Answer | GatewayError) -> None:
        self.ending = ending
        self.headers: Mapping[str, str] = {}

    async def __call__(self, operation: object, body: bytes, headers: Mapping[str, str], key: str | None) -> Answer:
        self.headers = headers
        if isinstance(self.ending, GatewayError):
            raise self.ending
        return self.ending


async def asked(notes: Notes, post: Post) -> Attempt:
    """Ask a provider once."""
    document = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}
    exchange = tried("/v1/chat/completions", document, target=Target("one", "gpt", price=PRICE))
    exchange.deadline, exchange.started_at = NOW_S + 60, NOW_S
    (only,) = exchange.attempts
    provider = only.turn.state.provider
    provider.post = post  # type: ignore[method-assign, assignment]
    traced = Told(
        notes,
        {"one": provider},
        Metrics("i", "1", ["acme"], ["gpt"], ["one"]),
        spliced=False,
        write_timeout_s=60,
        clock=lambda: NOW_S,
        wall_clock=lambda: NOW_S,
    )
    await traced.ask(exchange, order_of(exchange), only)
    return only


async def test_an_answer() -> None:
    """Both words are told, and the provider had the attempt's headers."""
    notes, post = Notes(), Post(ANSWER)
    only = await asked(notes, post)
    assert notes.told == [("attempt", only.target), ("answered", only.target)]
    assert post.headers == {"traceparent": "from-the-notes"}


async def test_a_failure() -> None:
    """It has been begun, and has not answered."""
    notes, post = Notes(), Post(GatewayError("provider_error", "No."))
    with pytest.raises(GatewayError, match=r"No\."):
        await asked(notes, post)
    assert [word for word, *_ in notes.told] == ["attempt"]
