"""An admin API on a socket, over a real directory, ledger and quotas on SQLite; its clock in the test's hands."""

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from openapi_schema_validator import OAS31Validator
from pydantic import SecretStr

from gateway.admin.api import Admin
from gateway.admin.configuration import ConfigRefused
from gateway.admin.openapi import document
from gateway.admin.operation import Table
from gateway.admin.settings import AdminSettings
from gateway.admin.table import table_of
from gateway.config.explain import mistakes_of
from gateway.listening import listen
from gateway.proxy.relay import SERVER
from gateway.splice import DownstreamServer, connection_factory
from gateway.stores.memory import LocalQuotas
from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import Database, open_database
from gateway.tenancy.directory import Directory
from gateway.tenancy.tenants import Tenants, TenantSettings, hash_key
from tests.closing import close_in_time
from tests.raw_client import Answer, RawClient, request_wire

ADMIN_KEY = "admin-key-0123456789"
VIEWER_KEY = "viewer-key-0123456789"
CONFIG_SECRET = "agw-of-the-configuration"
NOW_S = 1_790_000_000.25
"""2026-09-21T14:13:20.25Z."""

EVERYWHERE = {"server": SERVER, "cache-control": "no-store", "x-content-type-options": "nosniff"}

Headers = tuple[tuple[str, str], ...]

CONFIG_TENANT = TenantSettings.model_validate(
    {
        "id": "acme",
        "name": "Acme",
        "limits": {"requests_per_minute": 60},
        "budget": {"usd": "1.5", "window": "day", "timezone": "Europe/Berlin"},
        "keys": [{"id": "web", "hash": hash_key(CONFIG_SECRET), "budget": {"usd": 1, "window": "total"}}],
    }
)


class FakeProviders:
    """Two providers that remember what was ordered."""

    def __init__(self) -> None:
        self.drained: set[str] = set()
        self.orders: list[tuple[str, str]] = []

    def page(self) -> Mapping[str, Mapping[str, object]]:
        closed = {"circuit": "closed", "successes": 3, "failures": 0}
        opened = {**closed, "circuit": "open", "reason": "failure_ratio", "open_for_s": 1.5, "next_probe_s": 8.5}
        return {
            name: {model: circuit | ({"drained": True} if name in self.drained else {}) for model in ("gpt-4o", "a/*")}
            for name, circuit in (("near", closed), ("far", opened))
        }

    def drain(self, name: str) -> None:
        self.orders.append(("drain", name))
        self.drained.add(name)

    def undrain(self, name: str) -> None:
        self.orders.append(("undrain", name))
        self.drained.discard(name)

    def reset(self, name: str) -> None:
        self.orders.append(("reset", name))


@dataclass
class FakeConfiguration:
    """A configuration whose mistakes the test says."""

    mistakes: Sequence[Mapping[str, object]] = ()
    seen: list[str] = field(default_factory=list)
    reloads: int = 0

    def describe(self) -> Mapping[str, object]:
        return {"source": "gateway.yaml", "loaded_at": "2026-09-21T14:13:20Z", "digest": f"{self.reloads:064x}"}

    def validate(self, text: str) -> Sequence[Mapping[str, object]]:
        self.seen.append(text)
        return self.mistakes

    async def reload(self) -> Mapping[str, object]:
        if self.mistakes:
            raise ConfigRefused(self.mistakes)
        self.reloads += 1
        return {"changed": ["models.gpt-4o.price"]}


@dataclass
class House:
    """The API and everything behind it."""

    url: str
    table: Table
    document: dict[str, Any]
    admin: Admin
    database: Database
    directory: Directory
    tenants: Tenants
    quotas: LocalQuotas
    providers: FakeProviders
    configuration: FakeConfiguration
    now_s: float = NOW_S

    async def ask(
        self, method: str, path: str, body: object = None, *headers: tuple[str, str], key: str | None = ADMIN_KEY
    ) -> Answer:
        """Sends one request on a connection of its own; a body that is no bytes goes as JSON."""
        credential: Headers = (("Authorization", f"Bearer {key}"),) if key is not None else ()
        kind: Headers = ()
        if body is not None and not isinstance(body, bytes):
            kind, body = (("Content-Type", "application/json"),), json.dumps(body).encode()
        wire = request_wire(method, path, ("Host", "gateway"), *credential, *kind, *headers, body=body)
        async with await RawClient.connect(self.url) as client:
            client.transport.write(wire)
            answer = await client.answer()
        self._check(method, path.partition("?")[0], answer)
        return answer

    def _check(self, method: str, path: str, answer: Answer) -> None:
        """Holds every answer of every test against the document."""
        for name, value in EVERYWHERE.items():
            assert answer.head.get(name) == value
        assert (answer.head.get("x-request-id") or "").startswith("req_")
        found = self.table.find(path)
        if found is None or method not in found[0]:
            return
        responses = self.document["paths"][found[0][method].path][method.lower()]["responses"]
        content = responses[str(answer.status)].get("content", {})
        kind = answer.head.get("content-type")
        if content:
            assert kind is not None and kind.partition(";")[0] in content
        if kind == "application/json":
            schema = {**content[kind]["schema"], "components": self.document["components"]}
            OAS31Validator(schema).validate(answer.json())

    async def get(self, path: str, *headers: tuple[str, str], key: str | None = ADMIN_KEY) -> Answer:
        return await self.ask("GET", path, None, *headers, key=key)

    async def post(self, path: str, body: object = None, *headers: tuple[str, str], key: str = ADMIN_KEY) -> Answer:
        return await self.ask("POST", path, body, *headers, key=key)

    async def put(self, path: str, body: object) -> Answer:
        return await self.ask("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.ask("DELETE", path)

    async def secret_of(self, tenant_id: str, **draft: object) -> str:
        """Makes a key and returns its secret."""
        answer = await self.post(f"/admin/tenants/{tenant_id}/keys", {"id": "k", **draft})
        assert answer.status == 201, answer.body
        secret: str = answer.json()["secret"]
        return secret

    async def audited(self) -> list[tuple[str, str, str]]:
        """Who did what to what, the oldest first."""
        entries = (await self.get("/admin/audit?limit=500")).json()["entries"]
        return [(one["actor"], one["action"], one["subject"]) for one in reversed(entries)]


@asynccontextmanager
async def open_house(
    file: Path, *, settings: AdminSettings | None = None, config: Sequence[TenantSettings] = (CONFIG_TENANT,)
) -> AsyncIterator[House]:
    """Serves the API over a migrated file of SQLite."""
    clock = Clock()
    async with AsyncExitStack() as closing:
        database = await open_database(SqliteAddress(file))
        closing.push_async_callback(database.aclose)
        tenants = Tenants(config, clock.wall)
        directory = Directory(database, tenants, clock.wall, clock.monotonic)
        closing.push_async_callback(directory.aclose)
        await directory.start()
        quotas = LocalQuotas(clock.monotonic, clock.wall)
        closing.push_async_callback(quotas.aclose)
        providers, configuration = FakeProviders(), FakeConfiguration()
        table = table_of(directory, database, tenants, quotas, providers, configuration, clock.wall)
        keys = AdminSettings(key=SecretStr(ADMIN_KEY), viewer_key=SecretStr(VIEWER_KEY))
        admin = Admin(settings or keys, table, mistakes_of, map("req_{}".format, count(1)).__next__)
        url = await closing.enter_async_context(served(admin))
        house = House(url, table, documented(), admin, database, directory, tenants, quotas, providers, configuration)
        clock.house = house
        yield house


@cache
def documented() -> dict[str, Any]:
    """The document of the whole API, which does not depend on what is behind it."""
    nothing: Any = None
    table = table_of(nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    told: dict[str, Any] = json.loads(json.dumps(document(table.operations)))
    return told


class Clock:
    """Reads the house's clock once there is a house."""

    def __init__(self) -> None:
        self.house: House | None = None

    def wall(self) -> float:
        return NOW_S if self.house is None else self.house.now_s

    def monotonic(self) -> float:
        return self.wall() - NOW_S


@asynccontextmanager
async def served(handler: Callable[[web.BaseRequest], Any]) -> AsyncIterator[str]:
    """Serves a handler as the gateway would, and yields where."""
    server = DownstreamServer(handler, max_body_bytes=1 << 25, logger=logging.getLogger("gateway.http"))
    listener = await listen(connection_factory(server, _bad_request), "127.0.0.1", 0)
    try:
        yield listener.url
    finally:
        listener.close()
        await close_in_time("the admin API", server.shutdown)


def _bad_request(request: web.BaseRequest, status: int, cause: BaseException | None) -> web.Response:
    return web.Response(status=status)


def error_of(answer: Answer) -> dict[str, Any]:
    """The error of an answer, in its whole and only shape."""
    document = answer.json()
    assert answer.head.get("content-type") == "application/json"
    assert set(document) == {"error", "mistakes"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"type", "code", "message", "param"}
    return error
