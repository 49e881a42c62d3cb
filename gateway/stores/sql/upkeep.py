"""What goes on beside the requests: this process says that it lives, orphans are settled, old rows are deleted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.core.clock import WallClock
from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.instances import BEAT_S, Instances
from gateway.stores.sql.orphans import SettledOrphan, settle_orphans
from gateway.stores.sql.retention import delete_before

SWEEP_S: Final = 3600.0
"""How often old rows are looked for."""
DAY_S: Final = 86_400

log = logging.getLogger("gateway")


class Upkeep:
    """Two rounds that go on until the end. What fails is tried again in the next.

    Args:
        instances: this process among the others.
        settled: told of every orphan that this process settled.
    """

    def __init__(
        self,
        database: Database,
        instances: Instances,
        settings: LedgerSettings,
        wall_clock: WallClock,
        settled: Callable[[Sequence[SettledOrphan]], None],
    ) -> None:
        self._database = database
        self._instances = instances
        self._retention_days = settings.retention_days
        self._wall_clock = wall_clock
        self._settled = settled
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join the others and begin.

        Raises:
            InstanceTaken: another process has the same instance id.
            DatabaseDown: nothing can be said now.
        """
        await self._instances.join()
        rounds = (
            [(self.settle, BEAT_S)] if self._retention_days is None else [(self.settle, BEAT_S), (self.sweep, SWEEP_S)]
        )
        self._tasks = [asyncio.create_task(_repeat(turn, every_s), name=turn.__name__) for turn, every_s in rounds]

    async def aclose(self) -> None:
        """Stop, and leave."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(DatabaseDown):
            await self._instances.leave()

    async def settle(self) -> None:
        """Say that this process lives, and settle what dead ones left."""
        dead = await self._instances.beat()
        if not dead:
            return
        settled = await settle_orphans(self._database, dead, int(self._wall_clock() * 1_000_000))
        if settled:
            log.warning(
                "settled %d exchanges of processes that died, %d nano-dollars by estimate",
                len(settled),
                sum(one.cost_nanousd for one in settled),
            )
            self._settled(settled)

    async def sweep(self) -> None:
        """Delete what is older than the retention; nothing where there is none."""
        if self._retention_days is not None:
            before_s = self._wall_clock() - self._retention_days * DAY_S
            await delete_before(self._database, int(before_s * 1_000_000))


async def _repeat(turn: Callable[[], Awaitable[None]], every_s: float) -> None:
    failing = False
    while True:
        try:
            await turn()
            failing = False
        except DatabaseDown as trouble:
            if not failing:
                log.warning("upkeep waits: %s", trouble)
            failing = True
        except Exception:
            log.exception("upkeep failed")
        await asyncio.sleep(every_s)
