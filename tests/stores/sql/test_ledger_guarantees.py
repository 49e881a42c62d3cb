"""What the ledger promises, shown on real databases: nothing acknowledged is lost, nothing is written twice."""

import asyncio
import random
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextlib import closing as closing_file
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gateway.core.ledger import LedgerUnavailable, RowRefused, tags_text
from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.address import Address, PostgresAddress, SqliteAddress
from gateway.stores.sql.database import Database
from gateway.stores.sql.ledger import Ledger
from gateway.stores.sql.orphans import settle_orphans
from tests.databases import PostgresServer, file_locked, table_locked
from tests.stores.sql.rows import NOW_US, accepts, as_found, attempts_in, closing, exchanges_in, opening, write

KILLS = 3
NOISE = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=5000))
"""Longer than an index of PostgreSQL takes, and nothing that it could compress."""
NASTY = [
    "'; DROP TABLE exchanges; --",
    '"); DELETE FROM attempts; --',
    "\\'; SELECT pg_sleep(9); --",
    "%s %(x)s :x $1 ?1 ? {} {0}",
    "a\r\nb\tc\x1b[2J",
    "\u202e\U0001f4b8 na\u00efve \u2013 \u2018quoted\u2019 \ufeff",
    "NULL",
    "",
]


impatient = pytest.mark.parametrize(
    "ledger", [LedgerSettings(open_wait_s=0.1, end_wait_s=0.1)], indirect=True, ids=["impatient"]
)


@asynccontextmanager
async def process(verb: str, address: Address) -> AsyncIterator[Process]:
    """A process that opens the database; killed in the end."""
    url = address.dsn if isinstance(address, PostgresAddress) else f"sqlite:///{address.path}"
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.stores.sql.writing_process", verb, url, stdout=PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def said(by: Process) -> list[str]:
    """The next line of a process, as words."""
    assert by.stdout is not None
    return (await by.stdout.readline()).decode().split()


async def test_nothing_acknowledged_is_lost_to_a_kill(address: Address, database: Database) -> None:
    """Three times, in the middle of a transaction or beside it: rows are there, once, with their figures."""
    opened: set[str] = set()
    closed: dict[str, int] = {}
    instances = set()
    for seed in range(KILLS):
        async with process("write", address) as writer:
            assert await said(writer) == ["ready"]
            instances.add(f"process-{writer.pid}")
            for _ in range(random.Random(seed).randrange(100, 400)):
                note(await said(writer), opened, closed)
            writer.kill()
            while words := await said(writer):
                note(words, opened, closed)
    found = await exchanges_in(database)
    assert opened <= found.keys()
    for exchange_id, cost_nanousd in closed.items():
        assert (found[exchange_id]["state"], found[exchange_id]["cost_nanousd"]) == ("settled", cost_nanousd)
    rows = await attempts_in(database)
    assert {row[0] for row in rows} == {name for name, row in found.items() if row["state"] == "settled"}
    assert len(rows) == 2 * len({row[0] for row in rows})
    await check_integrity(database)
    left = {name for name, row in found.items() if row["state"] == "open"}
    settled = await settle_orphans(database, instances, NOW_US)
    assert {one.orphan.exchange_id for one in settled} == left
    assert await settle_orphans(database, instances, NOW_US) == []
    found = await exchanges_in(database)
    assert {row["state"] for row in found.values()} == {"settled"}
    assert all(found[exchange_id]["cost_nanousd"] == cost_nanousd for exchange_id, cost_nanousd in closed.items())


def note(words: list[str], opened: set[str], closed: dict[str, int]) -> None:
    """Remember what a process said it was promised."""
    if words and words[0] == "opened":
        opened.add(words[1])
    elif words and words[0] == "closed":
        closed[words[1]] = int(words[2])


async def check_integrity(database: Database) -> None:
    """SQLite checks its own file; PostgreSQL has no such thing."""
    if isinstance(database.address, SqliteAddress):
        found = await database.read(lambda connection: connection.scalar(text("PRAGMA integrity_check")))
        assert found == "ok"


@asynccontextmanager
async def locked(address: Address) -> AsyncIterator[None]:
    """Nothing can be written."""
    if isinstance(address, SqliteAddress):
        with file_locked(address.path):
            yield
    else:
        async with table_locked(address):
            yield


@asynccontextmanager
async def stopped(server: PostgresServer) -> AsyncIterator[None]:
    """The server is away."""
    await asyncio.to_thread(server.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@impatient
async def test_a_locked_database_refuses_what_begins_and_keeps_what_ends(
    address: Address, database: Database, ledger: Ledger
) -> None:
    """Nobody spends what cannot be written; what was spent is written when the lock is gone."""
    running = [opening() for _ in range(10)]
    await write(database, *running)
    async with locked(address):
        await outage(ledger, running)
    await recovery(database, ledger, running)


@impatient
@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
async def test_a_server_that_restarts_loses_nothing(
    database: Database, ledger: Ledger, postgres_server: PostgresServer
) -> None:
    """The connection breaks, and is made again."""
    running = [opening() for _ in range(10)]
    await write(database, *running)
    async with stopped(postgres_server):
        await outage(ledger, running)
    await recovery(database, ledger, running)


async def outage(ledger: Ledger, running: list[Any]) -> None:
    """What the line sees while nothing can be written."""
    with pytest.raises(LedgerUnavailable):
        await ledger.open(opening())
    assert not accepts(ledger)
    refused = ledger.open(opening())
    assert refused.done
    assert isinstance(refused.error, LedgerUnavailable)
    commits = [ledger.close(closing(row)) for row in running]
    assert not await ledger.in_time(commits[0])
    assert ledger.late == 1
    assert not any(commit.done for commit in commits)


async def recovery(database: Database, ledger: Ledger, running: list[Any]) -> None:
    """Everything is written, once, and openings are taken."""
    await ledger.flushed()
    assert accepts(ledger)
    ledger.open(opening())
    await ledger.flushed()
    found = await exchanges_in(database)
    assert {row.exchange_id: found[row.exchange_id] for row in running} == {
        row.exchange_id: as_found(closing(row)) for row in running
    }
    assert sum(row["state"] == "open" for row in found.values()) == 2
    assert len(await attempts_in(database)) == 2 * len(running)
    await check_integrity(database)


async def test_a_full_disk_refuses_what_begins_and_keeps_what_ends(tmp_path: Path) -> None:
    """A process that may not let its file grow says so at once, and settles everything when it has room again."""
    address = SqliteAddress(tmp_path / "gateway.db")
    async with process("fill", address) as writer:
        assert await said(writer) == ["ready"]
        assert await said(writer) == ["refused", "True"]
        assert await said(writer) == ["late", "True", "1"]
        settled, count, refused = await said(writer)
        assert (settled, refused) == ("settled", "0")
        assert await writer.wait() == 0
    with closing_file(sqlite3.connect(address.path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        states = dict(other.execute("SELECT state, count(*) FROM exchanges GROUP BY state").fetchall())
    assert states == {"settled": int(count), "open": 1}


async def test_every_text_comes_back_as_it_went_in(database: Database, ledger: Ledger) -> None:
    """Whatever it means in SQL, in a format string or on a terminal."""
    fields = ("request_id", "tenant_id", "key_id", "operation", "model_asked", "instance_id", "price")
    rows = []
    for nasty in NASTY:
        row = opening(**dict.fromkeys(fields, nasty), tags=tags_text({nasty: nasty}))
        whole = closing(row, provider=nasty, model_served=nasty)
        await ledger.open(row)
        await ledger.close(whole)
        rows.append(whole)
    assert await exchanges_in(database) == {row.opening.exchange_id: as_found(row) for row in rows}
    assert ledger.refused == 0


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hold_nanousd": 2**80}, {"hold_nanousd": 2**63 - 1}),
        ({"request_id": "half \ud800"}, {"request_id": "half ?"}),
    ],
)
async def test_a_row_that_does_not_fit_is_written_as_near_as_can_be(
    database: Database, ledger: Ledger, change: dict[str, Any], found: dict[str, Any]
) -> None:
    """And those beside it as they are."""
    rows = [opening() for _ in range(10)]
    bad = opening(**change)
    commits = [ledger.open(row) for row in (*rows[:5], bad, *rows[5:])]
    for commit in commits:
        await commit
    expected = {row.exchange_id: as_found(row) for row in rows}
    expected[bad.exchange_id] = as_found(bad) | found
    assert await exchanges_in(database) == expected


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("key_id", "kept"), [("with \0 in it", "with ? in it"), (NOISE, NOISE[:1000])], ids=["NUL", "too long to index"]
)
async def test_what_only_postgresql_refuses_is_written_plainly(
    database: Database, ledger: Ledger, key_id: str, kept: str
) -> None:
    """Its cost is there, which is what counts."""
    row = opening(key_id=key_id)
    whole = closing(row)
    await ledger.open(row)
    await ledger.close(whole)
    (found,) = (await exchanges_in(database)).values()
    assert found["key_id"] == kept
    assert (found["state"], found["cost_nanousd"]) == ("settled", whole.cost_nanousd)


async def test_a_row_without_what_it_needs_is_refused_alone(database: Database, ledger: Ledger) -> None:
    """Its own commit says so; the others do not notice."""
    commits = [ledger.open(row) for row in (opening(), opening(tenant_id=None), opening())]
    await commits[0]
    await commits[2]
    with pytest.raises(RowRefused):
        await commits[1]
    assert len(await exchanges_in(database)) == 2
