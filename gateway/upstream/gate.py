"""Bounded work in flight, with a short bounded line before it: what does not fit is refused soon, not late."""

import asyncio
from collections import OrderedDict

from gateway.core.errors import GatewayError

LEAST_RETRY_AFTER_S = 1.0
"""`Retry-After` counts whole seconds (RFC 9110 §10.2.3), and 0 would ask for an immediate return."""


class Gate:
    """Gives out a number of places; who finds none waits in line, shortly, and is served in the order of coming.

    A place that is given back goes straight to the first in line: nobody can slip in between, and while anybody waits
    no place is free.

    Args:
        limit: places, at least 1.
        max_queued: how many may wait at once; 0: nobody.
        queue_s: seconds that anybody waits at most.
        name: what is full, in the error's sentence: `this gateway`, `the provider one`.

    Attributes:
        in_use: places taken, those among them that have been handed over and whose taker has not gone on yet.
    """

    __slots__ = ("_limit", "_line", "_max_queued", "_name", "_queue_s", "in_use")

    def __init__(self, limit: int, max_queued: int, queue_s: float, name: str) -> None:
        self._limit = limit
        self._max_queued = max_queued
        self._queue_s = queue_s
        self._name = name
        self._line: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self.in_use = 0

    @property
    def has_room(self) -> bool:
        """Whether a place is free now."""
        return self.in_use < self._limit

    @property
    def waiting(self) -> int:
        """How many stand in line. Who gives up is counted until the loop's next turn."""
        return len(self._line)

    @property
    def retry_after_s(self) -> float:
        """When to come again: whoever stands in line now is out of it after `queue_s` seconds, one way or the other."""
        return max(LEAST_RETRY_AFTER_S, self._queue_s)

    def enter_now(self) -> bool:
        """Take a place if there is one."""
        if self.in_use < self._limit:
            self.in_use += 1
            return True
        return False

    async def enter(self, left_s: float) -> float:
        """Take a place, waiting in line for `queue_s` seconds at most, and no longer than `left_s`.

        Returns:
            Seconds waited.

        Raises:
            GatewayError: `overloaded`: the line is full, or no place came free in time.
        """
        # A place is free only while nobody waits, so nobody is passed here.
        if self.in_use < self._limit:
            self.in_use += 1
            return 0.0
        return await self._wait(min(self._queue_s, left_s))

    async def _wait(self, longest_s: float) -> float:
        if len(self._line) >= self._max_queued:
            raise self._refusal("and no more may wait")
        if longest_s <= 0:
            raise self._refusal("and no time is left to wait")
        loop = asyncio.get_running_loop()
        since = loop.time()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._line[waiter] = None
        timer = loop.call_later(longest_s, self._expire, waiter)
        try:
            got = await waiter
        except BaseException:
            self._line.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.result():
                # Cancelled in the very turn in which the place was handed over: the next in line gets it.
                self.leave()
            raise
        finally:
            timer.cancel()
        if not got:
            raise self._refusal(f"and none was done within {longest_s:.3g} s")
        return loop.time() - since

    def _expire(self, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            del self._line[waiter]
            waiter.set_result(False)

    def leave(self) -> None:
        """Give a place back, to the first in line if there is one.

        Raises:
            ValueError: no place was taken.
        """
        if not self.in_use:
            raise ValueError("more places were given back than taken")
        while self._line and self.in_use <= self._limit:
            waiter, _ = self._line.popitem(last=False)
            if not waiter.done():
                waiter.set_result(True)
                return
        self.in_use -= 1

    def resize(self, limit: int, max_queued: int, queue_s: float) -> None:
        """Have other bounds from now on. Whoever has a place keeps it; new places go to the first in line."""
        self._limit, self._max_queued, self._queue_s = limit, max_queued, queue_s
        while self.in_use < self._limit and self._line:
            self.in_use += 1
            self.leave()

    def _refusal(self, why: str) -> GatewayError:
        return GatewayError(
            "overloaded",
            f"As many requests run at {self._name} as may at once, {why}.",
            retry_after_s=self.retry_after_s,
        )
