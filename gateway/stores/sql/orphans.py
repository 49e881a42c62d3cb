"""Settles what a dead process left open: once, as estimates, whoever does it and however many try."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from gateway.core.ledger import Orphan, estimate_orphan
from gateway.core.outcome import Outcome
from gateway.core.tokens import Usage
from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import OPEN, SETTLED, exchanges, instances

PAGE_ROWS: Final = 200

Estimate = Callable[[Orphan], tuple[Usage, int]]
"""What an orphan is charged: its usage, and the cost in nano-dollars."""

_FIELDS = tuple(exchanges.c[name] for name in Orphan.__slots__)


@dataclass(frozen=True, slots=True)
class SettledOrphan:
    """An orphan and what it was charged, for the budgets that still hold it."""

    orphan: Orphan
    cost_nanousd: int


async def settle_orphans(
    database: Database, dead: Collection[str], now_us: int, estimate: Estimate = estimate_orphan
) -> list[SettledOrphan]:
    """Settle every open row of dead processes as an estimate, with outcome ``internal``.

    Where a process was only thought dead, the first account stands: its own closing changes nothing any more.

    Args:
        dead: instance ids, never one's own.
        now_us: when they end, as far as anybody knows.

    Returns:
        What this call settled; what another settles at the same time is not in it.

    Raises:
        DatabaseDown: the rest is settled next time.
    """
    settled: list[SettledOrphan] = []
    for instance_id in sorted(dead):
        while page := await database.write(partial(_settle_page, instance_id, now_us, estimate)):
            settled += page
        await database.write(partial(_forget, instance_id))
    return settled


def _settle_page(instance_id: str, now_us: int, estimate: Estimate, connection: Connection) -> list[SettledOrphan]:
    # The rows are locked before they are read: with SQLite all of them are, with PostgreSQL these.
    page = (
        select(*_FIELDS)
        .where(exchanges.c.state == OPEN, exchanges.c.instance_id == instance_id)
        .limit(PAGE_ROWS)
        .with_for_update(skip_locked=True)
    )
    settled, values = [], []
    for row in connection.execute(page):
        orphan = Orphan(*row)
        usage, cost_nanousd = estimate(orphan)
        settled.append(SettledOrphan(orphan, cost_nanousd))
        values.append(
            {
                "id": orphan.exchange_id,
                "input_tokens": usage.input,
                "cached_input_tokens": usage.cached_input,
                "cache_write_tokens": usage.cache_write,
                "cache_write_1h_tokens": usage.cache_write_1h,
                "output_tokens": usage.output,
                "reasoning_tokens": usage.reasoning,
                "cost_nanousd": cost_nanousd,
                "source": usage.source.value,
            }
        )
    if values:
        account: dict[str, object] = {name: bindparam(name) for name in values[0] if name != "id"}
        constants = {"outcome": Outcome.INTERNAL.value, "ended_at_us": now_us, "state": SETTLED}
        connection.execute(
            update(exchanges)
            .where(exchanges.c.exchange_id == bindparam("id"), exchanges.c.state == OPEN)
            .values(account | constants),
            values,
        )
    return settled


def _forget(instance_id: str, connection: Connection) -> None:
    """Forget a process that has nothing open; what another replica has locked is still open, and is its to forget."""
    still_open = select(exchanges.c.exchange_id).where(
        exchanges.c.state == OPEN, exchanges.c.instance_id == instance_id
    )
    connection.execute(delete(instances).where(instances.c.instance_id == instance_id, ~still_open.exists()))
