"""A file of SQLite: locked, misplaced, none at all; and that nobody else reads it."""

import os
import sqlite3
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import open_database
from gateway.stores.sql.group import DatabaseDown
from tests.databases import file_locked
from tests.stores.sql.revisions import Put, subjects


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
async def test_a_locked_file_is_down_after_a_while(
    address: SqliteAddress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its path is named, so that the operator knows what is locked; reading goes on."""
    monkeypatch.setattr("gateway.stores.sql.sqlite_database.BUSY_S", 0.05)
    database = await open_database(address)
    with file_locked(address.path):
        with pytest.raises(DatabaseDown, match=r"SQLite at .*gateway\.db does not answer .*locked"):
            await database.write(Put("a"))
        assert await database.read(subjects) == []
    await database.write(Put("a"))
    await database.aclose()


async def test_a_file_that_another_program_holds_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is ours, too."""
    monkeypatch.setattr("gateway.stores.sql.sqlite_database.BUSY_S", 0.05)
    path = tmp_path / "gateway.db"
    with file_locked(path), pytest.raises(DatabaseDown, match="locked"):
        await open_database(SqliteAddress(path))
    await (await open_database(SqliteAddress(path))).aclose()


class NoLog(sqlite3.Connection):
    """SQLite on a file system that has no shared memory."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("=WAL", "=DELETE"), *parameters)


async def test_a_file_system_without_a_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger would wait for the disk with every row; the operator is told what to do."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=NoLog))
    with pytest.raises(DatabaseDown, match=r"takes no write-ahead log \(delete\): put it on a local disk"):
        await open_database(SqliteAddress(tmp_path / "gateway.db"))


async def test_a_file_may_be_named_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is where the process runs."""
    monkeypatch.chdir(tmp_path)
    await (await open_database(SqliteAddress(Path("gateway.db")))).aclose()
    assert "gateway.db" in os.listdir(tmp_path)


async def test_files_are_made_for_their_owner_only(tmp_path: Path) -> None:
    """The directory too: prices, tags and digests of keys are nobody else's business."""
    path = tmp_path / "data" / "gateway.db"
    database = await open_database(SqliteAddress(path))
    await database.write(Put("a"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in [path.parent, *path.parent.iterdir()]}
    await database.aclose()
    assert modes == {"data": 0o700, "gateway.db": 0o600, "gateway.db-wal": 0o600, "gateway.db-shm": 0o600}


async def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    """With what is wrong with it."""
    (tmp_path / "file").touch()
    for path, sentence in ((tmp_path / "file" / "x.db", "File exists"), (tmp_path, "Is a directory")):
        with pytest.raises(DatabaseDown, match=sentence):
            await open_database(SqliteAddress(path))


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """It is not overwritten."""
    path = tmp_path / "gateway.db"
    path.write_bytes(b"something else altogether " * 100)
    with pytest.raises(DatabaseDown, match=r"gateway\.db .*not a database"):
        await open_database(SqliteAddress(path))
    assert path.read_bytes().startswith(b"something else")
