"""A server of PostgreSQL that goes and comes back, and what its driver says of its password."""

import asyncio

import pytest

from gateway.stores.sql.address import PostgresAddress
from gateway.stores.sql.database import Database, open_database
from gateway.stores.sql.group import DatabaseDown
from tests.databases import PostgresServer
from tests.stores.sql.revisions import subjects


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
async def test_a_server_that_goes_is_down_and_one_that_comes_is_found(
    database: Database, postgres_server: PostgresServer
) -> None:
    """Whatever connections there were."""
    await asyncio.gather(*(database.read(subjects) for _ in range(4)))
    await asyncio.to_thread(postgres_server.stop)
    try:
        for _ in range(2):
            with pytest.raises(DatabaseDown, match="PostgreSQL at a local socket, database ledger does not answer"):
                await database.read(subjects)
    finally:
        await asyncio.to_thread(postgres_server.start)
    assert await database.read(subjects) == []


async def test_passwords_are_in_no_message() -> None:
    """Nor is what the driver says of them."""
    with pytest.raises(DatabaseDown) as down:
        await open_database(PostgresAddress("postgresql://me:secret@/x?host=/nonexistent"))
    assert "secret" not in str(down.value)
