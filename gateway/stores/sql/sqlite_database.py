"""A database of SQLite: a file, worked on in threads."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import URL, Connection, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from gateway.stores.sql.address import Address, SqliteAddress
from gateway.stores.sql.sqlite_writer import SqliteWriter, connect
from gateway.stores.sql.trouble import translated

T = TypeVar("T")

BUSY_S: Final = 10.0
"""How long anything but the ledger waits for another transaction."""
THREADS: Final = 4

_WRITES: Final = {"aigateway_writes": True}


class SqliteDatabase:
    """A file, worked on in threads. It is made if it is not there, readable for its owner only."""

    def __init__(self, address: SqliteAddress) -> None:
        self.address: Address = address
        self._path = address.path
        self._engine = create_engine(
            URL.create("sqlite", database=str(address.path)),
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=THREADS,
        )
        event.listen(self._engine, "begin", _begin)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._made = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes nothing."""
        return await self._run(work, {})

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes something; it has the write lock from its beginning."""
        return await self._run(work, _WRITES)

    def ledger_writer(self) -> SqliteWriter:
        """Make a writer for the ledger, with a connection of its own."""
        return SqliteWriter(self._path)

    async def aclose(self) -> None:
        """Finish what runs and close every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        # In one piece: who does not wait for the threads wants the connections closed all the same.
        self._threads.shutdown()
        self._engine.dispose()

    async def _run(self, work: Callable[[Connection], T], options: dict[str, bool]) -> T:
        run = partial(self._run_here, work, options)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _run_here(self, work: Callable[[Connection], T], options: dict[str, bool]) -> T:
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                return work(connection)
        except (DBAPIError, sqlite3.Error, OSError) as error:
            raise translated(error, self.address) from error

    def _connect(self) -> sqlite3.Connection:
        if not self._made:
            _make(self._path)
            self._made = True
        return connect(self._path, int(BUSY_S * 1000))


def _begin(connection: Connection) -> None:
    # A transaction that begins to write in its middle may find that it cannot, without any waiting
    # (SQLITE_BUSY_SNAPSHOT, https://sqlite.org/isolation.html): who will write says so at the start.
    writes = connection.get_execution_options().keys() & _WRITES.keys()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make(path: os.PathLike[str]) -> None:
    """Make the file if it is not there, and have it keep its journal as WAL."""
    directory = os.path.dirname(path)
    if directory:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    deadline_s = time.monotonic() + BUSY_S
    while True:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError:
            # SQLite does not wait for its turn to change this; it is changed once in a database's life.
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            if mode != "wal":
                raise OSError(f"its file system takes no write-ahead log ({mode}): put it on a local disk")
            return
        finally:
            connection.close()
