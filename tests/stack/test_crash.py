"""kill -9 at random moments under load: nothing that a client has seen is missing, nothing is there twice.

The figures of the full size are those of the README; the small one kills twice.
"""

import asyncio
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from gateway.core.tokens import Source
from gateway.simulator import Simulator
from gateway.stores.sql.address import Address, SqliteAddress
from gateway.stores.sql.database import Database, open_database
from gateway.stores.sql.schema import exchanges
from tests.stack.crash_scene import Scene, crash

READY_S = 2.0
SETTLED_S = 60.0
KILLS, PER_S = 20, 200.0

Row = tuple[str, str, str, int]
"""Request id, state, source, nano-dollars."""


@pytest.fixture
def scene(tmp_path: Path, simulator: Simulator, free_port: int) -> Scene:
    """Not begun."""
    return Scene(tmp_path, simulator, free_port, random.Random(20261124))


def url_of(address: Address) -> str:
    return f"sqlite:///{address.path}" if isinstance(address, SqliteAddress) else address.dsn


def rows(connection: Connection) -> list[Row]:
    columns = exchanges.c.request_id, exchanges.c.state, exchanges.c.source, exchanges.c.cost_nanousd
    return [tuple(row) for row in connection.execute(select(*columns))]


async def settled(database: Database) -> float:
    """Wait until nothing is open; returns how long that took."""
    since = time.monotonic()
    while any(state == "open" for _, state, _, _ in await database.read(rows)):
        assert time.monotonic() - since < SETTLED_S
        await asyncio.sleep(0.5)  # timed: a database tells nobody
    return time.monotonic() - since


async def test_a_crash_loses_nothing(scene: Scene, address: Address, soaking: bool) -> None:
    """Every answer of which a client saw content has its row, once; sums agree to the nano-dollar."""
    scene.write_config(url_of(address))
    await crash(scene, *((KILLS, PER_S, 2.0, 0) if soaking else (2, 60.0, 0.8, 11)))
    database = await open_database(address)
    try:
        found = {name: (state, source, cost) for name, state, source, cost in await database.read(rows)}
        count = len(await database.read(rows))
        content = {name for name, seen in scene.seen.items() if seen.content}
        closed = {name for name, seen in scene.seen.items() if seen.closed}
        assert count == len(found)
        assert content <= found.keys()
        assert closed <= {name for name, (state, _, _) in found.items() if state == "settled"}
        assert {name: found[name][1:] for name in closed} == {
            name: (Source.REPORTED.value, scene.seen[name].cost_nanousd) for name in closed
        }
        print(
            f"\n{address}: {len(scene.seen)} requests, {len(content)} with content, {len(closed)} closed, "
            f"{len(content - closed)} broken off; ready in {max(scene.ready_s):.2f} s at most"
        )
        assert len(closed) > 20
        if soaking:
            await _orphans_are_settled(scene, database)
    finally:
        await database.aclose()


async def _orphans_are_settled(scene: Scene, database: Database) -> None:
    """By the next process, once, soon."""
    # the first one had a database to make
    assert max(scene.ready_s[1:]) < READY_S
    async with scene.gateway():
        took_s = await settled(database)
    orphans = [cost for _, _, source, cost in await database.read(rows) if source == "estimated"]
    print(f"{len(orphans)} estimated, all settled after {took_s:.0f} s")
    assert orphans
    assert took_s < SETTLED_S
