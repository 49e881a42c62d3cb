"""The writer of SQLite: what it tells of the database's troubles, and that its thread comes and goes."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import open_database
from gateway.stores.sql.group import DatabaseDown, Group
from gateway.stores.sql.sqlite_writer import SqliteWriter, connect
from gateway.stores.sql.statements import opening_values
from tests.databases import file_locked
from tests.stores.sql.rows import opening


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A migrated database that nobody has open."""
    made = tmp_path / "gateway.db"
    await (await open_database(SqliteAddress(made))).aclose()
    return made


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[SqliteWriter]:
    """A writer of it."""
    made = SqliteWriter(path)
    yield made
    await made.aclose()


def group() -> Group:
    return Group(openings=[opening_values(opening())])


def rows_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT count(*) FROM exchanges").fetchone()
    connection.close()
    return int(count)


def take_away(path: Path) -> bytes:
    """Delete the file; what was in it can be put back."""
    content = path.read_bytes()
    path.unlink()
    return content


def put_in(path: Path, content: bytes, *, there: bool) -> None:
    """Write the file, which was there or not."""
    assert path.exists() == there
    path.write_bytes(content)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ledger-writer"]


async def test_has_one_thread_while_it_writes(writer: SqliteWriter, path: Path) -> None:
    """Whatever it writes, and none when it has ended."""
    assert threads() == []
    for _ in range(3):
        await writer.write(group())
    assert threads() == ["ledger-writer"]
    await writer.aclose()
    assert threads() == []
    assert rows_in(path) == 3


async def test_what_is_committed_survives_the_process_and_waits_for_no_disk(path: Path) -> None:
    """A write-ahead log, synchronous as far as a process's end needs it."""
    connection = connect(path, 100)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (100,)
    connection.close()


async def test_a_locked_database_is_down_for_now(writer: SqliteWriter, path: Path) -> None:
    """And takes the same group when it is free again."""
    same = group()
    await writer.write(group())
    with file_locked(path), pytest.raises(DatabaseDown, match="locked"):
        await writer.write(same)
    await writer.write(same)
    assert rows_in(path) == 2


async def test_a_file_that_is_gone_is_not_made_anew(writer: SqliteWriter, path: Path) -> None:
    """An empty database would take nothing for a ledger; the operator's backup may come back, and is found."""
    kept = take_away(path)
    for _ in range(2):
        with pytest.raises(DatabaseDown, match="unable to open"):
            await writer.write(group())
    put_in(path, kept, there=False)
    await writer.write(group())
    assert rows_in(path) == 1


async def test_a_file_that_is_no_database_is_down(writer: SqliteWriter, path: Path) -> None:
    """Nothing in it is a row's fault."""
    put_in(path, b"something else altogether " * 100, there=True)
    with pytest.raises(DatabaseDown, match="not a database"):
        await writer.write(group())


async def test_a_database_without_tables_is_down(tmp_path: Path) -> None:
    """It will have them when somebody has migrated it."""
    path = tmp_path / "empty.db"
    path.touch()
    writer = SqliteWriter(path)
    with pytest.raises(DatabaseDown, match="no such table"):
        await writer.write(group())
    await writer.aclose()


async def test_a_group_is_written_though_nobody_waits_for_it(writer: SqliteWriter, path: Path) -> None:
    """Its thread has it; the end waits for the thread."""
    task = asyncio.create_task(writer.write(group()))
    await asyncio.sleep(0)  # timed: one turn of the loop, in which the task begins
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writer.aclose()
    assert rows_in(path) == 1


def test_a_loop_that_is_gone_stops_no_thread(tmp_path: Path) -> None:
    """The group is written; there is nobody to tell."""
    path = tmp_path / "gateway.db"
    writer = SqliteWriter(path)

    async def begin() -> None:
        await (await open_database(SqliteAddress(path))).aclose()
        with file_locked(path):
            writing = asyncio.create_task(writer.write(group()))
            await asyncio.sleep(0)  # timed: one turn of the loop, in which the task begins
            writing.cancel()

    asyncio.run(begin())
    asyncio.run(writer.aclose())
    assert threads() == []
    assert rows_in(path) == 1
