"""Limits and budgets kept in this process: the default, where no Redis is configured.

Nothing here survives the process: buckets and slots begin anew, which lets at most one burst more through; what budgets
have spent is read back from the ledger. Between two awaits nothing else runs, so admission, which has none once its
accounts are there, needs no lock. Scopes that are as good as new are forgotten, a few for each new one that comes.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable

from gateway.core.account import Account
from gateway.core.clock import Clock, WallClock
from gateway.core.meter import Meter, least
from gateway.core.quota import (
    LEASE_S,
    ORPHAN_S,
    RELEASE_HINT_S,
    Ask,
    Budget,
    Denied,
    Grant,
    Limit,
    Limits,
    Scope,
    Settled,
    Standing,
)
from gateway.stores.accounts import LOAD_S, SWEEP, Accounts, LoadBalance

_Bill = tuple[Scope, Budget, Account]


class _Lease:
    """What one running exchange holds; ``until_s`` is when it lapses, or, once it has, when its hold is written off."""

    __slots__ = ("bills", "grant", "hold_nanousd", "meters", "scopes", "tokens", "until_s")

    def __init__(self, grant: Grant, ask: Ask, meters: list[Meter], bills: list[_Bill], until_s: float) -> None:
        self.grant = grant
        self.scopes = ask.scopes
        self.tokens = ask.tokens
        self.hold_nanousd = ask.hold_nanousd
        self.meters = meters
        self.bills = bills
        self.until_s = until_s


class LocalQuotas:
    """Implements :class:`gateway.core.quota.Quotas` for one process; ``accounts`` are those of its budgets.

    Args:
        clock: for buckets and leases.
        wall_clock: for periods.
        load_spent: asked once for each scope and period, before the scope admits; None: every period begins at 0.
        lease_s: how long an exchange keeps its slots without :meth:`renew`.
        orphan_s: how long the hold of a lapsed lease waits for its settlement.
        load_s: how long ``load_spent`` may take.
    """

    def __init__(
        self,
        clock: Clock,
        wall_clock: WallClock,
        load_spent: LoadBalance | None = None,
        *,
        lease_s: float = LEASE_S,
        orphan_s: float = ORPHAN_S,
        load_s: float = LOAD_S,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._lease_s = lease_s
        self._orphan_s = orphan_s
        self._meters: OrderedDict[str, Meter] = OrderedDict()
        self._made = 0
        self.accounts = Accounts(wall_clock, load_spent, load_s)
        # Both in the order of their `until_s`: each lease lasts equally long, and a renewal goes to the end.
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._lapsed: OrderedDict[str, _Lease] = OrderedDict()
        self._due_s = clock() + lease_s

    @property
    def scopes(self) -> int:
        """How many scopes have a state in memory."""
        return len(self._meters) + len(self.accounts)

    async def admit(self, ask: Ask) -> Grant | Denied:
        """See :meth:`gateway.core.quota.Quotas.admit`."""
        while True:
            now_s = self._wall_clock()
            bills: list[_Bill] = []
            for scope in ask.scopes:
                budget = scope.budget
                if budget is not None:
                    account = self.accounts.get(scope, budget, now_s)
                    if account is None:
                        await self.accounts.load(scope, budget, now_s)
                        break
                    bills.append((scope, budget, account))
            else:
                return self._decide(ask, bills, now_s)

    def _decide(self, ask: Ask, bills: list[_Bill], now_s: float) -> Grant | Denied:
        clock_s = self._clock()
        if clock_s >= self._due_s:
            self._lapse(clock_s)
        running = self._leases.get(ask.exchange_id) or self._lapsed.get(ask.exchange_id)
        if running is not None:
            return running.grant
        if self._made:
            self._forget()
        tokens, hold = ask.tokens, ask.hold_nanousd
        meters: list[Meter] = []
        longest_s = 0.0
        in_the_way: tuple[Limit, Scope] | None = None
        for scope in ask.scopes:
            if scope.limits is not None:
                meter = self._meter(scope.key, scope.limits)
                meters.append(meter)
                wait_s, limit = meter.wait_s(tokens)
                if limit is not None and wait_s > longest_s:
                    longest_s, in_the_way = wait_s, (limit, scope)
        for scope, budget, account in bills:
            if not account.fits(budget, hold):
                wait_s = account.wait_s(budget, hold, now_s, RELEASE_HINT_S)
                if wait_s > longest_s:
                    longest_s, in_the_way = wait_s, (Limit.BUDGET, scope)
        if in_the_way is not None:
            return _denied(ask, *in_the_way, longest_s, meters, bills)
        for meter in meters:
            meter.take(tokens)
        for _, _, account in bills:
            account.held_nanousd += hold
        grant = Grant(ask.exchange_id, ask.tenant_id, *least(meters))
        self._leases[ask.exchange_id] = _Lease(grant, ask, meters, bills, clock_s + self._lease_s)
        return grant

    async def settle(self, grant: Grant, tokens: int, cost_nanousd: int) -> Settled:
        """See :meth:`gateway.core.quota.Quotas.settle`."""
        _check(tokens)
        return self._end(grant.exchange_id, tokens, cost_nanousd)

    async def settle_orphan(self, tenant_id: str, exchange_id: str, cost_nanousd: int) -> Settled:
        """See :meth:`gateway.core.quota.Quotas.settle_orphan`."""
        return self._end(exchange_id, None, cost_nanousd)

    async def withdraw(self, grant: Grant) -> None:
        """See :meth:`gateway.core.quota.Quotas.withdraw`."""
        lease = self._take_out(grant.exchange_id)
        if lease is not None:
            for meter in lease.meters:
                meter.give_back_request()
                meter.correct(lease.tokens, 0)
            for _, _, account in lease.bills:
                account.held_nanousd -= lease.hold_nanousd

    async def top_up(self, grant: Grant, more_nanousd: int) -> bool:
        """See :meth:`gateway.core.quota.Quotas.top_up`."""
        _check(more_nanousd)
        lease = self._leases.get(grant.exchange_id) or self._lapsed.get(grant.exchange_id)
        if lease is None or not all(account.fits(budget, more_nanousd) for _, budget, account in lease.bills):
            return False
        lease.hold_nanousd += more_nanousd
        for _, _, account in lease.bills:
            account.held_nanousd += more_nanousd
        return True

    async def renew(self, grants: Iterable[Grant]) -> None:
        """See :meth:`gateway.core.quota.Quotas.renew`."""
        now_s = self._clock()
        until_s = now_s + self._lease_s
        for grant in grants:
            lease = self._leases.get(grant.exchange_id)
            if lease is not None:
                self._leases.move_to_end(grant.exchange_id)
            else:
                lease = self._lapsed.pop(grant.exchange_id, None)
                if lease is None:
                    continue
                self._leases[grant.exchange_id] = lease
                for meter in self._found_again(lease):
                    meter.in_flight += 1
            lease.until_s = until_s
        # Only now: after a standstill of the process those that run must not lapse before they could be renewed.
        if now_s >= self._due_s:
            self._lapse(now_s)

    async def standing(self, scope: Scope) -> Standing:
        """See :meth:`gateway.core.quota.Quotas.standing`."""
        account = None
        if scope.budget is not None:
            while (account := self.accounts.get(scope, scope.budget, now_s := self._wall_clock())) is None:
                await self.accounts.load(scope, scope.budget, now_s)
        clock_s = self._clock()
        if clock_s >= self._due_s:
            self._lapse(clock_s)
        funds = account.funds(scope.budget) if account is not None and scope.budget is not None else None
        if scope.limits is None:
            return Standing(funds, None, None, None)
        meter = self._meter(scope.key, scope.limits)
        return Standing(funds, *least((meter,)), meter.in_flight)

    async def aclose(self) -> None:
        """Give up what is being read back; who waits for it gets :class:`QuotasUnavailable`."""
        await self.accounts.aclose()

    def _end(self, exchange_id: str, tokens: int | None, cost_nanousd: int) -> Settled:
        _check(cost_nanousd)
        first = exchange_id in self.accounts.others
        # Found running by one account, admitted here on another: a budget was added meanwhile.
        crossed = self.accounts.settle_other(exchange_id, cost_nanousd)
        lease = self._take_out(exchange_id)
        if lease is None:
            return Settled(first, tuple(crossed))
        if tokens is not None:
            for meter in lease.meters:
                meter.correct(lease.tokens, tokens)
        for scope, budget, account in lease.bills:
            crossed += account.settle(scope, budget, lease.hold_nanousd, cost_nanousd)
        return Settled(True, tuple(crossed))

    def _take_out(self, exchange_id: str) -> _Lease | None:
        lease = self._leases.pop(exchange_id, None)
        if lease is not None:
            for meter in lease.meters:
                meter.in_flight -= 1
            return lease
        lease = self._lapsed.pop(exchange_id, None)
        if lease is not None:
            self._found_again(lease)
        return lease

    def _found_again(self, lease: _Lease) -> list[Meter]:
        """Give a lapsed lease the present meters of its scopes: with no slot taken, its own may be forgotten."""
        lease.meters = [
            self._meters.get(scope.key) or self._meter(scope.key, scope.limits)
            for scope in lease.scopes
            if scope.limits is not None
        ]
        return lease.meters

    def _lapse(self, now_s: float) -> None:
        """Free the slots of leases that were not renewed; write off holds that nobody settled."""
        self._due_s = now_s + self._lease_s
        while self._leases:
            exchange_id, lease = next(iter(self._leases.items()))
            if lease.until_s > now_s:
                self._due_s = min(self._due_s, lease.until_s)
                break
            del self._leases[exchange_id]
            lease.until_s += self._orphan_s
            self._lapsed[exchange_id] = lease
            for meter in lease.meters:
                meter.in_flight -= 1
        while self._lapsed:
            exchange_id, lease = next(iter(self._lapsed.items()))
            if lease.until_s > now_s:
                self._due_s = min(self._due_s, lease.until_s)
                break
            del self._lapsed[exchange_id]
            for _, _, account in lease.bills:
                account.write_off(lease.hold_nanousd)

    def _meter(self, key: str, limits: Limits) -> Meter:
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(limits, self._clock)
            self._made += 1
        else:
            meter.adopt(limits)
        return meter

    def _forget(self) -> None:
        """Look at a few of the oldest meters for each new one. Only while nobody has one in hand and is yet to take."""
        for _ in range(min(SWEEP * self._made, len(self._meters))):
            key, meter = self._meters.popitem(last=False)
            if not meter.is_untouched:
                self._meters[key] = meter
        self._made = 0


def _check(figure: int) -> None:
    if figure < 0:
        raise ValueError(f"must be 0 or more, not {figure}")


def _denied(ask: Ask, limit: Limit, scope: Scope, wait_s: float, meters: list[Meter], bills: Iterable[_Bill]) -> Denied:
    asked = {Limit.TOKENS: ask.tokens, Limit.BUDGET: ask.hold_nanousd}.get(limit, 1)
    funds = next((account.funds(budget) for of, budget, account in bills if of is scope), None)
    return Denied(
        limit,
        scope,
        asked,
        wait_s if wait_s < math.inf else None,
        funds if limit is Limit.BUDGET else None,
        *least(meters),
    )
