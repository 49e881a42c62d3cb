"""A database under observation: every transaction is timed, and it is up while all that is tried works."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import pytest
from sqlalchemy import Connection

from gateway.metrics import Metrics
from gateway.metrics.stores import TimedDatabase
from gateway.stores.sql.address import Address, read_address
from gateway.stores.sql.group import DatabaseDown, Group, ValuesRefused
from tests.metrics.text_format import read_exposition

T = TypeVar("T")

NO_CONNECTION = cast(Connection, None)


class ScriptedDatabase:
    """Takes a second for everything, and fails as the test says."""

    def __init__(self) -> None:
        self.address: Address = read_address("sqlite:///nowhere.db")
        self.now_s = 0.0
        self.trouble: BaseException | None = None
        self.closed: list[str] = []

    async def read(self, work: Callable[[Connection], T]) -> T:
        self.take()
        return work(NO_CONNECTION)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self.read(work)

    def ledger_writer(self) -> "ScriptedWriter":
        return ScriptedWriter(self)

    async def aclose(self) -> None:
        self.closed.append("database")

    def take(self) -> None:
        self.now_s += 1
        if self.trouble is not None:
            raise self.trouble


class ScriptedWriter:
    """Its writer, likewise."""

    def __init__(self, database: ScriptedDatabase) -> None:
        self._database = database

    async def write(self, group: Group) -> None:
        self._database.take()

    async def aclose(self) -> None:
        self._database.closed.append("writer")


class Observed:
    """The database, what is to be done with it, and what a scrape says."""

    def __init__(self) -> None:
        self._metrics = Metrics("i", "v", [], [], [])
        self.scripted = ScriptedDatabase()
        self.timed = TimedDatabase(self.scripted, self._metrics.declared, lambda: self.scripted.now_s)
        writer = self.timed.ledger_writer()
        self.writer = writer
        self.verbs: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: self.timed.read(lambda _: "found"),
            "write": lambda: self.timed.write(lambda _: "written"),
            "commit": lambda: writer.write(Group()),
        }

    async def fail(self, op: str, trouble: BaseException) -> None:
        self.scripted.trouble = trouble
        with pytest.raises(type(trouble)):
            await self.verbs[op]()
        self.scripted.trouble = None

    @property
    def up(self) -> int:
        return int(read_exposition(self._metrics.render()[0]).value("aigateway_store_up", store="database"))

    def seconds(self, op: str) -> tuple[int, float]:
        """How often, and how long in all."""
        scrape = read_exposition(self._metrics.render()[0])
        labels = {"store": "database", "op": op}
        name = "aigateway_store_seconds"
        return int(scrape.value(f"{name}_count", **labels)), float(scrape.value(f"{name}_sum", **labels))


async def test_every_kind_of_transaction_is_timed_by_itself() -> None:
    """And does what it does."""
    seen = Observed()
    assert seen.up == 1
    assert (await seen.verbs["read"](), await seen.verbs["write"]()) == ("found", "written")
    await seen.verbs["commit"]()
    await seen.verbs["commit"]()
    assert [seen.seconds(op) for op in ("read", "write", "commit")] == [(1, 1.0), (1, 1.0), (2, 2.0)]
    await seen.writer.aclose()
    await seen.timed.aclose()
    assert seen.scripted.closed == ["writer", "database"]
    assert seen.timed.address == seen.scripted.address


@pytest.mark.parametrize("op", ["read", "write", "commit"])
async def test_it_is_down_until_what_failed_works(op: str) -> None:
    """Whatever else works meanwhile: a full disk can be read."""
    seen = Observed()
    await seen.fail(op, DatabaseDown("full"))
    assert seen.up == 0
    assert seen.seconds(op) == (1, 1.0)
    for other in seen.verbs.keys() - {op}:
        await seen.verbs[other]()
    assert seen.up == 0
    await seen.verbs[op]()
    assert seen.up == 1


@pytest.mark.parametrize("trouble", [ValuesRefused("row"), KeyError("a mistake")], ids=["refused", "mistake"])
async def test_what_is_not_its_fault_shows_that_it_works(trouble: Exception) -> None:
    """It has answered."""
    seen = Observed()
    await seen.fail("commit", DatabaseDown("gone"))
    await seen.fail("commit", trouble)
    assert seen.up == 1


async def test_what_was_cancelled_says_nothing() -> None:
    """Neither that it works nor that it does not."""
    seen = Observed()
    await seen.fail("read", asyncio.CancelledError())
    assert seen.up == 1
    await seen.fail("read", DatabaseDown("gone"))
    await seen.fail("read", asyncio.CancelledError())
    assert seen.up == 0
