"""A database at its current schema, for all but the ledger's own rows: admin, budgets, usage, upkeep.

Work on it is a plain function of a SQLAlchemy connection, the same for SQLite and PostgreSQL. Each call is one
transaction, and none holds up the event loop.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from gateway.stores.sql.address import Address, SqliteAddress
from gateway.stores.sql.group import GroupWriter
from gateway.stores.sql.migrate import migrate, revision_of
from gateway.stores.sql.schema import HEAD

T = TypeVar("T")


class Database(Protocol):
    """Runs work in transactions.

    All methods raise :class:`DatabaseDown` where the database does not answer or is locked for long; then nothing of
    the work has happened, unless its connection broke in the commit. To cancel a call is not to undo it: SQLite's
    thread goes on.
    """

    address: Address

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes nothing."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes something; it is committed unless it raises."""

    def ledger_writer(self) -> GroupWriter:
        """Make a writer for the ledger, with a connection of its own."""

    async def aclose(self) -> None:
        """Finish what runs and close every connection."""


async def open_database(address: Address) -> Database:
    """Open a database and bring it to the current schema. Several processes may do so at once.

    Raises:
        DatabaseDown: it cannot be reached, made or locked.
        SchemaTooNew: a newer gateway has migrated it.
    """
    database = _unopened(address)
    try:
        if await database.read(revision_of) != HEAD:
            await database.write(migrate)
    except BaseException:
        await database.aclose()
        raise
    return database


def _unopened(address: Address) -> Database:
    # Each in its module: asyncpg and SQLAlchemy's asyncio part cost a start that needs neither a fifth of a second.
    if isinstance(address, SqliteAddress):
        from gateway.stores.sql.sqlite_database import SqliteDatabase

        return SqliteDatabase(address)
    from gateway.stores.sql.postgres_database import PostgresDatabase

    return PostgresDatabase(address)
