"""Deletes rows that need not be kept any longer, a few at a time; what they cost is kept."""

import asyncio
from collections import Counter
from functools import partial
from typing import Final

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import SETTLED, archived_spend, attempts, exchanges

SLICE_ROWS: Final = 500
REST_SHARE: Final = 2
"""After each slice it rests so many times as long as that took, so that the ledger gets through."""
LEAST_REST_S: Final = 0.02


async def delete_before(database: Database, before_us: int, slice_rows: int = SLICE_ROWS) -> int:
    """Delete settled exchanges that were opened before a moment, with their attempts.

    Open rows stay. The cost goes into ``archived_spend`` in the same transaction: a budget without a period counts it.
    SQLite's file gets no smaller; its free pages are used again.

    Returns:
        How many exchanges this call deleted.

    Raises:
        DatabaseDown: the rest is deleted next time.
    """
    loop = asyncio.get_running_loop()
    deleted = 0
    while True:
        began_s = loop.time()
        count = await database.write(partial(_delete_slice, before_us, slice_rows))
        deleted += count
        if count < slice_rows:
            return deleted
        await asyncio.sleep(max(LEAST_REST_S, REST_SHARE * (loop.time() - began_s)))


def _delete_slice(before_us: int, slice_rows: int, connection: Connection) -> int:
    oldest = (
        select(exchanges.c.exchange_id, exchanges.c.tenant_id, exchanges.c.key_id, exchanges.c.cost_nanousd)
        .where(exchanges.c.opened_at_us < before_us, exchanges.c.state == SETTLED)
        .order_by(exchanges.c.opened_at_us)
        .limit(slice_rows)
        .with_for_update(skip_locked=True)
    )
    cost: Counter[tuple[str, str]] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    ids = []
    for exchange_id, tenant_id, key_id, cost_nanousd in connection.execute(oldest):
        ids.append(exchange_id)
        cost[tenant_id, key_id] += cost_nanousd
        count[tenant_id, key_id] += 1
    if not ids:
        return 0
    # In one order, or two replicas could wait for each other.
    sums = [
        {"tenant_id": owner[0], "key_id": owner[1], "exchanges": count[owner], "cost_nanousd": cost[owner]}
        for owner in sorted(count)
    ]
    archive = insert(archived_spend)
    archive = archive.on_conflict_do_update(
        index_elements=[archived_spend.c.tenant_id, archived_spend.c.key_id],
        set_={
            "exchanges": archived_spend.c.exchanges + archive.excluded.exchanges,
            "cost_nanousd": archived_spend.c.cost_nanousd + archive.excluded.cost_nanousd,
        },
    )
    connection.execute(archive, sums)
    connection.execute(delete(attempts).where(attempts.c.exchange_id.in_(ids)))
    connection.execute(delete(exchanges).where(exchanges.c.exchange_id.in_(ids)))
    return len(ids)
