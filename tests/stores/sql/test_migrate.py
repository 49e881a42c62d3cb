"""Migrations at the start: once, whoever comes first, and never over what a newer version made."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text

from gateway.stores.sql.address import Address, PostgresAddress, SqliteAddress
from gateway.stores.sql.database import Database, open_database
from gateway.stores.sql.migrate import LOCK, SCRIPTS, SchemaTooNew, migrate, revision_of
from gateway.stores.sql.schema import HEAD, metadata
from tests.databases import PostgresServer, connected, make_database, until_somebody_waits

AT_ONCE = 2


@pytest.fixture
async def empty(request: pytest.FixtureRequest, address: Address, tmp_path: Path) -> Address:
    """Where no database has been yet."""
    if isinstance(address, SqliteAddress):
        return SqliteAddress(tmp_path / "deep" / "50% new" / "gateway.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return await make_database(server, request.node.name)


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def url_of(address: Address) -> str:
    return f"sqlite:///{str(address.path).replace('%', '%25')}" if isinstance(address, SqliteAddress) else address.dsn


async def test_makes_everything_from_nothing(empty: Address) -> None:
    """And does nothing the second time."""
    for _ in range(2):
        database = await open_database(empty)
        assert await database.read(revision_of) == HEAD
        assert await database.read(tables) == {*metadata.tables, "alembic_version"}
        await database.write(migrate)
        await database.aclose()


async def test_processes_that_start_together_migrate_once(empty: Address) -> None:
    """All of them find a database that is ready."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.stores.sql.writing_process", "open", url_of(empty), stdout=PIPE
        )
        for _ in range(AT_ONCE)
    ]
    said = await asyncio.gather(*(process.communicate() for process in processes))
    assert [out for out, _ in said] == [b"ready\n"] * AT_ONCE
    assert [process.returncode for process in processes] == [0] * AT_ONCE


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
async def test_who_comes_second_waits_for_the_first(empty: PostgresAddress) -> None:
    """PostgreSQL would let both make the same tables, and fail one of them."""
    async with connected(empty) as first:
        await first.execute("SELECT pg_advisory_lock($1)", LOCK)
        opening = asyncio.create_task(open_database(empty))
        waiting = asyncio.create_task(until_somebody_waits(first))
        ended, _ = await asyncio.wait([opening, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await asyncio.wait([waiting])
    await (await opening).aclose()
    assert ended == {waiting}


async def test_a_newer_schema_is_left_alone(database: Database, address: Address) -> None:
    """With a sentence for the operator, and nothing changed."""
    newer = text("UPDATE alembic_version SET version_num = 'r9999'")
    await database.write(lambda connection: connection.execute(newer))
    with pytest.raises(SchemaTooNew, match=r"schema r9999, .* a newer gateway has migrated it\. Run that version"):
        await open_database(address)
    assert await database.read(revision_of) == "r9999"
    back = text("UPDATE alembic_version SET version_num = :head")
    await database.write(lambda connection: connection.execute(back, {"head": HEAD}))


async def test_a_migration_that_fails_leaves_nothing_behind(empty: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both databases make and unmake tables in transactions."""

    upgrade = command.upgrade

    def fail_after(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise RuntimeError("in the middle")

    monkeypatch.setattr(command, "upgrade", fail_after)
    with pytest.raises(RuntimeError, match="in the middle"):
        await open_database(empty)
    monkeypatch.undo()
    database = await open_database(empty)
    assert await database.read(revision_of) == HEAD
    await database.aclose()


def test_the_steps_come_with_the_package() -> None:
    """As modules, so that an installed package has them without being told."""
    assert (SCRIPTS / "__init__.py").is_file()
    assert (SCRIPTS / "versions" / "__init__.py").is_file()
