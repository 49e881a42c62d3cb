"""Where the limits and budgets of one tenant stand: its own and those of its keys."""

from typing import Any, Literal, Protocol

from gateway.admin.access import Role
from gateway.admin.figures import FIRST_US, Iso, NanoUsd, Usd, iso_or_none
from gateway.admin.operation import Call, Nothing, Operation
from gateway.admin.refusals import AdminError
from gateway.core.quota import Allowance, Budget, Funds, Scope, Standing
from gateway.core.settings import Settings
from gateway.tenancy.quotas import owner_of
from gateway.tenancy.refusals import usd
from gateway.tenancy.tenants import Tenants


class Standings(Protocol):
    """Tells where scopes stand: :class:`gateway.core.quota.Quotas`."""

    async def standing(self, scope: Scope) -> Standing:
        """Tell where a scope stands.

        Raises:
            QuotasUnavailable: it cannot be found out now.
        """


class BudgetAnswer(Settings):
    """A budget in its present period."""

    limit_nanousd: NanoUsd
    limit_usd: Usd
    spent_nanousd: NanoUsd
    spent_usd: Usd
    held_nanousd: NanoUsd
    held_usd: Usd
    window: Literal["day", "week", "month", "total"]
    """The period after which it begins again."""
    timezone: str
    """Whose calendar counts."""
    began_at: Iso
    """When this period began."""
    resets_at: Iso | None
    """When the next one begins; null: never."""


class AllowanceAnswer(Settings):
    """What is left of a limit per minute."""

    limit: int
    """How much fills up again each minute."""
    remaining: int
    """How much may come at once."""
    reset_s: float
    """Seconds until it is as new."""


class StandingAnswer(Settings):
    """Where one scope stands."""

    scope: Literal["tenant", "key"]
    """Whose it is: all keys of the tenant together, or one of them."""
    key_id: str | None
    """Which key, where it is one."""
    budget: BudgetAnswer | None
    """Null: it has no budget."""
    requests: AllowanceAnswer | None
    """Null: requests per minute are not limited."""
    tokens: AllowanceAnswer | None
    """Null: tokens per minute are not limited."""
    in_flight: int | None
    """Requests that run now; null: nothing is limited, so nobody counts."""


class SpendingAnswer(Settings):
    """Where the limits and budgets of a tenant stand."""

    tenant_id: str
    """Whose they are."""
    standings: tuple[StandingAnswer, ...]
    """The tenant's own first, then those of its keys; who has neither limits nor budget is not there."""


class Spending:
    """Shows standings."""

    def __init__(self, tenants: Tenants, standings: Standings) -> None:
        self._tenants = tenants
        self._standings = standings

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "get_spending",
                "GET",
                "/admin/tenants/{tenant_id}/spending",
                "Where the limits and budgets of a tenant and its keys stand",
                Role.VIEWER,
                self.get,
                Nothing,
                Nothing,
                SpendingAnswer,
                fails=("store_down",),
            ),
        )

    async def get(self, call: Call[Nothing, Nothing]) -> SpendingAnswer:
        """Tell where every scope stands."""
        tenant_id = call.path["tenant_id"]
        entitlement = next((tenant.entitlement for tenant in self._tenants.all if tenant.id == tenant_id), None)
        if entitlement is None:
            raise AdminError("not_found", "There is no such tenant.")
        scopes = [*([entitlement.own] if entitlement.own is not None else []), *entitlement.keys]
        told = [_told(scope, await self._standings.standing(scope)) for scope in scopes]
        return SpendingAnswer(tenant_id=tenant_id, standings=tuple(told))


def _told(scope: Scope, standing: Standing) -> StandingAnswer:
    key_id = owner_of(scope.key).key_id
    return StandingAnswer(
        scope="tenant" if key_id is None else "key",
        key_id=key_id,
        budget=_budget(scope.budget, standing.funds)
        if scope.budget is not None and standing.funds is not None
        else None,
        requests=_allowance(standing.requests),
        tokens=_allowance(standing.tokens),
        in_flight=standing.in_flight,
    )


def _budget(budget: Budget, funds: Funds) -> BudgetAnswer:
    began_us, resets_us = (
        max(FIRST_US, int(moment * 1_000_000)) if moment < float("inf") else None
        for moment in (funds.span.start_s, funds.span.end_s)
    )
    return BudgetAnswer(
        limit_nanousd=funds.limit_nanousd,
        limit_usd=usd(funds.limit_nanousd),
        spent_nanousd=funds.spent_nanousd,
        spent_usd=usd(funds.spent_nanousd),
        held_nanousd=funds.held_nanousd,
        held_usd=usd(funds.held_nanousd),
        window=budget.period.value,
        timezone=budget.zone.key,
        began_at=iso_or_none(began_us) or "",
        resets_at=iso_or_none(resets_us),
    )


def _allowance(left: Allowance | None) -> AllowanceAnswer | None:
    return None if left is None else AllowanceAnswer(limit=left.limit, remaining=left.remaining, reset_s=left.reset_s)
