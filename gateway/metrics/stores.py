"""A database under observation: how long its transactions take, and whether it does what is asked of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from gateway.core.clock import Clock
from gateway.metrics.declarations import Declarations
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown, Group, GroupWriter

T = TypeVar("T")


class TimedDatabase:
    """Implements :class:`Database` by another one, and shows it as ``database`` in the metrics of stores.

    It is up while the latest of each kind of transaction (read, write, the ledger's commit) was not refused by a
    :class:`DatabaseDown`: a full disk is read from as ever. A kind that was never tried counts for nothing.

    Args:
        database: does the work; closed with this.
        clock: monotonic seconds.
    """

    def __init__(self, database: Database, declared: Declarations, clock: Clock) -> None:
        self.address = database.address
        self._database = database
        self._clock = clock
        self._cells = {op: declared.store_seconds.labels("database", op) for op in ("read", "write", "commit")}
        self._down: set[str] = set()
        declared.store_up.labels("database").read_from(lambda: self.is_up)

    @property
    def is_up(self) -> bool:
        """Whether everything that was tried worked when it was tried last."""
        return not self._down

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See :meth:`Database.read`."""
        with self.watched("read"):
            return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See :meth:`Database.write`."""
        with self.watched("write"):
            return await self._database.write(work)

    def ledger_writer(self) -> GroupWriter:
        """See :meth:`Database.ledger_writer`."""
        return _TimedWriter(self._database.ledger_writer(), self)

    async def aclose(self) -> None:
        """See :meth:`Database.aclose`."""
        await self._database.aclose()

    @contextmanager
    def watched(self, op: str) -> Iterator[None]:
        """Time one transaction; what was cancelled says nothing about the database."""
        began_s = self._clock()
        try:
            yield
        except DatabaseDown:
            self._down.add(op)
            raise
        except Exception:
            self._down.discard(op)
            raise
        else:
            self._down.discard(op)
        finally:
            self._cells[op].observe(self._clock() - began_s)


class _TimedWriter:
    """Implements :class:`GroupWriter` likewise."""

    def __init__(self, writer: GroupWriter, database: TimedDatabase) -> None:
        self._writer = writer
        self._database = database

    async def write(self, group: Group) -> None:
        """See :meth:`GroupWriter.write`."""
        with self._database.watched("commit"):
            await self._writer.write(group)

    async def aclose(self) -> None:
        """See :meth:`GroupWriter.aclose`."""
        await self._writer.aclose()
