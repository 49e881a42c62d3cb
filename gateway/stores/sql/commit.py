"""A row on its way into the database: whether it is there yet, and a place to wait for it."""

import asyncio
from collections.abc import Generator, Sequence

from gateway.stores.sql.group import Values


class Commit:
    """What one call of the ledger wrote, or will have written.

    Awaiting it ends when the row is committed, or raises what kept it out. Who stops waiting, cancelled or not, keeps
    nothing from being written.

    Attributes:
        done: it is decided. Costs nothing to ask.
        error: why the row is not known to be written, once it is done; None is good.
        opens: the row is an opening.
        values, attempts: what is to be written; empty when it has been, or never will.
        at_s: reading of the ledger's clock when it was asked for.
    """

    __slots__ = ("_waiters", "at_s", "attempts", "done", "error", "opens", "values")

    def __init__(self, opens: bool, values: Values, attempts: Sequence[Values], at_s: float) -> None:
        self.opens = opens
        self.values = values
        self.attempts = attempts
        self.at_s = at_s
        self.done = False
        self.error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def __await__(self) -> Generator[object, None, None]:
        if not self.done:
            # One future for each who waits: a cancelled task cancels the future that it waits for.
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                yield from waiter
            finally:
                if not self.done:
                    self._waiters.remove(waiter)
        if self.error is not None:
            raise self.error

    async def within(self, patience_s: float) -> None:
        """Wait for so many seconds at most.

        A timer and a future: each answer waits once, and :func:`asyncio.timeout` costs the line twice as much.

        Raises:
            TimeoutError: it is not decided yet.
        """
        if not self.done:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(patience_s, _wake, waiter)
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                if not self.done:
                    self._waiters.remove(waiter)
        if not self.done:
            raise TimeoutError
        if self.error is not None:
            raise self.error

    def decide(self, error: Exception | None = None) -> None:
        """Say how it went. The first word counts."""
        if self.done:
            return
        self.done, self.error = True, error
        for waiter in self._waiters:
            _wake(waiter)
        self._waiters.clear()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
