"""What a dead process left open: settled once, by what its openings say, however many settle at the same time."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import insert, select

from gateway.core.ledger import Orphan
from gateway.core.tokens import Source, Usage
from gateway.stores.sql.address import PostgresAddress
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import Group
from gateway.stores.sql.orphans import PAGE_ROWS, settle_orphans
from gateway.stores.sql.schema import instances
from gateway.stores.sql.statements import progress_values
from tests.databases import connected
from tests.stores.sql.rows import NOW_US, as_found, attempts_in, closing, exchanges_in, opening, write

LATER_US = NOW_US + 3_600_000_000


async def join(database: Database, *names: str) -> None:
    rows = [{"instance_id": name, "started_at_us": 0, "heartbeat_at_us": 0, "beats": 0} for name in names]
    await database.write(lambda connection: connection.execute(insert(instances), rows))


async def joined(database: Database) -> set[str]:
    return set(await database.read(lambda connection: connection.scalars(select(instances.c.instance_id)).all()))


async def test_an_orphan_is_an_estimate(database: Database) -> None:
    """Input and output by what is known, at the price of its opening; its outcome is ours to answer for."""
    row = opening(instance_id="dead")
    await write(database, row)
    writer = database.ledger_writer()
    await writer.write(Group(progress=[progress_values(row.exchange_id, 50)]))
    await writer.aclose()
    (settled,) = await settle_orphans(database, ["dead"], LATER_US)
    cost_nanousd = 100 * 1000 + 50 * 2000
    assert settled.cost_nanousd == cost_nanousd
    assert settled.orphan == Orphan(
        row.exchange_id, "acme", "web", row.opened_at_us, 100, 50, row.hold_nanousd, row.price
    )
    assert (await exchanges_in(database))[row.exchange_id] == as_found(row) | {
        "state": "settled",
        "outcome": "internal",
        "source": "estimated",
        "input_tokens": 100,
        "output_tokens": 50,
        "output_so_far_tokens": 50,
        "cost_nanousd": cost_nanousd,
        "ended_at_us": LATER_US,
    }


async def test_only_open_rows_of_the_dead_are_settled(database: Database) -> None:
    """Not what runs, not what has ended; the dead are forgotten then."""
    mine, ended, lost = opening(), closing(opening(instance_id="dead")), opening(instance_id="dead")
    await write(database, mine, ended, lost)
    await join(database, "this", "dead")
    settled = await settle_orphans(database, ["dead"], LATER_US)
    assert [one.orphan.exchange_id for one in settled] == [lost.exchange_id]
    found = await exchanges_in(database)
    assert found[mine.exchange_id] == as_found(mine)
    assert found[ended.opening.exchange_id] == as_found(ended)
    assert await joined(database) == {"this"}


async def test_the_dead_without_rows_are_forgotten(database: Database) -> None:
    """And those that nobody knew are no matter."""
    await join(database, "dead")
    assert await settle_orphans(database, ["dead", "ghost"], LATER_US) == []
    assert await joined(database) == set()


async def test_replicas_that_settle_together_settle_once(database: Database, replicas: list[Database]) -> None:
    """Each row is charged by one of them, over several pages."""
    rows = [opening(instance_id=f"dead {n % 3}") for n in range(2 * PAGE_ROWS + 7)]
    await write(database, *rows)
    charged: Counter[str] = Counter()

    def estimate(orphan: Orphan) -> tuple[Usage, int]:
        charged[orphan.exchange_id] += 1
        return Usage(input=1, source=Source.ESTIMATED), 1

    settled = await asyncio.gather(
        *(settle_orphans(replica, ["dead 0", "dead 1", "dead 2"], LATER_US, estimate) for replica in replicas)
    )
    ids = [one.orphan.exchange_id for page in settled for one in page]
    assert sorted(ids) == sorted(row.exchange_id for row in rows)
    assert set(charged.values()) == {1}
    found = await exchanges_in(database)
    assert {(row["state"], row["cost_nanousd"]) for row in found.values()} == {("settled", 1)}


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
async def test_what_another_replica_is_settling_is_left_to_it(database: Database) -> None:
    """Nobody waits for the other; while a row is open, its process is not forgotten."""
    assert isinstance(database.address, PostgresAddress)
    row = opening(instance_id="dead")
    await write(database, row)
    await join(database, "dead")
    async with connected(database.address) as other, other.transaction():
        await other.execute("SELECT 1 FROM exchanges WHERE exchange_id = $1 FOR UPDATE", row.exchange_id)
        assert await settle_orphans(database, ["dead"], LATER_US) == []
        assert await joined(database) == {"dead"}
    assert len(await settle_orphans(database, ["dead"], LATER_US)) == 1
    assert await joined(database) == set()


async def test_who_was_only_thought_dead_changes_nothing_any_more(database: Database) -> None:
    """The first account stands; that it asked a provider is on record all the same."""
    row = opening(instance_id="asleep")
    await write(database, row)
    await settle_orphans(database, ["asleep"], LATER_US)
    before = await exchanges_in(database)
    await write(database, closing(row, cost_nanousd=1))
    assert await exchanges_in(database) == before
    assert len(await attempts_in(database)) == 2


async def test_an_estimate_that_fails_settles_nothing_of_its_page(database: Database) -> None:
    """They are there for the next try."""
    rows = [opening(instance_id="dead") for _ in range(3)]
    await write(database, *rows)

    def fail(_: Orphan) -> tuple[Usage, int]:
        raise KeyError("no such price")

    with pytest.raises(KeyError):
        await settle_orphans(database, ["dead"], LATER_US, fail)
    assert {row["state"] for row in (await exchanges_in(database)).values()} == {"open"}
    assert len(await settle_orphans(database, ["dead"], LATER_US)) == 3
