"""The stores of a process, on real databases: what is opened, and that money is counted once."""

import asyncio

import pytest
from sqlalchemy import func, insert, select

from gateway.core.period import Period
from gateway.core.quota import Ask, Denied, Scope, Settled
from gateway.stores import others as others_module
from gateway.stores.memory import LocalQuotas
from gateway.stores.sql.instances import BEAT_S, DEAD_AFTER_S
from gateway.stores.sql.schema import archived_spend, exchanges, instances
from tests.databases import (
    address,
    postgres_server,
    sqlite_file,
)
from tests.state_scene import HALF, Process, Start, acme, budget, closing, start

__all__ = ["address", "postgres_server", "sqlite_file", "start"]


async def test_opens_what_there_is_to_open(start: Start) -> None:
    """Rows are written, budgets read, tenants known, and the metrics show it."""
    process = await start()
    grant, row = await process.begin(300)
    assert await process.money() == (0, 300)
    await process.end(grant, row, 120)
    assert await process.money() == (120, 0)
    assert await process.state.directory.tenants() == []
    assert process.shows("store_up", store="database") == 1
    assert process.shows("ledger_pending") == process.shows("ledger_late_total") == 0
    assert process.shows("ledger_commit_seconds_count") == 2
    assert process.shows("store_seconds_count", store="database", op="commit") == 2
    assert process.shows("store_seconds_count", store="database", op="read") >= 2
    assert process.scrape.series("aigateway_store_up") == [{"store": "database"}]
    process.state.ledger.late = 3
    assert process.shows("ledger_late_total") == 3


async def test_what_waits_is_written_at_the_end(start: Start) -> None:
    """And the process takes its leave, so that nobody watches for it."""
    process, other = await start(), await start()
    rows = [process.opening() for _ in range(50)]
    for row in rows:
        process.state.ledger.open(row)
    assert process.shows("ledger_pending") == 50
    await process.state.aclose(30)
    count = select(func.count()).select_from(exchanges)
    assert await other.state.database.read(lambda connection: connection.scalar(count)) == 50
    running = await other.state.database.read(
        lambda connection: connection.scalars(select(instances.c.instance_id)).all()
    )
    assert running == [other.instance_id]


async def test_a_budget_begins_with_what_the_ledger_has(start: Start) -> None:
    """Of its period; one without begins with everything, that which was deleted included."""
    before = await start()
    grant, row = await before.begin(500)
    await before.end(grant, row, 200)
    old = before.opening(opened_at_us=1_700_000_000_000_000)
    await before.state.ledger.close(closing(old, 3_000))
    deleted = insert(archived_spend).values(tenant_id="acme", key_id="web", exchanges=1, cost_nanousd=40_000)
    await before.state.database.write(lambda connection: connection.execute(deleted))
    await before.state.aclose(30)
    after = await start()
    key = Scope("key/acme/web", "the key `web`", None, budget(100_000))
    other = Scope("key/acme/cli", "the key `cli`", None, budget(100_000))
    assert await after.money() == await after.money(key) == (43_200, 0)
    assert await after.money(acme(period=Period.MONTH)) == (200, 0)
    assert await after.money(other) == (0, 0)


async def test_a_crash_makes_nothing_free_and_nothing_dearer(start: Start) -> None:
    """What a dead process left open is held, then settled as an estimate, whose cost takes the place of the hold."""
    process = await start()
    dead = process.opening(900_000, instance_id="dead")
    await process.state.ledger.open(dead)
    assert await process.money() == (0, 900_000)
    denied = await process.quotas.admit(Ask("more", "acme", (acme(),), 0, 200_000))
    assert isinstance(denied, Denied)
    await process.watch()
    assert await process.money() == (7_000, 0)
    await process.begin(200_000)
    assert not process.crossed


async def test_a_crossing_that_an_orphan_brings_is_told(start: Start) -> None:
    """Nobody settles it here."""
    process = await start()
    await process.state.ledger.open(process.opening(10_000, instance_id="dead"))
    small = acme(10_000)
    assert await process.money(small) == (0, 10_000)
    await process.watch()
    (crossing,) = process.crossed
    assert (crossing.scope, crossing.threshold, crossing.funds.spent_nanousd) == (small, HALF, 7_000)


async def test_one_process_takes_over_from_another(start: Start) -> None:
    """What the old one runs is held by the new one, until it ends; what either has spent is counted once."""
    old = await start()
    streams = [await old.begin(100_000) for _ in range(4)]
    done = await old.begin(50_000)
    await old.end(*done, 11_000)
    new = await start()
    assert await new.money() == (11_000, 400_000)
    own = await new.begin(300_000)
    denied = await new.quotas.admit(Ask("too-much", "acme", (acme(),), 0, 300_000))
    assert isinstance(denied, Denied)
    for stream in streams:
        await old.end(*stream, 1_000)
    await old.state.aclose(30)
    await new.hear()
    await new.end(*own, 200)
    assert await new.money() == (15_200, 0)
    await new.watch()
    assert await new.money() == (15_200, 0)


async def test_what_another_process_ends_becomes_known_by_itself(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon, and without anybody asking."""
    monkeypatch.setattr(others_module, "LOOK_S", 0.001)
    old, new = await start(), await start()
    small = acme(1_000)
    grant, row = await old.begin(900, small)
    assert await new.money(small) == (0, 900)
    await old.end(grant, row, 600)
    await new.was_told.wait()
    assert await new.money(small) == (600, 0)


async def test_orphans_are_told_before_the_quotas_close(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to begin."""
    order, release = list[str](), asyncio.Event()
    close = LocalQuotas.aclose

    async def settle_orphan(*_: object) -> Settled:
        await release.wait()
        order.append("told")
        return Settled(True)

    async def aclose(quotas: LocalQuotas) -> None:
        order.append("closed")
        await close(quotas)

    monkeypatch.setattr(LocalQuotas, "settle_orphan", settle_orphan)
    monkeypatch.setattr(LocalQuotas, "aclose", aclose)
    process = await start()
    await process.state.ledger.open(process.opening(10, instance_id="dead"))
    for _ in range(int(DEAD_AFTER_S / BEAT_S) + 2):
        process.clock.now += BEAT_S
        await process.state._upkeep.settle()
    closing = asyncio.create_task(process.state.aclose(5))
    await process.has_left()
    release.set()
    await closing
    assert order == ["told", "closed"]


async def test_two_processes_write_at_once(start: Start) -> None:
    """In one file even: nothing is lost, late, or taken for an outage."""
    both = [await start() for _ in range(2)]
    # what a process finds open in the ledger when it first reads it back is of the other one, and would count as held
    assert [await process.money() for process in both] == [(0, 0), (0, 0)]

    async def exchange(process: Process) -> None:
        await process.end(*await process.begin(1_000), 10)

    for _ in range(10):
        await asyncio.gather(*(exchange(process) for process in both for _ in range(20)))
    for process in both:
        assert await process.money() == (2_000, 0)
        assert process.shows("ledger_late_total") == 0
        assert process.shows("store_up", store="database") == 1
    third = await start()
    assert await third.money() == (4_000, 0)
