"""Who answers for limits and budgets while Redis does not: this process by its share, nobody, or everybody.

===========  =====================================================================================================
on_outage    a request that Redis does not answer for
===========  =====================================================================================================
``local``    is decided by this process with its share: each limit divided by the replicas last known, at least 1
``deny``     :class:`gateway.core.quota.QuotasUnavailable`: a 503
``allow``    is admitted, and its cost is counted when Redis is back
===========  =====================================================================================================

What ``local`` may overspend. Each outage begins anew: of what the ledger says a budget has left (open rows with their
holds), this process may hold and spend one part, as many parts as there are replicas; what it has admitted so lately
that its row may be missing it counts against its own part. Those that lose Redis together overspend nothing. Beyond the
budget may come, at most: the part of a replica that is cut off while others are not, or returns after them; a part for
each replica above the number last known; and the latest holds of a replica that died with Redis. Limits: where one is
smaller than the number of replicas, each admits 1; buckets begin full; and what Redis has running is not counted
against the slots here. The first requests of an outage may wait for two answers that do not come, all others for none.

Whatever is decided here is told to Redis when it is back: what still runs, by its hold, what has ended, by its cost, in
both cases before this process asks it again. Of a command that was never answered nobody knows whether it was carried
out, or will be: so its exchange is ended there by name, and cannot begin again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from gateway.core.breaker import State, Transition
from gateway.core.clock import Clock, WallClock
from gateway.core.quota import Ask, Crossing, Denied, Grant, QuotasUnavailable, Scope, Settled, Standing
from gateway.stores.accounts import LoadSpent
from gateway.stores.endings import Away, Ending, Endings
from gateway.stores.redis_link import PROBE_EVERY_S, RedisGone
from gateway.stores.redis_quotas import RedisQuotas
from gateway.stores.share import Share

UNWRITTEN_S: Final = 2.0
"""How long an opening may wait for its row (``ledger.open_wait_s``): what began before is in the ledger's figure."""

log = logging.getLogger("gateway")

_CONSEQUENCES: Final = {
    "local": "this process decides by its share",
    "deny": "what has a limit or a budget is refused",
    "allow": "nothing is limited",
}


@dataclass(slots=True)
class Counts:
    """What was decided without Redis since the process began."""

    local: int = 0
    """Requests decided by this process."""
    denied: int = 0
    """Requests refused because of it."""
    allowed: int = 0
    """Requests admitted without anybody counting."""


class OutageQuotas:
    """Implements :class:`gateway.core.quota.Quotas` with Redis while it answers, and without it while it does not.

    Args:
        redis: asked first; closed with this.
        on_outage: see the module.
        name: of this replica, unique.
        clock: for local buckets and leases.
        wall_clock: for local periods.
        load_spent: as for :class:`RedisQuotas`; it must count open rows with their holds.
        on_crossed: told of thresholds that are found crossed when Redis is told of endings.

    Attributes:
        up: Redis is asked.
        replicas: how many there are, as last known.
        counts: what was decided without it.
        endings: what it is to be told.
    """

    def __init__(
        self,
        redis: RedisQuotas,
        on_outage: Literal["local", "deny", "allow"],
        name: str,
        clock: Clock,
        wall_clock: WallClock,
        load_spent: LoadSpent | None = None,
        on_crossed: Callable[[Crossing], None] = lambda _: None,
    ) -> None:
        self._redis = redis
        self._on_outage = on_outage
        self._name = name
        self._clock = clock
        self._wall_clock = wall_clock
        self._load_spent = load_spent
        self.endings = Endings(redis, on_crossed)
        self._share: Share | None = None
        self._away: dict[str, Away] = {}
        self._asking: set[asyncio.Future[None]] = set()
        self._extras: dict[str, list[tuple[Share, Grant, int]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.up = True
        self.replicas = 1
        self.counts = Counts()
        redis.link.on_transition = self._changed

    def start(self) -> None:
        """Begin to announce this replica, and to look after Redis, every :data:`PROBE_EVERY_S`."""
        self._task = asyncio.create_task(self._run(), name="redis")

    async def beat(self) -> None:
        """Do what is due: try a Redis that is down, tell it what it does not know, say that this replica is there."""
        if not await self._redis.link.probe():
            return
        try:
            self.replicas = max(1, await self._redis.announce(self._name))
            for away in [away for away in self._away.values() if not away.told]:
                await self._redis.adopt(away.ask, away.hold_nanousd, away.since_us)
                away.told = True
            await self.endings.tell_all()
        except QuotasUnavailable:
            return
        self._share = None
        if not self.up:
            self.up = True
            log.warning("Redis answers again: limits and budgets hold over %d replicas", self.replicas)

    async def admit(self, ask: Ask) -> Grant | Denied:
        """See :meth:`gateway.core.quota.Quotas.admit`; without Redis, ``deny`` raises at once."""
        away = self._away.get(ask.exchange_id)
        if away is not None:
            return away.grant
        doubtful = False
        if self.up or not ask.scopes:
            asked = asyncio.get_running_loop().create_future()
            self._asking.add(asked)
            try:
                return await self._redis.admit(ask)
            except RedisGone as gone:
                doubtful = gone.doubtful
            except asyncio.CancelledError:
                self.endings.keep(Ending(ask.tenant_id, ask.exchange_id, None, None, bury=True))
                raise
            finally:
                self._asking.discard(asked)
                asked.set_result(None)
        try:
            return await self._decide(ask)
        finally:
            if doubtful and ask.exchange_id not in self._away:
                self.endings.keep(Ending(ask.tenant_id, ask.exchange_id, None, None, bury=True))

    async def settle(self, grant: Grant, tokens: int, cost_nanousd: int) -> Settled:
        """See :meth:`gateway.core.quota.Quotas.settle`; never fails for want of Redis, which is told later."""
        if tokens < 0 or cost_nanousd < 0:
            raise ValueError(f"must be 0 or more, not {tokens} and {cost_nanousd}")
        return await self._end(Ending(grant.tenant_id, grant.exchange_id, tokens, cost_nanousd))

    async def settle_orphan(self, tenant_id: str, exchange_id: str, cost_nanousd: int) -> Settled:
        """See :meth:`gateway.core.quota.Quotas.settle_orphan`."""
        if cost_nanousd < 0:
            raise ValueError(f"must be 0 or more, not {cost_nanousd}")
        return await self._end(Ending(tenant_id, exchange_id, None, cost_nanousd))

    async def withdraw(self, grant: Grant) -> None:
        """See :meth:`gateway.core.quota.Quotas.withdraw`."""
        await self._end(Ending(grant.tenant_id, grant.exchange_id, None, None))

    async def top_up(self, grant: Grant, more_nanousd: int) -> bool:
        """See :meth:`gateway.core.quota.Quotas.top_up`; without Redis, from this process' share, or as configured."""
        away = self._away.get(grant.exchange_id)
        if self.up and (away is None or away.told):
            try:
                return await self._redis.top_up(grant, more_nanousd)
            except RedisGone:
                pass
        if away is not None:
            granted = away.share is None or await away.share.quotas.top_up(grant, more_nanousd)
            away.hold_nanousd += more_nanousd if granted else 0
            return granted
        running = self._redis.running(grant.exchange_id)
        if running is None or self._on_outage == "deny":
            return False
        return self._on_outage == "allow" or await self._step(running.ask, more_nanousd)

    async def renew(self, grants: Iterable[Grant]) -> None:
        """See :meth:`gateway.core.quota.Quotas.renew`."""
        shared: list[Grant] = []
        for grant in grants:
            away = self._away.get(grant.exchange_id)
            if away is None or away.told:
                shared.append(grant)
            if away is not None and away.share is not None:
                await away.share.quotas.renew([grant])
            for share, extra, _ in self._extras.get(grant.exchange_id, ()):
                await share.quotas.renew([extra])
        if self.up:
            with suppress(RedisGone):
                await self._redis.renew(shared)

    async def standing(self, scope: Scope) -> Standing:
        """See :meth:`gateway.core.quota.Quotas.standing`; in an outage, ``local`` tells this process' share."""
        if self.up:
            try:
                return await self._redis.standing(scope)
            except RedisGone:
                pass
        if self._on_outage != "local":
            raise QuotasUnavailable("Redis does not answer")
        return await self._own_share().standing(scope)

    async def aclose(self) -> None:
        """Tell Redis what it does not know, if it listens, and let go of it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.beat()
        if self.endings:
            log.error("Redis was not told how %d requests have ended; the ledger has them", len(self.endings))
        with suppress(RedisGone):
            await self._redis.announce(self._name, goes=True)
        if self._share is not None:
            await self._share.quotas.aclose()
        await self._redis.aclose()

    async def _run(self) -> None:
        while True:
            try:
                await self.beat()
            except Exception:
                log.exception("Redis cannot be looked after; trying again")
            await asyncio.sleep(PROBE_EVERY_S)

    def _changed(self, change: Transition) -> None:
        if change.to is State.OPEN and self.up:
            self.up = False
            log.warning("Redis does not answer: %s", _CONSEQUENCES[self._on_outage])

    def _own_share(self) -> Share:
        if self._share is None:
            self._share = Share(self.replicas, self._clock, self._wall_clock, self._load_spent, self._unwritten)
        return self._share

    async def _unwritten(self, scope_key: str) -> int:
        # An answer of Redis may have come and nobody has looked at it yet.
        if self._asking:
            await asyncio.wait(self._asking)
        since_us = self._redis.now_us - int(UNWRITTEN_S * 1e6)
        return self._redis.held_since(scope_key, since_us) + sum(
            away.hold_nanousd
            for away in self._away.values()
            if away.since_us >= since_us and any(scope.key == scope_key for scope in away.ask.scopes)
        )

    async def _decide(self, ask: Ask) -> Grant | Denied:
        since_us, share = self._redis.now_us, None
        answer: Grant | Denied
        if self._on_outage == "local":
            self.counts.local += 1
            share = self._own_share()
            answer = await share.admit(ask)
        elif self._on_outage == "allow":
            self.counts.allowed += 1
            answer = Grant(ask.exchange_id, ask.tenant_id)
        else:
            self.counts.denied += 1
            raise QuotasUnavailable("Redis does not answer")
        if isinstance(answer, Grant):
            self._away[ask.exchange_id] = Away(ask, answer, share, ask.hold_nanousd, since_us)
        return answer

    async def _step(self, ask: Ask, more_nanousd: int) -> bool:
        share, steps = self._own_share(), self._extras.setdefault(ask.exchange_id, [])
        step = await share.step(ask, len(steps), more_nanousd)
        if step is not None:
            steps.append((share, step, more_nanousd))
        return step is not None

    async def _end(self, ending: Ending) -> Settled:
        name, cost = ending.exchange_id, ending.cost_nanousd
        if name in self.endings:
            return Settled(False)
        away = ending.away = self._away.pop(name, None)
        if away is not None:
            ending.bury = True
            if away.share is not None and cost is None:
                await away.share.quotas.withdraw(away.grant)
            elif away.share is not None:
                tokens = away.ask.tokens if ending.tokens is None else ending.tokens
                await away.share.quotas.settle(away.grant, tokens, cost or 0)
        for share, step, held_nanousd in self._extras.pop(name, ()):
            await share.quotas.settle(step, 0, 0 if cost is None else held_nanousd)
        running = self._redis.running(name)
        if self.up or (running is not None and not running.ask.scopes):
            return await self.endings.tell(ending)
        self.endings.keep(ending)
        return Settled(True)
