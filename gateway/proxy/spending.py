"""What a budget looks like from outside: its gauges, and one line in the log for each threshold and period."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from gateway.core.period import iso_moment
from gateway.core.quota import Crossing, Denied, Funds, Limit, Quotas, QuotasUnavailable, Scope
from gateway.metrics import Metrics
from gateway.stores.sql.group import DatabaseDown
from gateway.tenancy.quotas import owner_of
from gateway.tenancy.refusals import usd
from gateway.tenancy.tenants import Tenants

REFRESH_S: Final = 2.0
"""How often :meth:`Spending.refresh` is due."""

AT_ONCE: Final = 40
"""Budgets read in one refresh, one after another: with 200 of them each is read every 10 s, and every scrape finds
figures that are younger than itself. With Redis that is 20 short commands a second."""

EXHAUSTED_PPM: Final = 1_000_001
"""Marks that a budget has refused a request: just beyond the whole of it, which may be a soft threshold itself."""

MOST_TOLD: Final = 10_000

log = logging.getLogger("gateway")


class MarkTold(Protocol):
    """Notes in the database that something is told of a budget: ``stores.sql.spending.mark_told``."""

    async def __call__(self, scope: str, period_start_us: int, threshold_ppm: int) -> bool:
        """Return whether nobody has told it before, this process or another.

        Raises:
            DatabaseDown: nobody knows now.
        """


class Spending:
    """Watches budgets.

    The gauges are of the tenants' own budgets, and only of tenants that have a label of their own. A tenant that has
    gone, or has no budget any more, has no series; where a budget cannot be read its last values stay.

    Args:
        tenants: those there are now; asked at each refresh.
        mark: see :class:`MarkTold`.
        start: starts a task and keeps it.
    """

    def __init__(
        self,
        quotas: Quotas,
        tenants: Tenants,
        metrics: Metrics,
        mark: MarkTold,
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._quotas = quotas
        self._tenants = tenants
        self._metrics = metrics
        self._mark = mark
        self._start = start
        # Who has waited longest comes first.
        self._order: dict[str, None] = {}
        self._touched: set[str] = set()
        self._refused: dict[str, float] = {}
        self._refreshing = asyncio.Lock()

    def touched(self, tenant_id: str) -> None:
        """Have a tenant's budget read by the next refresh: something was settled, so it has changed."""
        self._touched.add(tenant_id)

    async def refresh(self) -> None:
        """Read some of the budgets into their gauges: those that were touched, and those that have waited longest.

        Without effect while another refresh runs. It ends at the first budget that cannot be read, since others will
        fare no better; the next one begins with others.
        """
        if self._refreshing.locked():
            return
        async with self._refreshing:
            scopes = self._watched()
            for tenant_id in self._turn():
                self._order[tenant_id] = self._order.pop(tenant_id)
                self._touched.discard(tenant_id)
                try:
                    standing = await self._quotas.standing(scopes[tenant_id])
                except QuotasUnavailable:
                    return
                if standing.funds is not None:
                    self._show(tenant_id, standing.funds)

    def on_crossed(self, crossing: Crossing) -> None:
        """Tell that a share of a budget is spent, unless a replica has told it in this period."""
        scope, funds = crossing.scope, crossing.funds
        said = f"has spent {crossing.threshold * 100:g} % of its budget: {usd(funds.spent_nanousd)}"
        ppm = max(1, round(crossing.threshold * 1_000_000))
        self._start(self._tell_once(scope, funds, ppm, "soft", said))

    def on_denied(self, denied: Denied) -> None:
        """Tell that a budget is exhausted, with the first request in a period that it refuses for good.

        That is, neither because of what requests in flight hold, which may come back, nor because the request is
        larger than the whole budget, which says nothing of what is spent. So a budget of 0 is never exhausted.
        """
        scope, funds = denied.scope, denied.funds
        if denied.limit is not Limit.BUDGET or funds is None:
            return
        self.touched(owner_of(scope.key).tenant_id)
        if denied.asked > funds.limit_nanousd or funds.spent_nanousd + denied.asked <= funds.limit_nanousd:
            return
        if self._refused.get(scope.key) == funds.span.start_s:
            return
        if len(self._refused) >= MOST_TOLD:
            self._refused.clear()
        self._refused[scope.key] = funds.span.start_s
        said = f"has exhausted its budget, so requests are refused: {usd(funds.spent_nanousd)}"
        self._start(self._tell_once(scope, funds, EXHAUSTED_PPM, "exhausted", said))

    async def _tell_once(self, scope: Scope, funds: Funds, ppm: int, threshold: str, said: str) -> None:
        first = True
        try:
            first = await self._mark(scope.key, int(funds.span.start_s * 1_000_000), ppm)
        except DatabaseDown:
            pass
        finally:
            # Also where the process ends meanwhile: rather told twice than never.
            if first:
                self._tell(scope, funds, threshold, said)

    def _tell(self, scope: Scope, funds: Funds, threshold: str, said: str) -> None:
        owner = owner_of(scope.key)
        of_tenant = f" of the tenant `{owner.tenant_id}`" if owner.key_id is not None else ""
        again = iso_moment(funds.span.end_s, scope.budget.zone) if scope.budget is not None else None
        log.warning(
            "%s%s %s of %s USD; the budget %s",
            scope.owner,
            of_tenant,
            said,
            usd(funds.limit_nanousd),
            "does not begin again" if again is None else f"begins again at {again}",
        )
        label = self._metrics.tenant_label(owner.tenant_id)
        of = "tenant" if owner.key_id is None else "key"
        self._metrics.declared.budget_thresholds.labels(label, of, threshold).inc()

    def _watched(self) -> dict[str, Scope]:
        """The scopes whose budgets are shown, by tenant; what is no longer among them is taken out."""
        scopes: dict[str, Scope] = {}
        for tenant in self._tenants.all:
            own = tenant.entitlement.own
            if own is not None and own.budget is not None and self._metrics.tenant_label(tenant.id) == tenant.id:
                scopes[tenant.id] = own
        for tenant_id in self._order.keys() - scopes.keys():
            del self._order[tenant_id]
            for family in self._metrics.declared.budgets:
                family.drop(tenant_id)
        self._touched &= scopes.keys()
        new = scopes.keys() - self._order.keys()
        if new:
            self._order = {tenant_id: None for tenant_id in scopes if tenant_id in new} | self._order
        return scopes

    def _turn(self) -> list[str]:
        """Whom to read now. Half is kept for those that nobody touched: other replicas spend of their budgets too."""
        touched = [tenant_id for tenant_id in self._order if tenant_id in self._touched][: AT_ONCE // 2]
        return [*touched, *(tenant_id for tenant_id in self._order if tenant_id not in touched)][:AT_ONCE]

    def _show(self, tenant_id: str, funds: Funds) -> None:
        declared = self._metrics.declared
        limit, spent = funds.limit_nanousd, funds.spent_nanousd
        declared.budget_usage_ratio.labels(tenant_id).set(spent / limit if limit else 1)
        declared.budget_limit.labels(tenant_id).set(limit / 1e9)
        declared.budget_spent.labels(tenant_id).set(spent / 1e9)
        if funds.span.end_s < float("inf"):
            declared.budget_reset.labels(tenant_id).set(funds.span.end_s)
        else:
            declared.budget_reset.drop(tenant_id)
