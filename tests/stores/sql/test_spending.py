"""What a budget is made anew from: settled costs, holds of what runs, and what retention has deleted."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, insert
from sqlalchemy.engine import Engine

from gateway.core.account import Balance
from gateway.core.ledger import Spent
from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import archived_spend
from gateway.stores.sql.spending import balance, ended, mark_told, spent
from gateway.stores.sql.sqlite_database import SqliteDatabase
from tests.stores.sql.rows import NOW_US, closing, opening, write

HOUR_US = 3_600_000_000


async def test_nobody_has_spent_nothing(database: Database) -> None:
    """Neither is it unknown."""
    assert await spent(database, "acme", None) == Spent(0, 0)


async def test_what_runs_counts_with_its_hold(database: Database) -> None:
    """It can cost no more; what has ended counts with its cost."""
    await write(
        database,
        closing(opening(), cost_nanousd=1_000),
        closing(opening(), cost_nanousd=20_000),
        opening(hold_nanousd=300_000),
        opening(hold_nanousd=4_000_000),
    )
    found = await spent(database, "acme", None)
    assert found == Spent(settled_nanousd=21_000, open_nanousd=4_300_000)
    assert found.total_nanousd == 4_321_000


async def test_tenants_and_keys_are_told_apart(database: Database) -> None:
    """A tenant spends what its keys spend; a key of the same name is another tenant's."""
    for power, (tenant_id, key_id) in enumerate([("acme", "web"), ("acme", "cli"), ("other", "web")]):
        row = opening(tenant_id=tenant_id, key_id=key_id, hold_nanousd=2 * 10**power)
        await write(database, row, closing(opening(tenant_id=tenant_id, key_id=key_id), cost_nanousd=10**power))
    assert await spent(database, "acme", None) == Spent(11, 22)
    assert await spent(database, "acme", "web") == Spent(1, 2)
    assert await spent(database, "acme", "cli") == Spent(10, 20)
    assert await spent(database, "other", "web") == Spent(100, 200)
    assert await spent(database, "other", "cli") == Spent(0, 0)


async def test_an_exchange_belongs_to_the_period_in_which_it_was_opened(database: Database) -> None:
    """From its first microsecond to the one before the next."""
    start_us, end_us = NOW_US + HOUR_US, NOW_US + 2 * HOUR_US
    for power, at_us in enumerate([start_us - 1, start_us, end_us - 1, end_us]):
        row = closing(opening(opened_at_us=at_us), cost_nanousd=10**power, ended_at_us=end_us + HOUR_US)
        await write(database, row, opening(opened_at_us=at_us, hold_nanousd=3 * 10**power))
    assert await spent(database, "acme", None, start_us, end_us) == Spent(110, 330)
    assert await spent(database, "acme", None, start_us) == Spent(1110, 3330)
    assert await spent(database, "acme", "web", None, end_us) == Spent(111, 333)


async def test_what_was_deleted_is_still_spent(database: Database) -> None:
    """By who counts from the beginning; a period begins after it."""
    rows = [
        {"tenant_id": "acme", "key_id": key_id, "exchanges": 1, "cost_nanousd": cost}
        for key_id, cost in (("web", 700), ("cli", 8_000))
    ]
    await database.write(lambda connection: connection.execute(insert(archived_spend), rows))
    await write(database, closing(opening(), cost_nanousd=1))
    assert (await spent(database, "acme", None)).settled_nanousd == 8_701
    assert (await spent(database, "acme", "web")).settled_nanousd == 701
    assert (await spent(database, "acme", None, NOW_US - HOUR_US)).settled_nanousd == 1


async def test_what_runs_is_told_apart(database: Database) -> None:
    """By its id, so that its cost can take the place of its hold; what has ended or belongs to others is not in it."""
    mine, early = opening(hold_nanousd=300), opening(hold_nanousd=40, opened_at_us=NOW_US - HOUR_US)
    await write(
        database,
        closing(opening(), cost_nanousd=1),
        closing(opening(opened_at_us=NOW_US - HOUR_US), cost_nanousd=20),
        mine,
        early,
        opening(tenant_id="other", hold_nanousd=5_000),
        opening(key_id="cli", hold_nanousd=60_000),
    )
    rows = [{"tenant_id": "acme", "key_id": "web", "exchanges": 1, "cost_nanousd": 700_000}]
    await database.write(lambda connection: connection.execute(insert(archived_spend), rows))
    assert await balance(database, "acme", "web", NOW_US) == Balance(1, {mine.exchange_id: 300})
    whole = {mine.exchange_id: 300, early.exchange_id: 40}
    assert await balance(database, "acme", "web") == Balance(700_021, whole)
    assert sum((await balance(database, "acme", None)).running.values()) == 60_340
    assert await balance(database, "nobody", None) == Balance(0, {})


async def test_of_what_has_ended_the_cost_is_told(database: Database) -> None:
    """What runs, and what nobody knows, is left out."""
    done, free, runs = opening(), opening(), opening()
    await write(database, closing(done, cost_nanousd=12), closing(free, cost_nanousd=0), runs)
    asked = [row.exchange_id for row in (done, free, runs)]
    assert await ended(database, [*asked, "nobody's"]) == {done.exchange_id: 12, free.exchange_id: 0}
    assert await ended(database, []) == {}


async def test_looks_at_no_row_in_vain(database: Database) -> None:
    """SQLite sums from an index alone, and finds what runs among the few rows that are open."""
    if not isinstance(database, SqliteDatabase):
        return
    asked: list[tuple[str, tuple[object, ...]]] = []

    def note(_connection: object, _cursor: object, sql: str, values: tuple[object, ...], *_: object) -> None:
        if "exchanges" in sql:
            asked.append((sql, values))

    def plans(connection: Connection) -> list[list[str]]:
        explained = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values) for sql, values in asked]
        return [[line for *_, line in plan if " exchanges " in line] for plan in explained]

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await spent(database, "acme", "web", NOW_US, NOW_US + HOUR_US)
        await balance(database, "acme", None, NOW_US)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    for ended_rows, open_rows in await database.read(plans):
        assert "COVERING INDEX ix_exchanges_spent" in ended_rows
        assert "INDEX ix_exchanges_open" in open_rows


async def test_a_row_that_ends_meanwhile_is_counted_once(database: Database) -> None:
    """It held what it cost, and ends while it is asked again and again: no moment has it twice, or not at all."""
    rows = [opening(hold_nanousd=1_000) for _ in range(40)]
    await write(database, *rows)

    async def end() -> None:
        for row in rows:
            await write(database, closing(row, cost_nanousd=1_000))

    ending = asyncio.create_task(end())
    seen = set()
    while not ending.done():
        found, apart = await asyncio.gather(spent(database, "acme", None), balance(database, "acme", None))
        seen |= {found.total_nanousd, apart.spent_nanousd + sum(apart.running.values())}
    await ending
    assert seen == {40_000}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2**55), min_size=1, max_size=5))
async def test_sums_are_exact(database: Database, costs: list[int]) -> None:
    """Beyond what a float holds."""
    key_id = str(costs)
    before = await spent(database, "acme", key_id)
    await write(database, *(closing(opening(key_id=key_id), cost_nanousd=cost) for cost in costs))
    after = await spent(database, "acme", key_id)
    assert after.settled_nanousd - before.settled_nanousd == sum(costs)


async def test_a_threshold_is_told_once(database: Database) -> None:
    """In its period, of its budget, whoever asks and however many at once."""
    firsts = await asyncio.gather(*(mark_told(database, "tenant:acme", NOW_US, 500_000, NOW_US) for _ in range(8)))
    assert sum(firsts) == 1
    assert not await mark_told(database, "tenant:acme", NOW_US, 500_000, NOW_US + 1)


@pytest.mark.parametrize(
    ("scope", "period_start_us", "threshold_ppm"),
    [("key:acme/web", NOW_US, 500_000), ("tenant:acme", NOW_US + 1, 500_000), ("tenant:acme", NOW_US, 800_000)],
)
async def test_another_threshold_is_told_too(
    database: Database, scope: str, period_start_us: int, threshold_ppm: int
) -> None:
    """Of another budget, another period, or further up."""
    assert await mark_told(database, "tenant:acme", NOW_US, 500_000, NOW_US)
    assert await mark_told(database, scope, period_start_us, threshold_ppm, NOW_US)
