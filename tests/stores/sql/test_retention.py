"""Rows that need not be kept: deleted in slices, with their attempts, but never out of the sums."""

import asyncio

import pytest

from gateway.stores.sql.database import Database
from gateway.stores.sql.ledger import Ledger
from gateway.stores.sql.retention import delete_before
from gateway.stores.sql.spending import spent
from tests.stores.sql.rows import NOW_US, attempts_in, closing, exchanges_in, opening, write

CUT_US = NOW_US + 1_000_000


async def test_deletes_what_is_old_and_settled(database: Database) -> None:
    """To the microsecond; what is still open stays, however old."""
    old = [closing(opening(opened_at_us=at_us)) for at_us in (NOW_US, CUT_US - 1)]
    new, still_open = closing(opening(opened_at_us=CUT_US)), opening(opened_at_us=NOW_US)
    await write(database, *old, new, still_open)
    assert await delete_before(database, CUT_US) == 2
    assert set(await exchanges_in(database)) == {new.opening.exchange_id, still_open.exchange_id}
    assert {row[0] for row in await attempts_in(database)} == {new.opening.exchange_id}
    assert await delete_before(database, CUT_US) == 0


@pytest.mark.parametrize("slice_rows", [1, 5, 100])
async def test_slices_lose_no_money(database: Database, slice_rows: int) -> None:
    """Whatever their size: by tenant and by key it is the same sum as before."""
    rows = [closing(opening(tenant_id=f"tenant {n % 2}", key_id=f"key {n % 3}"), cost_nanousd=10**n) for n in range(10)]
    await write(database, *rows)
    scopes = [(f"tenant {tenant}", key) for tenant in range(2) for key in (None, "key 0", "key 1", "key 2")]
    before = [await spent(database, *scope) for scope in scopes]
    assert await delete_before(database, rows[5].opening.opened_at_us, slice_rows) == 5
    assert await delete_before(database, rows[9].opening.opened_at_us + 1, slice_rows) == 5
    assert await exchanges_in(database) == {}
    assert [await spent(database, *scope) for scope in scopes] == before


async def test_replicas_that_delete_together_count_once(database: Database, replicas: list[Database]) -> None:
    """Neither a row nor its cost is counted twice, and none waits for the other for ever."""
    rows = [closing(opening(key_id=f"key {n % 5}"), cost_nanousd=1) for n in range(200)]
    await write(database, *rows)
    deleted = await asyncio.gather(*(delete_before(replica, CUT_US, 20) for replica in replicas))
    while count := await delete_before(database, CUT_US):
        deleted.append(count)
    assert sum(deleted) == 200
    assert (await spent(database, "acme", None)).settled_nanousd == 200


async def test_the_ledger_gets_through(database: Database, ledger: Ledger) -> None:
    """It writes while a long deletion goes on, and before that ends."""
    await write(database, *(closing(opening()) for _ in range(300)))
    deleting = asyncio.create_task(delete_before(database, CUT_US, 10))
    for _ in range(5):
        await ledger.open(opening(opened_at_us=CUT_US))
    assert not deleting.done()
    assert await deleting == 300
