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

    def decide(self, error: Exception | None = None) -> None:
        """Say how it went. The first word counts."""
        if self.done:
            return
        self.done, self.error = True, error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
