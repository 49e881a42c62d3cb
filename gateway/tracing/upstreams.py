"""The providers as a traced line asks them: each attempt has a span, and its context goes along."""

from collections.abc import Mapping
from typing import Protocol

from gateway.core.clock import Clock, WallClock
from gateway.metrics import Metrics
from gateway.proxy.answers import Answer
from gateway.proxy.exchange import Attempt, Exchange, Order
from gateway.proxy.upstreams import Upstreams
from gateway.upstream.provider import Provider


class Spans(Protocol):
    """Has a span for each request and for each of its attempts. Nothing here raises."""

    def attempt(self, exchange: Exchange, order: Order, attempt: Attempt) -> None:
        """Begin the span of an attempt; from now on ``attempt.trace`` has the headers to send."""

    def answered(self, attempt: Attempt, answer: Answer) -> None:
        """Note what an answer says of itself, before its first bytes go on."""

    def end(self, exchange: Exchange, now: float) -> None:
        """End all spans of a settled exchange; `now` is a reading of the clock that started it."""


class TracedUpstreams(Upstreams):
    """Asks, and has it told. Arguments are who is told, and those of :class:`Upstreams`."""

    def __init__(
        self,
        spans: Spans,
        providers: Mapping[str, Provider],
        metrics: Metrics,
        *,
        spliced: bool,
        write_timeout_s: float,
        clock: Clock,
        wall_clock: WallClock,
    ) -> None:
        super().__init__(
            providers, metrics, spliced=spliced, write_timeout_s=write_timeout_s, clock=clock, wall_clock=wall_clock
        )
        self._spans = spans

    async def ask(self, exchange: Exchange, order: Order, attempt: Attempt, pinned_key: int | None = None) -> Answer:
        """As :meth:`Upstreams.ask`, with the attempt's own trace context instead of the client's."""
        self._spans.attempt(exchange, order, attempt)
        answer = await super().ask(exchange, order, attempt, pinned_key)
        self._spans.answered(attempt, answer)
        return answer
