"""Replicas that may lose their Redis, and the ledger that they share."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from gateway.core.quota import Ask, Crossing, Denied, Grant, Settled
from gateway.stores.outage import OutageQuotas
from gateway.stores.redis_link import PROBE_EVERY_S, RedisLink
from gateway.stores.redis_quotas import RedisQuotas
from tests.redis_server import RedisServer

COMMAND_S = 0.5
"""Ten times what it is in production, so that a busy machine is not taken for an outage."""


class OutageHouse:
    """Some replicas, their breakers' clock set by hand; the ledger counts open rows with their holds."""

    def __init__(self, server: RedisServer, replicas: int, on_outage: Literal["local", "deny", "allow"]) -> None:
        self.server = server
        self.clock_s = 100.0
        self.rows: dict[str, tuple[tuple[str, ...], int]] = {}
        self.trouble: OSError | None = None
        self.crossed: list[Crossing] = []
        self.replicas = []
        for n in range(replicas):
            redis = RedisQuotas(RedisLink(server.url, self.clock, command_s=COMMAND_S), time.time, self.load)
            quotas = OutageQuotas(
                redis, on_outage, f"r{n}", self.clock, time.time, self.load, on_crossed=self.crossed.append
            )
            self.replicas.append(quotas)

    def clock(self) -> float:
        return self.clock_s

    async def load(self, scope_key: str, start_s: float) -> int | None:
        if self.trouble is not None:
            raise self.trouble
        await asyncio.sleep(0)  # timed: lets others ask meanwhile
        return sum(nanousd for scopes, nanousd in self.rows.values() if scope_key in scopes)

    async def begin(self, quotas: OutageQuotas, asked: Ask) -> Grant | Denied:
        """Admit, and open the row."""
        answer = await quotas.admit(asked)
        if isinstance(answer, Grant):
            self.rows[asked.exchange_id] = tuple(scope.key for scope in asked.scopes), asked.hold_nanousd
        return answer

    async def end(self, quotas: OutageQuotas, grant: Grant, cost: int) -> Settled:
        """Settle, and close the row."""
        settled = await quotas.settle(grant, 0, cost)
        self.rows[grant.exchange_id] = self.rows[grant.exchange_id][0], cost
        return settled

    async def beat(self) -> None:
        """A second passes; everybody does what is due."""
        self.clock_s += PROBE_EVERY_S
        await asyncio.gather(*(quotas.beat() for quotas in self.replicas))

    async def lose(self) -> None:
        """Redis freezes, and all notice."""
        self.server.pause()
        self.clock_s += 1
        while any(quotas.up for quotas in self.replicas):
            await asyncio.gather(*(quotas.settle_orphan("none", "none", 0) for quotas in self.replicas for _ in "123"))

    async def find(self) -> None:
        """Redis goes on, and all notice."""
        self.server.resume()
        while not all(quotas.up for quotas in self.replicas):
            await self.beat()


@asynccontextmanager
async def open_house(
    server: RedisServer, replicas: int, on_outage: Literal["local", "deny", "allow"]
) -> AsyncIterator[OutageHouse]:
    """Open it, with an empty Redis that answers, and close its connections."""
    server.recover()
    with server.client() as look:
        look.flushdb()
    house = OutageHouse(server, replicas, on_outage)
    await house.beat()
    await house.beat()
    try:
        yield house
    finally:
        server.recover()
        for quotas in house.replicas:
            await quotas.aclose()
