"""Real databases for tests: files of SQLite, and a PostgreSQL that the session starts and ends."""

import asyncio
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Connection, delete

from gateway.stores.sql.address import Address, PostgresAddress, SqliteAddress
from gateway.stores.sql.database import Database, open_database
from gateway.stores.sql.schema import metadata

BINARIES = ("initdb", "postgres", "pg_ctl")
DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's packages have them, by version: its PATH has only what clients need."""
SHORT = "/tmp"
"""The path of a Unix socket is 107 bytes long at most, and every user may enter here."""
START_S = 120
UNPRIVILEGED = ("postgres", "nobody")


def postgres_binaries(debian: Path = DEBIAN) -> Path | None:
    """The directory with the programs of PostgreSQL: on PATH, else of the highest version that Debian has installed."""
    on_path = shutil.which(BINARIES[0])
    installed = [path / "bin" for path in debian.glob("*") if path.name.isdecimal()]
    candidates = sorted(installed, key=lambda path: int(path.parent.name), reverse=True)
    if on_path is not None:
        candidates.insert(0, Path(on_path).parent)
    return next((path for path in candidates if all(shutil.which(name, path=path) for name in BINARIES)), None)


class PostgresServer:
    """A cluster in a directory of its own, reached over a Unix socket there, so that no port can be taken."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir=SHORT))
        self._uid = self._gid = os.geteuid()
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = next(names[name] for name in UNPRIVILEGED if name in names)
            self._uid, self._gid = entry.pw_uid, entry.pw_gid
            os.chown(self.directory, self._uid, self._gid)
        self._run("initdb", "--auth=trust", "--username=gateway", "--encoding=UTF8", "--locale=C", "--no-sync")
        with (self.directory / "data/postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{self.directory}'\nfsync = off\n")
        self.start()

    def dsn(self, database: str) -> str:
        return f"postgresql://gateway@/{database}?host={self.directory}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", f"--log={self.directory}/log")

    def stop(self) -> None:
        """Stop it as an operator would who does not wait for clients."""
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def pause(self) -> None:
        """Freeze it: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and take its files away."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")
        shutil.rmtree(self.directory)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = int((self.directory / "data/postmaster.pid").read_text().split()[0])
        # The postmaster first: then nobody comes, and those who go just now need no signal.
        os.kill(postmaster, number)
        for pid in map(int, Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _run(self, program: str, *arguments: str) -> None:
        as_root = os.geteuid() == 0
        subprocess.run(
            [self._binaries / program, *arguments, "-D", f"{self.directory}/data"],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=START_S,
            cwd=self.directory,
            user=self._uid if as_root else None,
            group=self._gid if as_root else None,
            extra_groups=[] if as_root else None,
        )


def serving() -> Iterator[PostgresServer]:
    """A running PostgreSQL with an empty database ``ledger``; skips where there is none."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip(f"PostgreSQL is not installed: {', '.join(BINARIES)} are neither on PATH nor in {DEBIAN}")
    server = PostgresServer(binaries)
    asyncio.run(make_database(server, "ledger"))
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres_server(postgres_of_session: PostgresServer) -> PostgresServer:
    """The session's PostgreSQL, whichever module imports this."""
    return postgres_of_session


async def make_database(server: PostgresServer, name: str) -> PostgresAddress:
    """Make an empty database."""
    async with connected(PostgresAddress(server.dsn("postgres"))) as connection:
        await connection.execute(f'CREATE DATABASE "{name}"')
    return PostgresAddress(server.dsn(name))


@asynccontextmanager
async def connected(address: PostgresAddress) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the gateway's."""
    connection = await asyncpg.connect(address.dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def until_somebody_waits(connection: asyncpg.Connection) -> None:
    """Come back when a connection of the same database waits for a lock; the server tells nobody, so it is asked."""
    query = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = $1"
    name = await connection.fetchval("SELECT current_database()")
    while not await connection.fetchval(query, name):
        pass


@contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """Somebody else writes to a file of SQLite and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@asynccontextmanager
async def table_locked(address: PostgresAddress) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else, whose connection this is, has the exchanges for themselves."""
    async with connected(address) as other, other.transaction():
        await other.execute("LOCK TABLE exchanges IN ACCESS EXCLUSIVE MODE")
        yield other


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    """Where a test's database is: each test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return SqliteAddress(tmp_path / "data" / "gateway.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return PostgresAddress(server.dsn("ledger"))


def migrated(directory: Path) -> bytes:
    """What a file of SQLite holds that is migrated and has no rows."""
    path = directory / "gateway.db"

    async def make() -> None:
        await (await open_database(SqliteAddress(path))).aclose()

    asyncio.run(make())
    return path.read_bytes()


@pytest.fixture(scope="session")
def sqlite_file(migrated_file: bytes) -> bytes:
    """A file of SQLite that is migrated and has no rows."""
    return migrated_file


@pytest.fixture
async def database(address: Address, sqlite_file: bytes) -> AsyncIterator[Database]:
    """An open database without rows."""
    if isinstance(address, SqliteAddress):
        address.path.parent.mkdir()
        address.path.write_bytes(sqlite_file)
    opened = await open_database(address)
    if isinstance(address, PostgresAddress):
        await opened.write(empty)
    yield opened
    await opened.aclose()


def empty(connection: Connection) -> None:
    """Delete what the test before has left: quicker than a database for each, and for few rows than TRUNCATE."""
    for table in metadata.sorted_tables:
        connection.execute(delete(table))


@pytest.fixture
async def replicas(database: Database) -> AsyncIterator[list[Database]]:
    """The same database, as three replicas have it open."""
    opened = [database]
    try:
        for _ in range(2):
            opened.append(await open_database(database.address))
        yield opened
    finally:
        for other in opened[1:]:
            await other.aclose()
