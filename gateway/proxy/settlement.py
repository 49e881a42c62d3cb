"""Phase 4, settle: exactly once, whatever happened.

What a whole answer cost is worked out and written down before its closing event goes; everything else afterwards, by
arithmetic on objects in memory that nothing can cancel.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.core.clock import Clock
from gateway.core.outcome import CONSEQUENCES, Billing, Outcome, Verdict
from gateway.core.pricing import cost_nanousd
from gateway.core.routing import Target
from gateway.core.tokens import Source
from gateway.metrics import Metrics
from gateway.metrics.declarations import NONE, PROVIDER_ERRORS
from gateway.proxy.books import Books
from gateway.proxy.exchange import Attempt, Exchange
from gateway.proxy.usage import NOTHING, usage_of
from gateway.upstream.stream import UpstreamStream


class Journal(Protocol):
    """Where settled exchanges are told: the access log."""

    def write(self, exchange: Exchange, now: float) -> None:
        """Tell of one. `now` is a reading of the clock that started it."""


class Settlement:
    """Books an exchange: usage, cost, metrics, access log.

    Args:
        remember: told the id of an answer that can be continued, whose it is, and who gave it.
    """

    def __init__(
        self,
        metrics: Metrics,
        access_log: Journal,
        books: Books,
        remember: Callable[[str, str, Attempt], None],
        clock: Clock,
    ) -> None:
        self._books = books
        self._metrics = metrics
        self._access_log = access_log
        self._remember = remember
        self._clock = clock
        self._overhead = metrics.declared.overhead.labels("settlement")

    async def close(self, exchange: Exchange) -> None:
        """Work out what a whole answer cost, and write it down; its closing event waits for this, for a while."""
        self._account(exchange, self._clock())
        await self._books.close(exchange)

    def settle(self, exchange: Exchange) -> None:
        """Book the exchange. Called once, from the line's `finally`."""
        now = self._clock()
        outcome = self._account(exchange, now)
        self._books.end(exchange)
        self._count(exchange, outcome, now)
        if exchange.stream is not None and exchange.target is not None:
            self._count_stream(exchange, exchange.stream, exchange.target, now)
        self._access_log.write(exchange, now)
        self._overhead.observe(self._clock() - now)

    def _account(self, exchange: Exchange, now: float) -> Outcome:
        """End its attempts, and know its usage and cost. The first time counts."""
        outcome = exchange.outcome = exchange.outcome or Outcome.INTERNAL
        if not exchange.accounted:
            exchange.accounted = True
            self._end_attempts(exchange, outcome, now)
            self._bill(exchange, outcome)
        return outcome

    def _end_attempts(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        """What has not ended yet, ended as the exchange did: the attempt that served, or those that it was left in."""
        # What says that no target was asked cannot have been the end of one.
        left = Outcome.INTERNAL if CONSEQUENCES[outcome].verdict is Verdict.NONE else outcome
        for attempt in exchange.attempts:
            attempt.end(left, now)
            ended = attempt.outcome or outcome
            provider = self._metrics.provider(attempt.target.provider)
            provider.attempts(ended).inc()
            if ended in PROVIDER_ERRORS and not attempt.excused:
                provider.errors(ended).inc()
            if ended is Outcome.STALLED:
                provider.stalls.inc()

    def _bill(self, exchange: Exchange, outcome: Outcome) -> None:
        """What it cost, by the price of the target that served."""
        order, target = exchange.order, exchange.target
        if order is None or target is None:
            return
        if order.operation.priced and CONSEQUENCES[outcome].billing is not Billing.NOTHING:
            exchange.usage, response_id = usage_of(exchange, order)
            if response_id is not None and exchange.served is not None:
                self._remember(response_id, order.identity.tenant.id, exchange.served)
        if target.price is not None and exchange.usage is not NOTHING:
            exchange.cost_nanousd = cost_nanousd(exchange.usage, target.price)

    def _count(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        target, usage = exchange.target, exchange.usage
        provider = target.provider if target is not None else NONE
        tenant = exchange.identity.tenant.id if exchange.identity is not None else NONE
        model = exchange.label or (NONE if exchange.asked is None else exchange.asked)
        route = self._metrics.route(tenant, provider, model)
        route.requests(outcome).inc()
        route.duration.observe(now - exchange.started_at)
        if outcome is Outcome.CLIENT_CLOSED:
            self._metrics.declared.client_disconnects.labels(exchange.phase).inc()
        if usage.source is Source.NONE and not exchange.flushed_tokens:
            return
        route.tokens_input.inc(usage.input_total)
        route.tokens_output.settle(usage.output, exchange.flushed_tokens)
        route.cost.inc(exchange.cost_nanousd)
        if usage.input_total > usage.input or usage.reasoning:
            cells = self._metrics.target(provider, model)
            cells.cached_input.inc(usage.cached_input)
            cells.cache_write.inc(usage.cache_write + usage.cache_write_1h)
            cells.reasoning.inc(usage.reasoning)

    def _count_stream(self, exchange: Exchange, stream: UpstreamStream, target: Target, now: float) -> None:
        usage = exchange.usage
        self._metrics.provider(target.provider).settlements(usage.source).inc()
        cells = self._metrics.target(target.provider, exchange.label or NONE)
        cells.stream_duration.observe(now - exchange.started_at)
        if stream.first_at is not None:
            cells.ttft.observe(stream.first_at - exchange.started_at)
            if usage.output and stream.last_at > stream.first_at:
                cells.tokens_per_second.observe(usage.output / (stream.last_at - stream.first_at))
        for seconds in stream.slow_s:
            self._metrics.declared.slow_client.labels().observe(seconds)
