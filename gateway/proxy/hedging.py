"""Hedging: where the first content is late, the next target is asked too, and the first of the two serves."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.core.bucket import RetryBudget
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.core.routing import HedgeSettings
from gateway.metrics import Metrics
from gateway.proxy.answers import Answer
from gateway.proxy.exchange import Attempt


@dataclass(frozen=True, slots=True)
class Runner:
    """An attempt that has been begun, and the work that brings its answer."""

    attempt: Attempt
    work: Coroutine[Any, Any, Answer]


class Hedging:
    """Runs races, as many as each model's share allows: hedges <= `max_share` x requests, over any stretch of time."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._hedges = metrics.declared.hedges
        self._clock = clock
        self._shares: dict[str, RetryBudget] = {}

    def earn(self, label: str, hedge: HedgeSettings) -> None:
        """A request for a hedged model is here; it earns the model its share of a hedge.

        Args:
            label: the model's name in the configuration, which owns the share.
        """
        share = self._shares.get(label)
        if share is None:
            share = self._shares[label] = RetryBudget(self._clock, hedge.max_share, floor_burst=0)
        share.deposit()

    async def race(
        self, label: str, hedge: HedgeSettings, first: Runner, next_runner: Callable[[], Runner | None]
    ) -> tuple[Attempt, Answer]:
        """Wait for the first content; after `hedge.after_s` without it, for that of two.

        Whoever does not serve is cancelled and ends as `hedge_lost`. If the client leaves, both are cancelled and end
        as the request does.

        Args:
            label: as given to :meth:`earn`.
            next_runner: begins an attempt at the next candidate, if there is one that may be asked.

        Raises:
            GatewayError: nobody answered, or the failure of one is such that nobody could; the last failure.
        """
        share = self._shares[label]
        running = {asyncio.create_task(first.work): first.attempt}
        second: Attempt | None = None
        try:
            done, _ = await asyncio.wait(running, timeout=hedge.after_s)
            if not done and share.balance and (runner := next_runner()) is not None:
                share.withdraw()
                second = runner.attempt
                running[asyncio.create_task(runner.work)] = second
            winner = await _first_content(running)
            await _let_go(running.keys() - {winner})
        except asyncio.CancelledError:
            self._count(second, "abandoned")
            await _let_go(running)
            raise
        except Exception:
            self._count(second, "failed")
            await _let_go(running)
            self._lose(running.values())
            raise
        won = running.pop(winner)
        self._lose(running.values())
        self._count(second, "won" if won is second else "lost")
        return won, winner.result()

    def _lose(self, attempts: Collection[Attempt]) -> None:
        for attempt in attempts:
            attempt.end(Outcome.HEDGE_LOST, self._clock())

    def _count(self, second: Attempt | None, result: str) -> None:
        if second is not None:
            self._hedges.labels(second.target.provider, result).inc()


async def _first_content(running: Collection[asyncio.Task[Answer]]) -> asyncio.Task[Answer]:
    """Wait for the first answer, or for a failure that no other target could mend, or for the last failure."""
    waiting = set(running)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in (task for task in running if task in done):
            failure = task.exception()
            if failure is None:
                return task
            may_move_on = isinstance(failure, GatewayError) and CONSEQUENCES[failure.outcome].may_move_on
            if not may_move_on or not (waiting or done - {task}):
                raise failure
            done.discard(task)


async def _let_go(running: Collection[asyncio.Task[Answer]]) -> None:
    """Cancel what still runs and wait until it has closed its connection; drop an answer that nobody takes."""
    for task in running:
        task.cancel()
    try:
        if running:
            await asyncio.wait(running)
    finally:
        for task in running:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().drop()
