"""Writes groups to SQLite from one thread of its own: one hop to it and one back for each transaction."""

import asyncio
import queue
import sqlite3
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy.dialects.sqlite.pysqlite import dialect

from gateway.stores.sql.group import DatabaseDown, Group, ValuesRefused
from gateway.stores.sql.statements import LedgerSql, ledger_sql

BUSY_MS: Final = 250
"""How long a transaction waits for another process's before it says so; the ledger then tries again."""

CLOSE_S: Final = 5.0

_REFUSALS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
"""What sqlite3 raises for values that it cannot bind or that no column takes."""


def connect(path: Path, busy_ms: int) -> sqlite3.Connection:
    """Open a database that is there, for any thread, with transactions begun and ended by hand.

    ``synchronous=NORMAL`` with WAL: what is committed survives the end of this process, however sudden; a power cut
    may take the last moments (https://sqlite.org/pragma.html#pragma_synchronous).

    Raises:
        sqlite3.OperationalError: there is no such file, or it cannot be opened.
    """
    name = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_ms / 1000)
    try:
        connection.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


@cache
def _sql() -> LedgerSql:
    return ledger_sql(dialect(paramstyle="qmark"))


class SqliteWriter:
    """The thread, its connection, and the way there and back.

    Args:
        path: of a database that is migrated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sql = _sql()
        self._jobs: queue.SimpleQueue[tuple[Group, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None

    async def write(self, group: Group) -> None:
        """Commit a group; see :class:`gateway.stores.sql.group.GroupWriter`."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(loop,), name="ledger-writer", daemon=True)
            self._thread.start()
        written: asyncio.Future[None] = loop.create_future()
        self._jobs.put((group, written))
        await written

    async def aclose(self) -> None:
        """Finish what was begun, close the connection, end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            # A disk that hangs keeps the thread; it holds up neither us nor the end of the process.
            await asyncio.get_running_loop().run_in_executor(None, thread.join, CLOSE_S)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            group, written = job
            error: Exception | None = None
            try:
                self._commit(group)
            except _REFUSALS as refusal:
                error = ValuesRefused(type(refusal).__name__)
            except Exception as trouble:
                # sqlite3's sentences quote no values. Whatever is not known to be the rows' fault is taken for the
                # database's: rows that are kept can still be written, rows that are given up cannot.
                error = DatabaseDown(f"{type(trouble).__name__}: {trouble}")
            _tell(loop, written, error)
        self._disconnect()

    def _commit(self, group: Group) -> None:
        connection = self._connection or connect(self._path, BUSY_MS)
        self._connection = connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for sql, rows in (
                (self._sql.opening, group.openings),
                (self._sql.progress, group.progress),
                (self._sql.closing, group.closings),
                (self._sql.attempt, group.attempts),
            ):
                if rows:
                    connection.executemany(sql, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                # A new connection is certain to have nothing of it; a ROLLBACK may fail as what was before it did.
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _tell(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], error: Exception | None) -> None:
    def tell() -> None:
        if not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    # A loop that is closed has nobody left who waits.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)
