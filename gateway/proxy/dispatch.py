"""Phase 2, dispatch: from a route to an answer whose first content is here; or the next candidate.

Until the first content everything may move on, by one rule for each step: a target that may be asked now gets one
plain attempt; a failure that the table lets move on goes to the next target, which needs no leave; asking the same
target again does (:mod:`gateway.proxy.repeats`); one deadline bounds it all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.core.balancing import arrange
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.core.routing import Target
from gateway.metrics import Metrics
from gateway.proxy.answers import Answer, StreamAnswer
from gateway.proxy.books import Books
from gateway.proxy.downstream import downstream_of
from gateway.proxy.exchange import Attempt, Exchange, Order
from gateway.proxy.hedging import Hedging, Runner
from gateway.proxy.pins import Pin, Pins
from gateway.proxy.repeats import SHORT_WAIT_S, Failed, Repeats, is_soon_over, may_pass, wait_out_s
from gateway.proxy.upstreams import Upstreams
from gateway.upstream.targets import NotNow, Targets, Turn


@dataclass(slots=True)
class Way:
    """One request's way through its candidates, each of which it asks at most once by itself.

    Attributes:
        failed: the attempt that failed last, and how.
        turned_from: the provider that it came to last and left, and why.
        not_now: candidates that could not be asked, and why.
    """

    exchange: Exchange
    order: Order
    pin: Pin | None
    candidates: list[Target]
    repeats: Repeats
    failed: Failed | None = None
    turned_from: tuple[str, Outcome] | None = None
    not_now: list[tuple[Target, NotNow]] = field(default_factory=list)


class Dispatch:
    """Finds a target that answers.

    Args:
        spliced: the self-check passed, so clients can be written to directly.
        draw: draws from [0, 1), for balancing.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        targets: Targets,
        pins: Pins,
        books: Books,
        metrics: Metrics,
        *,
        spliced: bool,
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        self._upstreams = upstreams
        self._targets = targets
        self._pins = pins
        self._books = books
        self._fallbacks = metrics.declared.fallbacks
        self._pool_wait = metrics.declared.pool_wait
        self._hedging = Hedging(metrics, clock)
        self._spliced = spliced
        self._clock = clock
        self._draw = draw

    async def open(self, exchange: Exchange, order: Order) -> Answer:
        """Ask the route's targets until one has content.

        A request that continues an earlier answer goes where that answer came from, and nowhere else.

        Raises:
            GatewayError: none did; the last failure, or why none could be asked.
        """
        if order.view.stream:
            exchange.downstream = downstream_of(exchange.request, spliced=self._spliced)
        pin = self._pins.of(order)
        candidates = self._candidates(order, pin)
        if not candidates:
            raise Pins.unknown()
        left_s = partial(self._upstreams.left_s, exchange, order, candidates[0])
        way = Way(exchange, order, pin, candidates, Repeats(left_s))
        exchange.served, answer = await self._go(way)
        order.drop()
        return answer

    def _candidates(self, order: Order, pin: Pin | None) -> list[Target]:
        """The targets that may serve this request, in the order in which they are asked.

        The price is judged for each target: one without is no candidate where another has one (admission has refused
        the request if none has). The allow-list is of asked names, so it holds for all targets alike.
        """
        targets = [
            target
            for target in order.route.targets
            if (pin is None or target.provider == pin.provider)
            and (target.price is not None or not order.operation.priced)
        ]
        return arrange(order.route.balance, targets, self._targets.in_flight, self._draw)

    async def _go(self, way: Way) -> tuple[Attempt, Answer]:
        attempt: Attempt | None = self._next(way) or await self._last_resort(way)
        failure: GatewayError
        while attempt is not None:
            try:
                return await self._first_content(way, attempt)
            except GatewayError as error:
                failure = error
            if self._may_move_on(way, failure):
                try:
                    return await self._again(way, failure, is_soon_over)
                except GatewayError as error:
                    failure = error
            if not self._may_move_on(way, failure):
                raise failure
            attempt = self._next(way)
        try:
            return await self._again(way, failure, may_pass)
        except GatewayError as error:
            failure = error
        if not (way.not_now and self._may_move_on(way, failure)):
            raise failure
        try:
            attempt = await self._last_resort(way)
        except GatewayError:
            raise failure from None
        return attempt, await self._ask(way, attempt)

    async def _first_content(self, way: Way, attempt: Attempt) -> tuple[Attempt, Answer]:
        """One attempt, or where the model is hedged and somebody is left to ask, a race of two."""
        route = way.order.route
        # an answer that goes on from an earlier one can come from one place only: nobody else may be asked beside it
        if route.hedge is None or not way.candidates or way.order.view.continues is not None:
            return attempt, await self._ask(way, attempt)
        if way.failed is None:
            self._hedging.earn(route.label, route.hedge)

        def second() -> Runner | None:
            other = self._next(way)
            return Runner(other, self._ask(way, other)) if other is not None else None

        return await self._hedging.race(route.label, route.hedge, Runner(attempt, self._ask(way, attempt)), second)

    async def _again(
        self, way: Way, failure: GatewayError, is_worth_it: Callable[[Failed], bool]
    ) -> tuple[Attempt, Answer]:
        """Ask the target that failed last once more, if it is worth it and its retry budget has something left."""
        failed = way.failed
        if failed is None or not is_worth_it(failed):
            raise failure
        target, state = failed.attempt.target, failed.attempt.turn.state

        def last() -> Failed:
            return way.failed or failed

        async def ask() -> tuple[Attempt, Answer]:
            turn = state.take_turn(self._patience_s(way, target))
            if isinstance(turn, NotNow):
                # it was not asked: what is known of it is what went wrong before
                raise last().error
            again = self._begin(way, target, turn)
            return again, await self._ask(way, again)

        return await way.repeats.ask_again(last, is_worth_it, ask)

    def _may_move_on(self, way: Way, failure: GatewayError) -> bool:
        may = CONSEQUENCES[failure.outcome].may_move_on and way.order.view.continues is None
        return may and way.repeats.left_s() > 0

    def _next(self, way: Way) -> Attempt | None:
        """Begin an attempt at the next candidate that may be asked now."""
        while way.candidates:
            target = way.candidates.pop(0)
            state = self._targets.of(target)
            turn = state.take_turn(self._patience_s(way, target))
            if isinstance(turn, Turn):
                state.retries.deposit()
                return self._begin(way, target, turn)
            way.not_now.append((target, turn))
            way.turned_from = target.provider, turn.reason
        return None

    async def _last_resort(self, way: Way) -> Attempt:
        """Nobody else may be asked as things are: wait in a short line, or out a short rest, or probe before the time.

        Raises:
            GatewayError: none of it helps; when it is worth to come back.
        """
        failed = way.failed
        way.turned_from = (failed.attempt.target.provider, failed.error.outcome) if failed is not None else None
        refused: list[NotNow] = []
        # once in a request: a second probe would make it wait twice for what is most likely down
        not_now_yet, way.not_now = sorted(way.not_now, key=_how_much_it_takes), []
        for target, not_now in not_now_yet:
            turn = await self._insist(way, target, not_now)
            if isinstance(turn, Turn):
                return self._begin(way, target, turn)
            refused.append(turn)
            way.turned_from = target.provider, turn.reason
        raise _refusal(refused)

    async def _insist(self, way: Way, target: Target, not_now: NotNow) -> Turn | NotNow:
        """Get a turn at a target that has refused one."""
        state, longest_s = self._targets.of(target), self._patience_s(way, target)
        if not_now.reason is Outcome.CIRCUIT_OPEN:
            return state.take_last_resort(longest_s)
        if not_now.reason is Outcome.OVERLOADED:
            since = self._clock()
            turn = await state.queue_for_turn(longest_s, longest_s)
            self._pool_wait.labels(target.provider).observe(self._clock() - since)
            return turn
        rest_s = state.rests_for()
        if rest_s > SHORT_WAIT_S or (wait_s := wait_out_s(rest_s, self._draw)) >= way.repeats.left_s():
            return NotNow(Outcome.PROVIDER_THROTTLED, rest_s)
        await asyncio.sleep(wait_s)
        return state.take_turn(self._patience_s(way, target))

    def _begin(self, way: Way, target: Target, turn: Turn) -> Attempt:
        if way.turned_from is not None:
            provider, reason = way.turned_from
            if provider != target.provider:
                self._fallbacks.labels(provider, target.provider, reason).inc()
            way.turned_from = None
        if way.exchange.entry is None:
            self._books.open(way.exchange, way.order, target)
        attempt = Attempt(target, self._clock(), turn)
        way.exchange.attempts.append(attempt)
        return attempt

    async def _ask(self, way: Way, attempt: Attempt) -> Answer:
        pinned_key = way.pin.key_index if way.pin is not None else None
        try:
            answer = await self._upstreams.ask(way.exchange, way.order, attempt, pinned_key)
        except GatewayError as error:
            attempt.end(error.outcome, self._clock())
            way.failed = Failed(attempt, error)
            way.turned_from = attempt.target.provider, error.outcome
            raise
        slow_s = way.order.route.slow_first_token_s
        slowly = slow_s is not None and isinstance(answer, StreamAnswer) and self._clock() - attempt.started_at > slow_s
        attempt.turn.content_came(slowly=slowly)
        return answer

    def _patience_s(self, way: Way, target: Target) -> float:
        return self._upstreams.patience_s(way.exchange, way.order, target)


_LAST_RESORTS = (Outcome.OVERLOADED, Outcome.PROVIDER_THROTTLED, Outcome.CIRCUIT_OPEN)
"""What may be insisted against, the least first."""


def _how_much_it_takes(refused: tuple[Target, NotNow]) -> tuple[int, float]:
    _, not_now = refused
    return _LAST_RESORTS.index(not_now.reason), not_now.retry_after_s


_WORDS = {
    Outcome.PROVIDER_THROTTLED: "Every provider of this model is over its limit. Try again later.",
    Outcome.CIRCUIT_OPEN: "Every provider of this model has failed lately or is drained. Try again later.",
    Outcome.OVERLOADED: "Every provider of this model has as many requests as it may. Try again later.",
}


def _refusal(not_now: list[NotNow]) -> GatewayError:
    """Why nobody may be asked, and when it is worth to come back."""
    soonest = min(not_now, key=lambda why: why.retry_after_s)
    return GatewayError(soonest.reason, _WORDS[soonest.reason], retry_after_s=soonest.retry_after_s)
