"""Limits and budgets that several replicas share: kept in Redis, decided there by its clock, one call for each verb.

What a budget has spent is in Redis for as long as Redis lives, and is read from the ledger where it is missing. The
ledger's figure counts open rows with what they hold, so an exchange should be settled here before its row is closed:
then a Redis that lost its memory in between ends up with neither too much nor too little.

Long because all verbs are here, each beside what it says to Redis.

Redis must not evict (``maxmemory-policy noeviction``); a budget that is evicted is read from the ledger again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.clock import WallClock
from gateway.core.period import FOR_EVER
from gateway.core.quota import (
    LEASE_S,
    ORPHAN_S,
    Ask,
    Denied,
    Grant,
    Limit,
    QuotasUnavailable,
    Scope,
    Settled,
    Standing,
)
from gateway.stores.accounts import LOAD_S, LoadSpent
from gateway.stores.loads import Loaded, Loads
from gateway.stores.redis_link import Answer, RedisGone, RedisLink
from gateway.stores.redis_scope import (
    MOST_NANOUSD,
    REPLICAS_KEY,
    Telling,
    Told,
    allowance_from,
    crossings_from,
    funds_from,
    prefix,
    tenant_of,
    word,
)
from gateway.stores.redis_scripts import Scripts

MOST_TURNS: Final = 8
"""How often one verb is asked again because a period ended or a figure was missing, before it is given up."""

RENEWED_AT_ONCE: Final = 100
"""Leases of one call: a fraction of a millisecond in which Redis does nothing else."""

SILENCE_S: Final = 15.0
"""A replica that has said nothing for so long is not counted."""


@dataclass(slots=True)
class Running:
    """An exchange that this process runs; ``since_us`` is when it was admitted, by Redis' clock."""

    ask: Ask
    hold_nanousd: int
    since_us: int


class RedisQuotas:
    """Implements :class:`gateway.core.quota.Quotas` for all processes that share one Redis.

    Every verb raises :class:`RedisGone` where Redis does not answer; see :mod:`gateway.stores.outage`.

    Args:
        link: to Redis; closed with this.
        wall_clock: a first guess at what Redis' clock says.
        load_spent: asked for a budget that Redis knows nothing of; None: every period begins at 0.
        load_s: how long ``load_spent`` may take.
        scripts: what Redis runs.
    """

    def __init__(
        self,
        link: RedisLink,
        wall_clock: WallClock,
        load_spent: LoadSpent | None = None,
        *,
        lease_s: float = LEASE_S,
        orphan_s: float = ORPHAN_S,
        load_s: float = LOAD_S,
        scripts: Scripts | None = None,
    ) -> None:
        self.link = link
        self._wall_clock = wall_clock
        self._loads = Loads(load_spent, load_s) if load_spent is not None else None
        self._lease_us, self._orphan_us = int(lease_s * 1e6), int(orphan_s * 1e6)
        self._scripts = scripts or Scripts()
        self._telling = Telling()
        self._ahead_s = 0.0
        self._running: dict[str, Running] = {}

    @property
    def now_us(self) -> int:
        """What Redis' clock says, as far as is known here."""
        return round((self._wall_clock() + self._ahead_s) * 1e6)

    async def admit(self, ask: Ask) -> Grant | Denied:
        """See :meth:`gateway.core.quota.Quotas.admit`; without scopes Redis is not asked."""
        if not ask.scopes:
            self._running.setdefault(ask.exchange_id, Running(ask, ask.hold_nanousd, self.now_us))
            return Grant(ask.exchange_id, ask.tenant_id)
        answer, told = await self._ask("admit", ask, ask.hold_nanousd)
        requests, tokens = allowance_from(answer[2:5]), allowance_from(answer[5:8])
        if answer[0] == b"yes":
            self._running.setdefault(ask.exchange_id, Running(ask, ask.hold_nanousd, int(answer[1])))
            return Grant(ask.exchange_id, ask.tenant_id, requests, tokens)
        if answer[0] != b"no":
            raise QuotasUnavailable("the exchange has ended before it could begin")
        limit, which = Limit(answer[8].decode()), int(answer[9]) - 1
        scope = ask.scopes[which]
        asked = {Limit.TOKENS: ask.tokens, Limit.BUDGET: ask.hold_nanousd}.get(limit, 1)
        funds = funds_from(scope, told, which, answer[11:13]) if limit is Limit.BUDGET else None
        return Denied(limit, scope, asked, float(answer[10]) if answer[10] else None, funds, requests, tokens)

    async def adopt(self, ask: Ask, hold_nanousd: int, since_us: int, ended_us: int = 0) -> bool:
        """Register an exchange that was admitted without Redis; again: no effect.

        Its slots and its hold count, whatever the limits; what it took of requests and tokens does not.

        Args:
            ended_us: when it ended, if it has: a budget that was read from the ledger after that has its cost.

        Returns:
            False where it has ended already.
        """
        answer, _ = await self._ask("adopt", ask, hold_nanousd, since_us, ended_us)
        return answer[0] == b"yes"

    async def settle(self, grant: Grant, tokens: int, cost_nanousd: int) -> Settled:
        """See :meth:`gateway.core.quota.Quotas.settle`."""
        _check(tokens)
        return await self.end(grant.tenant_id, grant.exchange_id, tokens, cost_nanousd)

    async def settle_orphan(self, tenant_id: str, exchange_id: str, cost_nanousd: int) -> Settled:
        """See :meth:`gateway.core.quota.Quotas.settle_orphan`."""
        return await self.end(tenant_id, exchange_id, None, cost_nanousd)

    async def withdraw(self, grant: Grant) -> None:
        """See :meth:`gateway.core.quota.Quotas.withdraw`."""
        await self.end(grant.tenant_id, grant.exchange_id, None, None)

    async def end(
        self,
        tenant_id: str,
        exchange_id: str,
        tokens: int | None,
        cost_nanousd: int | None,
        *,
        bury: bool = False,
        ended_us: int = 0,
    ) -> Settled:
        """Settle an exchange, or withdraw it.

        Args:
            tokens: None: the estimate stands.
            cost_nanousd: None: withdraw it.
            bury: remember that it has ended, for an hour: a command that was sent and never answered may still come.
            ended_us: when it ended, if not just now; see :meth:`adopt`.
        """
        _check(cost_nanousd or 0)
        running = self._running.get(exchange_id)
        if running is not None and not running.ask.scopes:
            return Settled(self._running.pop(exchange_id, None) is not None)
        start = prefix(tenant_id)
        verb = "withdraw" if cost_nanousd is None else "settle"
        given: tuple[str | int, ...] = (
            verb,
            -1 if tokens is None else tokens,
            cost_nanousd or 0,
            self._lease_us,
            int(bury),
        )

        async def once() -> Answer:
            name = word(exchange_id)
            return self._heard(await self.link.run(self._scripts.end, f"{start}x:{name}", start, name, *given))

        answer = await self._once_or_again(exchange_id, once, ended_us)
        running = self._running.pop(exchange_id, None)
        if answer[0] != b"done":
            return Settled(False)
        return (
            Settled(True, crossings_from(answer, running.ask.scopes if running is not None else None))
            if len(answer) > 2
            else Settled(True)
        )

    async def top_up(self, grant: Grant, more_nanousd: int) -> bool:
        """See :meth:`gateway.core.quota.Quotas.top_up`."""
        _check(more_nanousd)
        start, name = prefix(grant.tenant_id), word(grant.exchange_id)

        async def once() -> Answer:
            return self._heard(await self.link.run(self._scripts.top_up, f"{start}x:{name}", start, name, more_nanousd))

        granted = (await self._once_or_again(grant.exchange_id, once))[0] == b"done"
        running = self._running.get(grant.exchange_id)
        if granted and running is not None:
            running.hold_nanousd += more_nanousd
        return granted

    async def renew(self, grants: Iterable[Grant]) -> None:
        """See :meth:`gateway.core.quota.Quotas.renew`."""
        by_tenant: dict[str, dict[str, str]] = {}
        for grant in grants:
            by_tenant.setdefault(grant.tenant_id, {})[word(grant.exchange_id)] = grant.exchange_id
        for tenant_id, names in by_tenant.items():
            start, words = prefix(tenant_id), list(names)
            for first in range(0, len(words), RENEWED_AT_ONCE):
                some = words[first : first + RENEWED_AT_ONCE]
                given: tuple[str | int, ...] = (start, self._lease_us, self._orphan_us, *some)
                answer = self._heard(await self.link.run(self._scripts.renew, f"{start}leases", *given))
                for missing in answer[2:]:
                    running = self._running.get(names[missing.decode()])
                    if running is not None:
                        await self._ask("lost", running.ask, running.hold_nanousd, running.since_us)

    async def standing(self, scope: Scope) -> Standing:
        """See :meth:`gateway.core.quota.Quotas.standing`; the scope's key must name its tenant."""
        answer, told = await self._ask("look", Ask("", tenant_of(scope), (scope,), 0, 0), 0)
        return Standing(
            funds_from(scope, told, 0, answer[8:10]),
            allowance_from(answer[2:5]),
            allowance_from(answer[5:8]),
            int(answer[10]) if scope.limits is not None else None,
        )

    async def announce(self, name: str, *, goes: bool = False) -> int:
        """Say that this replica is there, or goes; return how many are."""
        silence_us = 0 if goes else int(SILENCE_S * 1e6)
        answer = await self.link.run(self._scripts.beat, REPLICAS_KEY, "", word(name), silence_us)
        return int(self._heard(answer)[2])

    async def aclose(self) -> None:
        """Give up what is being read back, and let go of Redis."""
        if self._loads is not None:
            await self._loads.aclose()
        await self.link.aclose()

    def running(self, exchange_id: str) -> Running | None:
        """Return what this process runs by leave of Redis."""
        return self._running.get(exchange_id)

    def held_since(self, scope_key: str, since_us: int) -> int:
        """Sum what is held in a scope by what this process has admitted from a moment on, by leave of Redis."""
        return sum(
            running.hold_nanousd
            for running in self._running.values()
            if running.since_us >= since_us and any(scope.key == scope_key for scope in running.ask.scopes)
        )

    def forget(self, exchange_id: str) -> None:
        """Forget an exchange that has ended and that Redis cannot be told of."""
        self._running.pop(exchange_id, None)

    async def _ask(
        self, mode: str, ask: Ask, hold_nanousd: int, since_us: int = 0, ended_us: int = 0
    ) -> tuple[Answer, Told]:
        start, name = prefix(ask.tenant_id), word(ask.exchange_id)
        has_ledger = int(self._loads is not None)
        loads: dict[str, Loaded] = {}
        # A running exchange belongs to the periods in which it was admitted.
        moment_us = since_us or self.now_us
        for _ in range(MOST_TURNS):
            told = self._telling.tell(ask.scopes, moment_us / 1e6)
            given: tuple[str | int, ...] = (
                self._lease_us,
                self._orphan_us,
                told.text,
                json.dumps(loads),
                has_ledger,
                since_us,
                ended_us,
            )
            answer = self._heard(
                await self.link.run(
                    self._scripts.ask, f"{start}x:{name}", start, name, mode, ask.tokens, hold_nanousd, *given
                )
            )
            if answer[0] == b"period":
                moment_us, loads = int(answer[1]), {}
            elif answer[0] == b"unknown":
                loads |= await self._read_back(ask, told, answer)
            else:
                return answer, told
        raise RedisGone("Redis' clock does not stand still long enough")

    async def _once_or_again(
        self, exchange_id: str, once: Callable[[], Awaitable[Answer]], ended_us: int = 0
    ) -> Answer:
        """Do something with an exchange; where Redis has lost it, tell it anew what runs here, and do it then."""
        answer = await once()
        running = self._running.get(exchange_id)
        if answer[0] != b"missing" or running is None or all(scope.budget is None for scope in running.ask.scopes):
            return answer
        adopted, _ = await self._ask("lost", running.ask, running.hold_nanousd, running.since_us, ended_us)
        return await once() if adopted[0] == b"yes" else answer

    async def _read_back(self, ask: Ask, told: Told, answer: Answer) -> dict[str, Loaded]:
        missing = [int(n) - 1 for n in answer[2:]]
        if self._loads is None:
            raise AssertionError("without a ledger nothing is missing")
        spans = [told.spans[n] or FOR_EVER for n in missing]
        reading = (
            self._loads.load(ask.scopes[n], span, int(answer[1])) for n, span in zip(missing, spans, strict=True)
        )
        return {str(n + 1): loaded for n, loaded in zip(missing, await asyncio.gather(*reading), strict=True)}

    def _heard(self, answer: Answer) -> Answer:
        self._ahead_s = int(answer[1]) / 1e6 - self._wall_clock()
        return answer


def _check(figure: int) -> None:
    if figure < 0:
        raise ValueError(f"must be 0 or more, not {figure}")
    if figure > MOST_NANOUSD:
        raise ValueError(f"must be {MOST_NANOUSD} or less, not {figure}")
