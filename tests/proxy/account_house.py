"""The page `GET /v1/usage` before a real ledger and real quotas, on a clock that the test sets."""

import json
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.core.quota import Scope
from gateway.core.tokens import Usage
from gateway.dialects import OPENAI
from gateway.proxy.account_page import PATH, AccountPage
from gateway.proxy.admission import credential
from gateway.proxy.exchange import Opening
from gateway.proxy.recent_usage import RecentUsage
from gateway.stores.memory import LocalQuotas
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.spending import spent
from gateway.stores.sql.usage import UsageLine, usage
from gateway.tenancy.quotas import owner_of
from gateway.tenancy.tenants import Identity, Tenants, TenantSettings, hash_key
from tests.stores.sql.rows import closing, opening, write

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)

TENANTS: list[dict[str, Any]] = [
    {
        "id": "acme",
        "keys": [
            {
                "id": "web",
                "hash": hash_key("agw-acme-web"),
                "limits": {"concurrent": 10},
                "budget": {"usd": 5, "window": "day", "timezone": "Europe/Berlin", "when_exhausted": "finish"},
            },
            {"id": "cli", "hash": hash_key("agw-acme-cli")},
        ],
        "limits": {"requests_per_minute": 600, "tokens_per_minute": 400_000, "concurrent": 200},
        "budget": {"usd": 500, "timezone": "Europe/Berlin"},
    },
    {"id": "free", "keys": [{"id": "only", "hash": hash_key("agw-free")}]},
    {"id": "old", "keys": [{"id": "only", "hash": hash_key("agw-old")}], "budget": {"usd": 7, "window": "total"}},
]


class House:
    """The page, before a real ledger and real quotas, on clocks that the test sets."""

    def __init__(self, database: Database) -> None:
        self.now_s = NOW.timestamp()
        self.down = self.lost = False
        self.sums = 0
        self._database = database
        self.quotas = LocalQuotas(lambda: self.now_s, lambda: self.now_s, self._load)
        self.usage = RecentUsage(self._usage, lambda: self.now_s, lambda: self.now_s)
        self.tenants = Tenants([TenantSettings.model_validate(one) for one in TENANTS], lambda: self.now_s)
        self.page = AccountPage(self._who, self.quotas, self.usage, lambda: self.now_s)
        self._opening = Opening(lambda: self.now_s, lambda: self.now_s, lambda: "new", 60)

    def _who(self, request: web.BaseRequest) -> Identity:
        return self.tenants.authenticate(credential(request.headers))

    def scopes(self) -> tuple[Scope, ...]:
        """Of a request with the key ``web``."""
        return self.tenants.authenticate("agw-acme-web").tenant.entitlement.scopes("web", "gpt")

    async def _load(self, scope_key: str, start_s: float) -> int:
        if self.lost:
            raise DatabaseDown("gone")
        owner = owner_of(scope_key)
        found = await spent(self._database, owner.tenant_id, owner.key_id, int(start_s * 1e6) or None)
        return found.total_nanousd

    async def _usage(self, *given: Any, **named: Any) -> list[UsageLine]:
        self.sums += 1
        if self.down:
            raise DatabaseDown("gone")
        return await usage(self._database, *given, **named)

    async def book(self, at: datetime, cost_nanousd: int = 1_000, used: Usage | None = None, **changes: Any) -> None:
        row = opening(opened_at_us=int(at.timestamp() * 1e6), **changes)
        more = {} if used is None else {"usage": used}
        await write(self._database, closing(row, cost_nanousd=cost_nanousd, **more))

    async def shown(self, key: str = "agw-acme-web", **query: str) -> dict[str, Any]:
        """The document, as the client reads it."""
        return await self.asked("?" + urlencode(query) if query else "", key)

    async def asked(self, query: str, key: str = "agw-acme-web") -> dict[str, Any]:
        request = make_mocked_request("GET", PATH + query, headers={"Authorization": f"Bearer {key}"})
        exchange = self._opening.begin(request, OPENAI, None)
        response = await self.page.answer(exchange)
        assert (response.status, exchange.status, response.content_type) == (200, 200, "application/json")
        assert exchange.identity is not None
        document: dict[str, Any] = json.loads(cast(bytes, response.body))
        return document
