"""Writes groups to PostgreSQL over one connection of its own."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Final

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from gateway.stores.sql.group import DatabaseDown, Group, Values, ValuesRefused
from gateway.stores.sql.statements import LedgerSql, ledger_sql

CONNECT_S: Final = 5.0
WRITE_S: Final = 10.0
"""After so long the connection is given up and the group written again on a new one: a repeat changes nothing."""

_REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
    ValueError,
)
"""Classes 22, 23 and 54 (an indexed text too long) of SQLSTATE (PostgreSQL manual, appendix A), and what asyncpg
raises for values that it cannot encode."""


@cache
def _sql() -> LedgerSql:
    return ledger_sql(PGDialect_asyncpg())  # type: ignore[no-untyped-call]


class PostgresWriter:
    """One connection, made at the first group and again after each loss.

    Args:
        dsn: as libpq takes it, of a database that is migrated.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sql = _sql()
        self._connection: asyncpg.Connection | None = None

    async def write(self, group: Group) -> None:
        """Commit a group; see :class:`gateway.stores.sql.group.GroupWriter`."""
        parts = [
            (sql, rows)
            for sql, rows in (
                (self._sql.opening, group.openings),
                (self._sql.progress, group.progress),
                (self._sql.closing, group.closings),
                (self._sql.attempt, group.attempts),
            )
            if rows
        ]
        try:
            async with asyncio.timeout(WRITE_S):
                connection = await self._connected()
                try:
                    await _commit(connection, parts)
                except _REFUSALS as refusal:
                    raise ValuesRefused(_name(refusal)) from None
        except ValuesRefused:
            raise
        except Exception as trouble:
            # Its sentences may quote values (DETAIL: Key (…)=(…)), so only its name goes on.
            self._drop()
            raise DatabaseDown(_name(trouble)) from None
        except BaseException:
            self._drop()
            raise

    async def aclose(self) -> None:
        """Close the connection, politely if the server still answers."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn, timeout=CONNECT_S, server_settings={"application_name": "aigateway ledger"}
            )
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def _commit(connection: asyncpg.Connection, parts: Sequence[tuple[str, Sequence[Values]]]) -> None:
    if len(parts) == 1:
        # asyncpg sends all rows of one executemany as one transaction, in one round trip.
        await connection.executemany(*parts[0])
        return
    async with connection.transaction():
        for sql, rows in parts:
            await connection.executemany(sql, rows)


def _name(error: BaseException) -> str:
    code = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({code})" if code else type(error).__name__
