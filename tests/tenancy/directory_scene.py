"""Two replicas on one database, each with its own memory, and a clock that is set by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, select, text

from gateway.core.errors import GatewayError
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.schema import metadata
from gateway.tenancy.directory import Directory, KeyDraft, Refused, TenantDraft
from gateway.tenancy.tenants import Tenants, TenantSettings, hash_key

T = TypeVar("T")

NOW_S = 1_700_000_000.25
NOW_US = 1_700_000_000_250_000
OPERATOR = "admin key"


class Calendar:
    """A wall clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


class Line:
    """The way to a database, which a test cuts."""

    def __init__(self, database: Database) -> None:
        self.address = database.address
        self.cut = self.cut_after_write = False
        self.refused = 0
        self.refused_thrice = asyncio.Event()
        self._database = database

    async def read(self, work: Callable[[Connection], T]) -> T:
        self._check()
        return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        self._check()
        done = await self._database.write(work)
        self.cut = self.cut_after_write
        return done

    def ledger_writer(self) -> Any:
        raise AssertionError("the directory writes no ledger")

    async def aclose(self) -> None:
        raise AssertionError("the directory does not own its database")

    def _check(self) -> None:
        if self.cut:
            self.refused += 1
            if self.refused == 3:
                self.refused_thrice.set()
            raise DatabaseDown("the line is cut")


class Replica:
    """One process: what it has in memory, and its directory."""

    def __init__(self, database: Database, calendar: Calendar, settings: Iterable[TenantSettings], **bounds: int):
        self.line = Line(database)
        self.clock_s = 0.0
        self.changes = 0
        self.changed = asyncio.Event()
        self.tenants = Tenants(settings, calendar)
        self.directory = Directory(self.line, self.tenants, calendar, lambda: self.clock_s, **bounds)
        self.directory.on_change = self._count

    def opens(self, secret: str) -> str:
        """Whose a secret is here: ``tenant/key``, or why it is nobody's."""
        try:
            identity = self.tenants.authenticate(secret)
        except GatewayError as error:
            return "expired" if "expired" in str(error) else "unknown"
        return f"{identity.tenant.id}/{identity.key.id}"

    def _count(self) -> None:
        self.changes += 1
        self.changed.set()


class Scene:
    """Two replicas, and what an operator does at the first."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.calendar = Calendar()
        self.here = self.replica()
        self.there = self.replica()

    def replica(self, *settings: TenantSettings, **bounds: int) -> Replica:
        return Replica(self.database, self.calendar, settings, **bounds)

    @property
    def directory(self) -> Directory:
        return self.here.directory

    async def make_tenant(self, tenant_id: str = "acme", **settings: Any) -> None:
        await self.directory.create_tenant(OPERATOR, tenant(tenant_id, **settings))

    async def make_key(self, key_id: str = "web", tenant_id: str = "acme", **terms: Any) -> str:
        _, secret = await self.directory.create_key(OPERATOR, tenant_id, key(key_id, **terms))
        return secret

    async def rotate(self, grace_s: float, key_id: str = "web") -> str:
        _, secret = await self.directory.rotate_key(OPERATOR, "acme", key_id, grace_s)
        return secret

    async def last_audit(self) -> tuple[str, str, str, Any]:
        """Who did what to what, at last."""
        (record,) = await self.directory.audit(1)
        return record.actor, record.action, record.subject, record.details

    async def count(self, table: str) -> int:
        query = select(text("count(*)")).select_from(metadata.tables[table])
        return int(await self.database.read(lambda connection: connection.scalar(query)) or 0)

    async def sql(self, statement: str) -> None:
        """What a hand does to the database, told to all as if the gateway had done it."""

        def work(connection: Connection) -> None:
            connection.execute(text(statement))
            connection.execute(text("UPDATE revisions SET number = number + 1"))
            for table in ("tenants", "keys"):
                connection.execute(text(f"UPDATE {table} SET revision = (SELECT number FROM revisions)"))

        await self.database.write(work)


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    """Two replicas that look when they are told to."""
    made = Scene(database)
    yield made
    for replica in (made.here, made.there):
        await replica.directory.aclose()


def tenant(tenant_id: str = "acme", **settings: Any) -> TenantDraft:
    return TenantDraft.model_validate({"id": tenant_id, **settings})


def key(key_id: str = "web", **terms: Any) -> KeyDraft:
    return KeyDraft.model_validate({"id": key_id, **terms})


def configured(tenant_id: str, **secrets: str) -> TenantSettings:
    """A tenant of ``gateway.yaml``, with its keys by name."""
    keys = [{"id": name, "hash": hash_key(secret)} for name, secret in secrets.items()]
    return TenantSettings.model_validate({"id": tenant_id, "keys": keys})


async def refusal(doing: Awaitable[object]) -> tuple[str, str]:
    """How something is refused: the code and the sentence."""
    with pytest.raises(Refused) as refused:
        await doing
    return refused.value.code, str(refused.value)
