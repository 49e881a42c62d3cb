"""What budgets have spent, kept in this process; read back from the ledger before a period's first admission."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from zoneinfo import ZoneInfo

from gateway.core.account import Account
from gateway.core.clock import WallClock
from gateway.core.period import Period, Span
from gateway.core.quota import Budget, QuotasUnavailable, Scope

LoadSpent = Callable[[str, float], Awaitable[int | None]]
"""From a scope's key and the start of a period (Unix seconds) to the nano-dollars spent since; None: nothing known."""

LOAD_S: Final = 5.0
"""Longest wait for what was spent; a database that takes longer is as good as gone."""

SWEEP: Final = 2
"""Old entries looked at for each new one: more than one, so that what is forgotten outruns what comes."""


class Accounts:
    """One account for each budget in its present period. Those of periods that are over live on in what they hold.

    Args:
        wall_clock: says which period it is.
        load_spent: asked once for each scope and period; None: every period begins at 0.
        load_s: how long it may take.
    """

    def __init__(self, wall_clock: WallClock, load_spent: LoadSpent | None, load_s: float = LOAD_S) -> None:
        self._wall_clock = wall_clock
        self._load_spent = load_spent
        self._load_s = load_s
        self._accounts: OrderedDict[tuple[str, Period, ZoneInfo], Account] = OrderedDict()
        self._loading: dict[tuple[str, Span], asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, scope: Scope, budget: Budget, now_s: float) -> Account | None:
        """Return the account of the present period; None: :meth:`load` it first."""
        account = self._accounts.get((scope.key, budget.period, budget.zone))
        if account is not None and account.is_current(now_s):
            return account
        return None if self._load_spent is not None else self._open(scope, budget, budget.span_at(now_s), 0)

    async def load(self, scope: Scope, budget: Budget, now_s: float) -> None:
        """Have what was spent loaded, by one call however many wait; none of them, leaving, stops it.

        Raises:
            QuotasUnavailable: it failed, took too long, or :meth:`aclose` came first.
        """
        span = budget.span_at(now_s)
        key = scope.key, span
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._fetch(scope, budget, span))
            task.add_done_callback(lambda done: self._loaded(key, done))
        await asyncio.wait((task,))
        if task.cancelled():
            raise QuotasUnavailable(f"what {scope.owner} has spent was not read: the gateway is closing")
        error = task.exception()
        if error is not None:
            raise QuotasUnavailable(f"what {scope.owner} has spent cannot be read") from error

    async def aclose(self) -> None:
        """Give up what is being loaded."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)

    def _loaded(self, key: tuple[str, Span], task: asyncio.Task[None]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # who waited raises it; where all have left, nobody needs to know

    async def _fetch(self, scope: Scope, budget: Budget, span: Span) -> None:
        if self._load_spent is None:
            return
        async with asyncio.timeout(self._load_s):
            spent_nanousd = await self._load_spent(scope.key, span.start_s)
        there = self._accounts.get((scope.key, budget.period, budget.zone))
        # The next period may have been loaded faster than this one.
        if there is None or not there.is_current(self._wall_clock()):
            self._open(scope, budget, span, spent_nanousd or 0)

    def _open(self, scope: Scope, budget: Budget, span: Span, spent_nanousd: int) -> Account:
        now_s = self._wall_clock()
        for _ in range(min(SWEEP, len(self._accounts))):
            key, candidate = self._accounts.popitem(last=False)
            if candidate.span.end_s > now_s:
                self._accounts[key] = candidate
        account = self._accounts[scope.key, budget.period, budget.zone] = Account(budget, span, spent_nanousd)
        return account
