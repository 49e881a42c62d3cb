"""What budgets have spent, kept in this process; read back from the ledger before a period's first admission."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Set
from typing import Final
from zoneinfo import ZoneInfo

from gateway.core.account import Account, Balance
from gateway.core.clock import WallClock
from gateway.core.period import Period, Span
from gateway.core.quota import Budget, Crossing, QuotasUnavailable, Scope

LoadSpent = Callable[[str, float], Awaitable[int | None]]
"""From a scope's key and the start of a period (Unix seconds) to the nano-dollars spent since; None: nothing known."""

LoadBalance = Callable[[str, float], Awaitable[Balance | int | None]]
"""The same, and where it is known what runs, that too: then it is held until its cost is told."""

LOAD_S: Final = 5.0
"""Longest wait for what was spent; a database that takes longer is as good as gone."""

NOTHING: Final = Balance(0, {})

SWEEP: Final = 2
"""Old entries looked at for each new one: more than one, so that what is forgotten outruns what comes."""


class Accounts:
    """One account for each budget in its present period. Those of periods that are over live on in what they hold.

    An account may find exchanges running that nobody here began: of a process that died, or that this one takes over
    from. It holds what they hold, until :meth:`settle_other` says what they cost.

    Args:
        wall_clock: says which period it is.
        load_spent: asked once for each scope and period; None: every period begins at 0.
        load_s: how long it may take.
    """

    def __init__(self, wall_clock: WallClock, load_spent: LoadBalance | None, load_s: float = LOAD_S) -> None:
        self._wall_clock = wall_clock
        self._load_spent = load_spent
        self._load_s = load_s
        self._accounts: OrderedDict[tuple[str, Period, ZoneInfo], Account] = OrderedDict()
        self._loading: dict[tuple[str, Span], asyncio.Task[None]] = {}
        self._others: dict[str, list[tuple[Scope, Budget, Account, int]]] = {}

    @property
    def others(self) -> Set[str]:
        """Ids of the exchanges that were found running."""
        return self._others.keys()

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, scope: Scope, budget: Budget, now_s: float) -> Account | None:
        """Return the account of the present period; None: :meth:`load` it first."""
        account = self._accounts.get((scope.key, budget.period, budget.zone))
        if account is not None and account.is_current(now_s):
            return account
        return None if self._load_spent is not None else self._open(scope, budget, budget.span_at(now_s), NOTHING)

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

    def settle_other(self, exchange_id: str, cost_nanousd: int) -> list[Crossing]:
        """Put the cost of an exchange that was found running in the place of what it held; again: no effect."""
        crossed: list[Crossing] = []
        for scope, budget, account, hold_nanousd in self._others.pop(exchange_id, ()):
            crossed += account.settle(scope, budget, hold_nanousd, cost_nanousd)
        return crossed

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
            found = await self._load_spent(scope.key, span.start_s)
        there = self._accounts.get((scope.key, budget.period, budget.zone))
        # The next period may have been loaded faster than this one.
        if there is None or not there.is_current(self._wall_clock()):
            self._open(scope, budget, span, found if isinstance(found, Balance) else Balance(found or 0, {}))

    def _open(self, scope: Scope, budget: Budget, span: Span, balance: Balance) -> Account:
        now_s = self._wall_clock()
        for _ in range(min(SWEEP, len(self._accounts))):
            key, candidate = self._accounts.popitem(last=False)
            if candidate.span.end_s > now_s:
                self._accounts[key] = candidate
        account = Account(budget, span, balance.spent_nanousd, sum(balance.running.values()))
        for exchange_id, hold_nanousd in balance.running.items():
            self._others.setdefault(exchange_id, []).append((scope, budget, account, hold_nanousd))
        self._accounts[scope.key, budget.period, budget.zone] = account
        return account
