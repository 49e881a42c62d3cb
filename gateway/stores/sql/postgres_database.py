"""A database of PostgreSQL: a server, over a pool of connections."""

from collections.abc import Callable
from typing import Final, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.stores.sql.address import Address, PostgresAddress
from gateway.stores.sql.postgres_writer import CONNECT_S, PostgresWriter
from gateway.stores.sql.trouble import translated

T = TypeVar("T")

QUERY_S: Final = 60.0
"""After so long a statement is broken off."""
CONNECTIONS: Final = 4


class PostgresDatabase:
    """A server, over a pool of connections."""

    def __init__(self, address: PostgresAddress) -> None:
        self.address: Address = address
        self._dsn = address.dsn
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
        )

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes nothing."""
        return await self.write(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes something; it is committed unless it raises."""
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        except (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise translated(error, self.address) from error

    def ledger_writer(self) -> PostgresWriter:
        """Make a writer for the ledger, with a connection of its own."""
        return PostgresWriter(self._dsn)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_S,
            command_timeout=QUERY_S,
            server_settings={"application_name": "aigateway"},
        )
