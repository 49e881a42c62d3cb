"""One process' part of shared limits and budgets, while it cannot ask the others."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from gateway.core.clock import Clock, WallClock
from gateway.core.quota import RELEASE_HINT_S, Ask, Denied, Funds, Grant, Limit, Limits, Scope, Standing
from gateway.stores.accounts import LoadSpent
from gateway.stores.memory import LocalQuotas

MOST_REMEMBERED: Final = 10_000

Unwritten = Callable[[str], Awaitable[int]]
"""From a scope's key to the nano-dollars held by what this process has admitted so lately that no row may tell."""


def part_of(limits: Limits, parts: int) -> Limits:
    """Divide limits, and the burst like them; 1 is the least that a limit can be."""

    def part(figure: int | None) -> int | None:
        return None if figure is None else max(1, figure // parts)

    return Limits(
        part(limits.requests_per_minute), part(limits.tokens_per_minute), part(limits.concurrent), part(limits.burst)
    )


def part_of_spent(load_spent: LoadSpent, parts: int, unwritten: Unwritten) -> LoadSpent:
    """Divide what the ledger says, rounded up: so all parts together have no more left than the whole.

    What this process knows and the ledger may not is added whole: nobody else will.
    """

    async def load(scope_key: str, start_s: float) -> int | None:
        own_nanousd = await unwritten(scope_key)
        spent_nanousd = await load_spent(scope_key, start_s)
        return None if spent_nanousd is None and not own_nanousd else own_nanousd - (-(spent_nanousd or 0) // parts)

    return load


class Share:
    """Decides by a part of each limit and budget, and speaks of the whole.

    Args:
        parts: how many processes share.
        clock: for buckets and leases.
        wall_clock: for periods.
        load_spent: what all have spent; see :class:`LocalQuotas`.
        unwritten: what is not in it yet.

    Attributes:
        quotas: where it is kept; who holds a grant of it may need it after the outage.
    """

    def __init__(
        self, parts: int, clock: Clock, wall_clock: WallClock, load_spent: LoadSpent | None, unwritten: Unwritten
    ) -> None:
        self._parts = parts
        self._scopes: dict[Scope, Scope] = {}
        self.quotas = LocalQuotas(clock, wall_clock, load_spent and part_of_spent(load_spent, parts, unwritten))

    async def admit(self, ask: Ask) -> Grant | Denied:
        """Decide about an exchange.

        Raises:
            QuotasUnavailable: what a budget has spent cannot be read.
        """
        mine = tuple(map(self._mine, ask.scopes))
        answer = await self.quotas.admit(replace(ask, scopes=mine))
        if isinstance(answer, Grant):
            return answer
        scope = next(whole for whole, part in zip(ask.scopes, mine, strict=True) if part is answer.scope)
        wait_s = answer.retry_after_s
        if scope.budget is not None and answer.limit is Limit.BUDGET and ask.hold_nanousd <= scope.budget.nanousd:
            wait_s = RELEASE_HINT_S  # what is too much for a part may fit when the others can be asked again
        return replace(answer, scope=scope, retry_after_s=wait_s, funds=self._whole(scope, answer.funds))

    async def step(self, ask: Ask, number: int, more_nanousd: int) -> Grant | None:
        """Hold a further step of an exchange that was admitted elsewhere; its budgets alone are asked."""
        budgets = tuple(replace(scope, limits=None) for scope in ask.scopes if scope.budget is not None)
        answer = await self.admit(Ask(f"{ask.exchange_id}+{number}", ask.tenant_id, budgets, 0, more_nanousd))
        return answer if isinstance(answer, Grant) else None

    async def standing(self, scope: Scope) -> Standing:
        """Tell where a scope stands, as if all parts stood like this one; what is left of its limits is this part's."""
        standing = await self.quotas.standing(self._mine(scope))
        return replace(standing, funds=self._whole(scope, standing.funds))

    def _mine(self, scope: Scope) -> Scope:
        mine = self._scopes.get(scope)
        if mine is None:
            if len(self._scopes) >= MOST_REMEMBERED:
                self._scopes.clear()
            limits, budget = scope.limits, scope.budget
            mine = self._scopes[scope] = replace(
                scope,
                limits=limits and part_of(limits, self._parts),
                budget=budget and replace(budget, nanousd=budget.nanousd // self._parts),
            )
        return mine

    def _whole(self, scope: Scope, part: Funds | None) -> Funds | None:
        if part is None or scope.budget is None:
            return None
        spent, held = part.spent_nanousd * self._parts, part.held_nanousd * self._parts
        return Funds(scope.budget.nanousd, spent, held, part.span)
