"""What tenants have used, summed from the ledger: few reads however many ask, and what was read is kept for a while.

A sum reads every row of the tenant in the time that is asked for: the index finds them by tenant and time, the tokens
are in the rows. That is 1 us a row where SQLite's file is in memory, so a second for a million, and more from a disk.
So only one sum is read at a time, which leaves the database's other threads or connections to what requests wait for;
and it is kept ten times as long as it took.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Protocol

from gateway.core.clock import Clock, WallClock
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.usage import MAX_LINES, UsageLine

KEEP_S: Final = 5.0
"""The shortest time for which a sum is kept."""
KEEP_TIMES: Final = 10
"""A sum is kept so many times as long as it took: whoever asks for it again and again costs a tenth of one thread."""
KEPT: Final = 500
"""Sums that are kept."""
MODELS: Final = 100
"""Models of which a sum has lines of their own, the dearest."""
WAIT_S: Final = 5.0
"""The longest that anybody waits; the sum is read to its end, for the next who asks."""


class ReadUsage(Protocol):
    """Sums rows: ``stores.sql.usage.usage``, with the database that it asks."""

    async def __call__(
        self, by: Sequence[str], from_us: int, to_us: int, tenant_id: str, *, limit: int
    ) -> list[UsageLine]:
        """Return the sums of settled exchanges in groups, the dearest first.

        Raises:
            DatabaseDown: nobody knows now.
        """


@dataclass(frozen=True, slots=True)
class Used:
    """What a tenant used in a time.

    Attributes:
        as_of_s: Unix seconds, when the ledger was asked.
        whole: all of it.
        models: the dearest models, by the names that were asked for.
        more_models: how many there were beside these.
    """

    as_of_s: float
    whole: UsageLine
    models: tuple[UsageLine, ...]
    more_models: int


_Wish = tuple[str, int, int]


class RecentUsage:
    """Reads sums and keeps them.

    Args:
        clock: for how long they took and are kept.
        wall_clock: says when they were read.
        wait_s: the longest that anybody waits.
    """

    def __init__(self, read: ReadUsage, clock: Clock, wall_clock: WallClock, *, wait_s: float = WAIT_S) -> None:
        self._read = read
        self._clock = clock
        self._wall_clock = wall_clock
        self._wait_s = wait_s
        self._kept: OrderedDict[_Wish, tuple[float, Used]] = OrderedDict()
        self._reading: dict[str, tuple[_Wish, asyncio.Task[Used]]] = {}
        self._turn = asyncio.Lock()

    async def of(self, tenant_id: str, from_us: int, to_us: int) -> Used:
        """Tell what a tenant used on exchanges that were opened from one moment on and before the other.

        Raises:
            TimeoutError: the ledger takes longer, or others are before.
            DatabaseDown: nobody knows now, or :meth:`aclose` came first.
        """
        wish = tenant_id, from_us, to_us
        async with asyncio.timeout(self._wait_s):
            while True:
                until_s, used = self._kept.get(wish, (0.0, None))
                if used is not None and self._clock() < until_s:
                    return used
                # One at a time for each tenant too: by asking for ever other times nobody fills the line for others.
                read, task = self._reading.get(tenant_id) or self._begin(wish)
                await asyncio.wait((task,))
                if task.cancelled():
                    raise DatabaseDown("usage was not read: the gateway is closing")
                if read == wish:
                    return task.result()

    async def aclose(self) -> None:
        """Give up what is being read."""
        tasks = [task for _, task in self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, wish: _Wish) -> tuple[_Wish, asyncio.Task[Used]]:
        task = asyncio.create_task(self._sum(*wish), name="usage")
        task.add_done_callback(lambda done: self._ended(wish[0], done))
        self._reading[wish[0]] = wish, task
        return wish, task

    def _ended(self, tenant_id: str, task: asyncio.Task[Used]) -> None:
        del self._reading[tenant_id]
        if not task.cancelled():
            task.exception()  # who waited raises it; where all have left, nobody needs to know

    async def _sum(self, tenant_id: str, from_us: int, to_us: int) -> Used:
        async with self._turn:
            began_s, as_of_s = self._clock(), self._wall_clock()
            lines = await self._read(["model"], from_us, to_us, tenant_id, limit=MAX_LINES)
            whole = _whole(lines)
            if len(lines) >= MAX_LINES:
                whole = _whole(await self._read([], from_us, to_us, tenant_id, limit=1))
            took_s = self._clock() - began_s
        used = Used(as_of_s, whole, tuple(lines[:MODELS]), len(lines[MODELS:]))
        wish = tenant_id, from_us, to_us
        self._kept[wish] = self._clock() + max(KEEP_S, KEEP_TIMES * took_s), used
        self._kept.move_to_end(wish)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return used


def _whole(lines: Sequence[UsageLine]) -> UsageLine:
    sums = (sum(getattr(line, field.name) for line in lines) for field in fields(UsageLine) if field.name != "by")
    return UsageLine((), *sums)
