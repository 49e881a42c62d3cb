"""A writer of groups that does what a test says: waits, fails, refuses; and remembers what it wrote."""

import asyncio
from collections.abc import Callable

from gateway.stores.sql.group import DatabaseDown, Group, Values, ValuesRefused


class ScriptedWriter:
    """Keeps groups in memory.

    Attributes:
        written: what was committed, in order.
        tried: how often it was asked.
        began: set whenever it is asked.
        open: cleared, it does not answer until it is set.
        trouble: raised instead of writing, while it is there.
        refuses: tells rows that it does not take.
    """

    def __init__(self) -> None:
        self.written: list[Group] = []
        self.tried = 0
        self.began = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.trouble: Exception | None = None
        self.refuses: Callable[[Values], bool] = lambda _: False
        self.closed = False

    async def write(self, group: Group) -> None:
        self.tried += 1
        self.began.set()
        await self.open.wait()
        if self.trouble is not None:
            raise self.trouble
        rows = (*group.openings, *group.closings, *group.attempts)
        if any(self.refuses(row) for row in rows):
            raise ValuesRefused("a row")
        self.written.append(group)

    async def aclose(self) -> None:
        self.closed = True

    def lock(self) -> None:
        """Fail as a locked database does, until `trouble` is taken away."""
        self.trouble = DatabaseDown("locked")

    @property
    def rows(self) -> list[Values]:
        """Openings and closings, in the order of their transactions."""
        return [row for group in self.written for row in (*group.openings, *group.closings)]
