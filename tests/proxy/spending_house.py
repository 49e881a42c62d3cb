"""A replica that spends and is watched: real quotas on a clock that the test sets, and what was told of them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from gateway.core.quota import Ask, Denied, Grant, Scope, Standing
from gateway.metrics import Metrics
from gateway.proxy.spending import Spending
from gateway.stores.memory import LocalQuotas
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.spending import mark_told
from gateway.tenancy.quotas import BudgetSettings, Entitlement, LimitSettings
from gateway.tenancy.tenants import Tenant, Tenants
from tests.metrics.text_format import read_exposition
from tests.stores.local_house import NEW_YEARS_EVE_S

USD = 10**9
DAY_S = 86_400.0
GAUGES = ("usage_ratio", "limit_usd", "spent_usd", "reset_timestamp_seconds")


def budget(usd: float, **more: Any) -> BudgetSettings:
    """A budget of Berlin, whose shares nobody is told of."""
    return BudgetSettings.model_validate({"usd": usd, "timezone": "Europe/Berlin", "soft_at": [], **more})


class House:
    """One replica: real quotas on a clock that the test sets, and what it has told."""

    def __init__(self, *labelled: str, database: Database | None = None) -> None:
        self.now_s = NEW_YEARS_EVE_S
        self.ledger: dict[str, int | Exception] = {}
        self.read: list[str] = []
        self.marked: list[tuple[str, int, int]] = []
        self.down = False
        self.tenants: dict[str, Entitlement] = {}
        self.metrics = Metrics("i", "1", labelled or ("acme", "other-one"), ["gpt"], ["p"])
        self.quotas = LocalQuotas(lambda: self.now_s, lambda: self.now_s, self._load)
        self._database = database
        self._work: list[Coroutine[Any, Any, None]] = []
        self._serial = 0
        self.spending = Spending(self, cast(Tenants, self), self.metrics, self._mark, self._work.append)  # type: ignore[arg-type]

    @property
    def all(self) -> tuple[Tenant, ...]:
        return tuple(Tenant(tenant_id, entitlement=its) for tenant_id, its in self.tenants.items())

    def tenant(self, tenant_id: str, its: BudgetSettings | None, **keys: BudgetSettings) -> None:
        of_keys: dict[str, tuple[LimitSettings | None, BudgetSettings | None]] = {
            key_id: (None, of_key) for key_id, of_key in keys.items()
        }
        self.tenants[tenant_id] = Entitlement(tenant_id, None, its, of_keys)

    async def standing(self, scope: Scope) -> Standing:
        """Quotas, seen through the notes of who was asked for."""
        self.read.append(scope.key.removeprefix("tenant/"))
        return await self.quotas.standing(scope)

    async def _load(self, scope_key: str, start_s: float) -> int | None:
        found = self.ledger.get(scope_key)
        if isinstance(found, Exception):
            raise found
        return found

    async def _mark(self, scope: str, period_start_us: int, threshold_ppm: int) -> bool:
        self.marked.append((scope, period_start_us, threshold_ppm))
        if self.down:
            raise DatabaseDown("gone")
        if self._database is None:
            return True
        return await mark_told(self._database, scope, period_start_us, threshold_ppm, int(self.now_s * 1e6))

    async def spend(self, tenant_id: str, usd: float, key_id: str = "web", hold: float | None = None) -> Denied | None:
        """One exchange from admission to settlement, as the line does it."""
        grant = await self.hold(tenant_id, usd if hold is None else hold, key_id)
        if isinstance(grant, Denied):
            self.spending.on_denied(grant)
            return grant
        for crossing in (await self.quotas.settle(grant, 0, int(usd * USD))).crossed:
            self.spending.on_crossed(crossing)
        self.spending.touched(tenant_id)
        return None

    async def hold(self, tenant_id: str, usd: float, key_id: str = "web") -> Grant | Denied:
        self._serial += 1
        scopes = self.tenants[tenant_id].scopes(key_id, "gpt")
        return await self.quotas.admit(Ask(str(self._serial), tenant_id, scopes, 0, int(usd * USD)))

    async def tell(self) -> None:
        work, self._work[:] = self._work[:], []
        await asyncio.gather(*work)

    def started(self) -> Coroutine[Any, Any, None]:
        return self._work.pop()

    def shown(self, tenant_id: str) -> dict[str, float]:
        """The gauges of a tenant that there are."""
        scrape = read_exposition(self.metrics.render()[0])
        return {
            name: float(scrape.value(f"aigateway_budget_{name}", tenant_id=tenant_id))
            for name in GAUGES
            if {"tenant_id": tenant_id} in scrape.series(f"aigateway_budget_{name}")
        }

    def told(self, tenant_id: str, scope: str, threshold: str) -> int:
        scrape = read_exposition(self.metrics.render()[0])
        labels = {"tenant_id": tenant_id, "scope": scope, "threshold": threshold}
        return int(scrape.value("aigateway_budget_thresholds_total", **labels))
