"""The writer of PostgreSQL: what it tells of the server's troubles, and that it says nothing of its rows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from gateway.stores.sql.address import Address, PostgresAddress
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown, Group, ValuesRefused
from gateway.stores.sql.postgres_writer import PostgresWriter
from gateway.stores.sql.statements import closing_values, opening_values
from tests.databases import PostgresServer, connected, table_locked, until_somebody_waits
from tests.stores.sql.rows import closing, exchanges_in, opening

pytestmark = pytest.mark.parametrize("address", ["postgresql"], indirect=True)


@pytest.fixture
async def writer(database: Database, address: Address) -> AsyncIterator[PostgresWriter]:
    """A writer of the test's database, which is empty."""
    assert isinstance(address, PostgresAddress)
    made = PostgresWriter(address.dsn)
    yield made
    await made.aclose()


def group() -> Group:
    return Group(openings=[opening_values(opening())], closings=[closing_values(closing(opening()))])


async def disconnect_all(address: Address) -> int:
    """What a failing network does, or an operator: how many connections of ledgers it has cut."""
    assert isinstance(address, PostgresAddress)
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'aigateway ledger'"
    async with connected(address) as connection:
        return int(await connection.fetchval(query))


async def test_has_one_connection(writer: PostgresWriter, address: Address) -> None:
    """However much it writes; it says whose it is."""
    for _ in range(3):
        await writer.write(group())
    assert await disconnect_all(address) == 1


async def test_a_connection_that_breaks_in_a_transaction_is_made_again(
    writer: PostgresWriter, address: Address, database: Database
) -> None:
    """The group may be written again, and again."""
    assert isinstance(address, PostgresAddress)
    same = group()
    await writer.write(group())
    async with table_locked(address) as other:
        writing = asyncio.create_task(writer.write(same))
        await until_somebody_waits(other)
        await disconnect_all(address)
        with pytest.raises(DatabaseDown):
            await writing
    await writer.write(same)
    await writer.write(same)
    assert len(await exchanges_in(database)) == 4


async def test_a_write_that_is_cancelled_leaves_a_writer_that_works(
    writer: PostgresWriter, address: Address, database: Database
) -> None:
    """Its connection is in the middle of something, and given up."""
    assert isinstance(address, PostgresAddress)
    same = group()
    async with table_locked(address) as other:
        writing = asyncio.create_task(writer.write(same))
        await until_somebody_waits(other)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await writer.write(same)
    assert len(await exchanges_in(database)) == 2


async def test_ends_without_its_server(writer: PostgresWriter, postgres_server: PostgresServer) -> None:
    """It does not wait for an answer that does not come."""
    await writer.write(group())
    postgres_server.pause()
    try:
        await writer.aclose()
    finally:
        postgres_server.resume()


async def test_a_connection_that_breaks_while_nobody_uses_it_is_made_again(
    writer: PostgresWriter, address: Address, database: Database
) -> None:
    """At the next group, or at the one after it, which is the same."""
    same = group()
    await writer.write(group())
    await disconnect_all(address)
    with suppress(DatabaseDown):
        await writer.write(same)
    await writer.write(same)
    assert len(await exchanges_in(database)) == 4


async def test_a_server_that_does_not_answer_is_given_up(
    writer: PostgresWriter, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """After its time, and asked again on a new connection."""
    monkeypatch.setattr("gateway.stores.sql.postgres_writer.WRITE_S", 0.2)
    same = group()
    await writer.write(group())
    postgres_server.pause()
    try:
        for _ in range(2):
            with pytest.raises(DatabaseDown, match="TimeoutError"):
                await writer.write(same)
    finally:
        postgres_server.resume()
    monkeypatch.undo()
    await writer.write(same)
    assert len(await exchanges_in(database)) == 4


async def test_an_address_that_nobody_has_is_down(address: Address, postgres_server: PostgresServer) -> None:
    """A server that is not there, a database that is not there, and an option that is none."""
    for dsn in (
        "postgresql://gateway@/ledger?host=/nonexistent",
        postgres_server.dsn("nobody"),
        postgres_server.dsn("ledger") + "&sslmode=perhaps",
    ):
        with pytest.raises(DatabaseDown):
            await PostgresWriter(dsn).write(group())


async def test_says_nothing_of_the_values(writer: PostgresWriter) -> None:
    """The server's sentences quote them."""
    bad = opening(request_id="secret \0", tenant_id="secret")
    with pytest.raises(ValuesRefused) as refused:
        await writer.write(Group(openings=[opening_values(bad)]))
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "22021" in str(refused.value)
