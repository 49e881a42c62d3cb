"""The database behind everything but the ledger's rows: transactions, troubles, and files that nobody else reads."""

import asyncio

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from gateway.stores.sql.address import PostgresAddress, SqliteAddress
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.schema import revisions
from tests.stores.sql.revisions import Put, subjects


async def test_work_is_one_transaction(database: Database) -> None:
    """All of it or, if it raises, nothing."""
    await database.write(Put("a"))
    with pytest.raises(KeyError, match="mine"):
        await database.write(Put("b", then=KeyError("mine")))
    assert await database.read(subjects) == ["a"]


async def test_a_mistake_of_the_work_is_its_own(database: Database) -> None:
    """The database is not down because a key is taken or a word is misspelt."""
    await database.write(Put("a"))
    with pytest.raises(IntegrityError):
        await database.write(Put("a"))
    with pytest.raises(ProgrammingError if isinstance(database.address, PostgresAddress) else DatabaseDown):
        await database.read(lambda connection: connection.execute(text("SELEC 1")))
    assert await database.read(subjects) == ["a"]


async def test_many_work_at_once(database: Database) -> None:
    """They wait for each other where they must, and none is told that it is locked."""

    def raise_by_one(connection: Connection) -> None:
        row = revisions.c.subject == "a"
        number = connection.execute(select(revisions.c.number).where(row).with_for_update()).scalar_one()
        connection.execute(revisions.update().where(row).values(number=number + 1))

    await database.write(Put("a", 0))
    await asyncio.gather(*(database.write(raise_by_one) for _ in range(40)))
    assert await database.read(lambda connection: connection.scalar(select(revisions.c.number))) == 40


async def test_reads_while_somebody_writes(database: Database) -> None:
    """What it finds is what was there before."""
    await database.write(Put("a"))
    inside, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: Connection) -> None:
        Put("b")(connection)
        loop.call_soon_threadsafe(inside.set)
        if isinstance(database.address, SqliteAddress):
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    writing = asyncio.create_task(database.write(slow))
    await inside.wait()
    if isinstance(database.address, SqliteAddress):
        assert await database.read(subjects) == ["a"]
    go_on.set()
    await writing
    assert await database.read(subjects) == ["a", "b"]
