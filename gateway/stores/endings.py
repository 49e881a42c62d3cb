"""What Redis is to be told of exchanges that ended, or began, without it."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.core.quota import Ask, Crossing, Grant, QuotasUnavailable, Settled
from gateway.stores.redis_link import RedisGone
from gateway.stores.redis_quotas import RedisQuotas
from gateway.stores.share import Share

MOST_TO_TELL: Final = 100_000
"""Endings kept for Redis; the oldest beyond are forgotten. The ledger has them all the same."""

TOLD_AT_ONCE: Final = 16
"""Half of the connections, so that requests find some."""


@dataclass(slots=True)
class Away:
    """An exchange that was admitted without Redis; ``share`` counts it, None: nobody does."""

    ask: Ask
    grant: Grant
    share: Share | None
    hold_nanousd: int
    since_us: int
    told: bool = False


@dataclass(slots=True)
class Ending:
    """What Redis is to be told of an exchange; ``cost_nanousd`` None: it never was, ``ended_us`` 0: just now."""

    tenant_id: str
    exchange_id: str
    tokens: int | None
    cost_nanousd: int | None
    away: Away | None = None
    bury: bool = False
    ended_us: int = 0


class Endings:
    """Tells Redis how exchanges have ended, at once or when it is back, each until Redis has answered.

    Args:
        redis: who is told.
        on_crossed: told of thresholds that are found crossed when Redis is told late.

    Attributes:
        told: how many were told late.
        forgotten: how many never were: too many, or Redis refused them.
    """

    def __init__(self, redis: RedisQuotas, on_crossed: Callable[[Crossing], None]) -> None:
        self._redis = redis
        self._on_crossed = on_crossed
        self._waiting: OrderedDict[str, Ending] = OrderedDict()
        self.told = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, exchange_id: str) -> bool:
        return exchange_id in self._waiting

    async def tell(self, ending: Ending) -> Settled:
        """Tell it now; where that fails it is kept, and taken for the first."""
        try:
            return await self._tell(ending)
        except asyncio.CancelledError:
            self.keep(ending)
            raise
        except RedisGone as gone:
            if gone.refused:
                self._forget(ending)
            else:
                self.keep(ending)
        except QuotasUnavailable:
            self.keep(ending)
        return Settled(True)

    def keep(self, ending: Ending) -> None:
        """Tell it later."""
        ending.ended_us = ending.ended_us or self._redis.now_us
        self._waiting[ending.exchange_id] = ending
        if len(self._waiting) > MOST_TO_TELL:
            self._forget(next(iter(self._waiting.values())))

    async def tell_all(self) -> None:
        """Tell what waits.

        Raises:
            QuotasUnavailable: some still wait.
        """
        while self._waiting:
            some = list(islice(self._waiting.values(), TOLD_AT_ONCE))
            answers = await asyncio.gather(*map(self._tell, some), return_exceptions=True)
            trouble: BaseException | None = None
            for ending, answer in zip(some, answers, strict=True):
                if isinstance(answer, Settled):
                    self._waiting.pop(ending.exchange_id, None)
                    self.told += 1
                    for crossing in answer.crossed:
                        self._on_crossed(crossing)
                elif isinstance(answer, RedisGone) and answer.refused:
                    self._forget(ending)
                else:
                    trouble = answer
            if trouble is not None:
                raise trouble

    async def _tell(self, ending: Ending) -> Settled:
        away = ending.away
        if away is not None and ending.cost_nanousd is not None:
            await self._redis.adopt(away.ask, away.hold_nanousd, away.since_us, ending.ended_us)
        return await self._redis.end(
            ending.tenant_id,
            ending.exchange_id,
            ending.tokens,
            ending.cost_nanousd,
            bury=ending.bury,
            ended_us=ending.ended_us,
        )

    def _forget(self, ending: Ending) -> None:
        self._waiting.pop(ending.exchange_id, None)
        self._redis.forget(ending.exchange_id)
        self.forgotten += 1
