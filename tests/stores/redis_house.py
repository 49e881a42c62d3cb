"""Limits and budgets of several processes on one real Redis, with its clock in the test's hands."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.stores.redis_link import RedisLink
from gateway.stores.redis_quotas import RedisQuotas
from gateway.stores.redis_scripts import REDIS_CLOCK, Scripts
from tests.redis_server import RedisServer

PATIENCE_S = 20.0
"""How long a test waits for Redis where the wait is not what is tested: a busy machine is not a fault."""

OFFSET_KEY = "test:offset_us"

SET_CLOCK = f"""
{REDIS_CLOCK}
local undisturbed = clock
clock = function() return undisturbed() + tonumber(redis.call('GET', '{OFFSET_KEY}') or 0) end
"""
"""A clock that a test can put forward. Only scripts that are built with it have it."""

SKEWS_S = (0.0, 5.0, -5.0)
"""How far the clocks of the processes are off."""


def skewed(clock: Callable[[], float], by_s: float) -> Callable[[], float]:
    """A clock that is off."""
    return lambda: clock() + by_s


class RedisHouse:
    """Some processes with clocks that differ by seconds; time passes for Redis alone, which is all that matters."""

    def __init__(self, server: RedisServer, replicas: int, wall_clock: Callable[[], float]) -> None:
        self._look = server.client()
        self._look.flushdb()
        self._offset_us = 0
        self._wall_clock = wall_clock
        self.ledger: dict[str, int] = {}
        self.trouble: OSError | None = None
        self.replicas = [
            RedisQuotas(
                RedisLink(server.url, wall_clock, command_s=PATIENCE_S),
                skewed(wall_clock, SKEWS_S[n % 3]),
                self._load,
                scripts=Scripts(SET_CLOCK),
            )
            for n in range(replicas)
        ]

    def now_s(self) -> float:
        seconds, microseconds = self._look.time()
        return float(seconds) + (microseconds + self._offset_us) / 1e6

    async def wait(self, seconds: float) -> None:
        self._offset_us += math.ceil(seconds * 1e6)
        self._look.set(OFFSET_KEY, self._offset_us)

    async def aclose(self) -> None:
        for replica in self.replicas:
            await replica.aclose()
        self._look.close()

    async def _load(self, scope_key: str, start_s: float) -> int | None:
        await asyncio.sleep(0)  # timed: lets others ask meanwhile
        if self.trouble is not None:
            raise self.trouble
        return self.ledger.get(scope_key)


@asynccontextmanager
async def open_house(server: RedisServer, replicas: int, wall_clock: Callable[[], float]) -> AsyncIterator[RedisHouse]:
    """Open it, with an empty Redis, and close its connections."""
    house = RedisHouse(server, replicas, wall_clock)
    try:
        yield house
    finally:
        await house.aclose()
