"""What tenants and keys have spent: from the ledger's rows, for budgets that are made anew."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, func, null, select, union_all
from sqlalchemy.dialects.postgresql import insert

from gateway.core.account import Balance
from gateway.core.ledger import Spent
from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import OPEN, SETTLED, archived_spend, budget_marks, exchanges


async def spent(
    database: Database, tenant_id: str, key_id: str | None, from_us: int | None = None, to_us: int | None = None
) -> Spent:
    """Sum what a tenant, or one of its keys, has spent on exchanges that were opened in a time.

    Open rows count with what they hold: nothing dearer can come of them, and what a crash left open is not free.

    Args:
        key_id: None: all keys of the tenant.
        from_us: from this moment on; None: from the beginning, with what retention has deleted.
        to_us: before this moment; None: to the end.

    Raises:
        DatabaseDown: nobody knows now.
    """
    rows = _Rows(tenant_id, key_id, from_us, to_us)
    return await database.read(partial(_spent, rows))


async def balance(database: Database, tenant_id: str, key_id: str | None, from_us: int | None = None) -> Balance:
    """Sum what has ended, and tell apart what runs; arguments and errors as of :func:`spent`."""
    return await database.read(partial(_balance, _Rows(tenant_id, key_id, from_us, None)))


async def ended(database: Database, exchange_ids: Collection[str]) -> dict[str, int]:
    """Return the cost of those exchanges that have ended, by id.

    Raises:
        DatabaseDown: nobody knows now.
    """
    query = select(exchanges.c.exchange_id, exchanges.c.cost_nanousd).where(
        exchanges.c.exchange_id.in_(exchange_ids), exchanges.c.state == SETTLED
    )
    return await database.read(lambda connection: {row[0]: row[1] for row in connection.execute(query)})


@dataclass(frozen=True, slots=True)
class _Rows:
    """Whose rows, and of which time: the arguments of :func:`spent`."""

    tenant_id: str
    key_id: str | None
    from_us: int | None
    to_us: int | None

    def costs(self) -> Iterator[Select[Any]]:
        """Sums of what has ended. What an open row will cost is not in it yet, so the index has all that is asked."""
        yield self._in_time(
            self._theirs(select(func.sum(exchanges.c.cost_nanousd)), exchanges), exchanges.c.opened_at_us
        )
        if self.from_us is None:
            yield self._theirs(select(func.sum(archived_spend.c.cost_nanousd)), archived_spend)

    def running(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """What is open."""
        # Tenant and time are computed, so that no index fits but that of the few open rows: SQLite, which knows
        # nothing of their number, would rather look at all of the tenant's.
        query = select(*columns).where(exchanges.c.state == OPEN, exchanges.c.instance_id >= "")
        query = query.where(exchanges.c.tenant_id.concat("") == self.tenant_id)
        if self.key_id is not None:
            query = query.where(exchanges.c.key_id == self.key_id)
        return self._in_time(query, exchanges.c.opened_at_us + 0)

    def _theirs(self, query: Select[Any], table: Table) -> Select[Any]:
        query = query.where(table.c.tenant_id == self.tenant_id)
        return query if self.key_id is None else query.where(table.c.key_id == self.key_id)

    def _in_time(self, query: Select[Any], opened_at_us: ColumnElement[int]) -> Select[Any]:
        if self.from_us is not None:
            query = query.where(opened_at_us >= self.from_us)
        return query if self.to_us is None else query.where(opened_at_us < self.to_us)


def _spent(rows: _Rows, connection: Connection) -> Spent:
    # One statement sees one moment: between two of them a row could end, and be in neither sum.
    sums = [query.scalar_subquery() for query in (*rows.costs(), rows.running(func.sum(exchanges.c.hold_nanousd)))]
    *settled, open_nanousd = map(_total, connection.execute(select(*sums)).one())
    return Spent(sum(settled), open_nanousd)


def _balance(rows: _Rows, connection: Connection) -> Balance:
    costs = [query.add_columns(null().cast(Text)) for query in rows.costs()]
    running = rows.running(exchanges.c.hold_nanousd, exchanges.c.exchange_id)
    spent_nanousd, holds = 0, {}
    for nanousd, exchange_id in connection.execute(union_all(*costs, running)):
        if exchange_id is None:
            spent_nanousd += _total(nanousd)
        else:
            holds[exchange_id] = _total(nanousd)
    return Balance(spent_nanousd, holds)


def _total(found: object) -> int:
    # PostgreSQL sums whole numbers as NUMERIC.
    return int(found or 0)  # type: ignore[call-overload, no-any-return]


async def mark_told(database: Database, scope: str, period_start_us: int, threshold_ppm: int, now_us: int) -> bool:
    """Note that a budget's soft threshold is told, and say whether this is the first note of it in its period.

    Args:
        scope: the budget's name.
        threshold_ppm: in millionths of the budget.

    Raises:
        DatabaseDown: nobody knows now.
    """
    note = insert(budget_marks).values(
        scope=scope, period_start_us=period_start_us, threshold_ppm=threshold_ppm, told_at_us=now_us
    )
    return await database.write(lambda connection: connection.execute(note.on_conflict_do_nothing()).rowcount == 1)
