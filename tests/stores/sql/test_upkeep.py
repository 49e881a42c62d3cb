"""What goes on beside the requests: orphans are settled and told, old rows go, trouble passes."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.instances import BEAT_S, DEAD_AFTER_S, Instances, InstanceTaken
from gateway.stores.sql.orphans import SettledOrphan
from gateway.stores.sql.schema import instances
from gateway.stores.sql.upkeep import DAY_S, Upkeep
from tests.stores.sql.rows import NOW_US, closing, exchanges_in, opening, write

ROUNDS = int(DEAD_AFTER_S / BEAT_S)


class Scene:
    """Upkeep of one process, with clocks that are set by hand."""

    def __init__(self, database: Database, retention_days: int | None) -> None:
        self.now_s = 0.0
        self.told: list[SettledOrphan] = []
        self.instances = Instances(database, "this", lambda: self.now_s, self.wall_s)
        self.upkeep = Upkeep(
            database, self.instances, LedgerSettings(retention_days=retention_days), self.wall_s, self.told.extend
        )

    def wall_s(self) -> float:
        return NOW_US / 1e6 + self.now_s

    async def settle(self, rounds: int) -> None:
        """So many rounds, in their rhythm."""
        for _ in range(rounds):
            await self.upkeep.settle()
            self.now_s += BEAT_S


@pytest.fixture
async def scene(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Scene]:
    """A process that has joined; it keeps rows for ever, unless the test says otherwise."""
    made = Scene(database, getattr(request, "param", None))
    await made.instances.join()
    yield made
    await made.upkeep.aclose()


async def test_orphans_are_settled_when_their_process_is_dead(database: Database, scene: Scene) -> None:
    """Once, and told to whoever keeps their holds; one's own rows are left alone."""
    lost, mine = opening(instance_id="dead"), opening(instance_id="this")
    await write(database, lost, mine)
    await scene.settle(ROUNDS)
    assert scene.told == []
    await scene.settle(ROUNDS)
    assert [one.orphan.exchange_id for one in scene.told] == [lost.exchange_id]
    found = await exchanges_in(database)
    assert (found[lost.exchange_id]["state"], found[mine.exchange_id]["state"]) == ("settled", "open")


async def test_what_was_settled_is_in_the_log(
    database: Database, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """How many, and how much."""
    await write(database, *(opening(instance_id="dead") for _ in range(2)))
    await scene.settle(ROUNDS + 1)
    assert "settled 2 exchanges of processes that died, 200000 nano-dollars by estimate" in caplog.text


@pytest.mark.parametrize("scene", [32], indirect=True)
async def test_old_rows_go(database: Database, scene: Scene) -> None:
    """As many days after their opening as the settings say."""
    row = closing(opening(opened_at_us=NOW_US))
    await write(database, row)
    scene.now_s = 32 * DAY_S
    await scene.upkeep.sweep()
    assert len(await exchanges_in(database)) == 1
    scene.now_s += 1
    await scene.upkeep.sweep()
    assert await exchanges_in(database) == {}


async def test_without_a_retention_nothing_goes(database: Database, scene: Scene) -> None:
    """However old it is."""
    await write(database, closing(opening(opened_at_us=0)))
    await scene.upkeep.sweep()
    assert len(await exchanges_in(database)) == 1


@pytest.mark.parametrize("retention_days", [None, 32])
async def test_goes_on_by_itself_until_it_is_closed(database: Database, retention_days: int | None) -> None:
    """It joins, works in rounds, and leaves."""
    query = select(instances.c.instance_id, instances.c.beats)
    made = Scene(database, retention_days)
    old = closing(opening(opened_at_us=0))
    await write(database, old)
    await made.upkeep.start()
    while await database.read(lambda connection: list(map(tuple, connection.execute(query)))) != [("this", 1)]:
        pass  # a round of the database's own, until the first of the upkeep's
    while retention_days and await exchanges_in(database):
        pass  # and until the sweep has come
    await made.upkeep.aclose()
    assert await database.read(lambda connection: connection.execute(query).all()) == []
    assert len(await exchanges_in(database)) == (0 if retention_days else 1)


async def test_does_not_begin_under_a_name_that_is_taken(scene: Scene, database: Database) -> None:
    """Whoever has it would be thought alive for ever."""
    with pytest.raises(InstanceTaken):
        await Scene(database, None).upkeep.start()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(DatabaseDown("it is locked"), "upkeep waits: it is locked"), (KeyError("x"), "upkeep failed")],
)
async def test_trouble_passes(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
    said: str,
) -> None:
    """The next round works; waiting is said once."""
    monkeypatch.setattr("gateway.stores.sql.upkeep.BEAT_S", 0.001)
    made = Scene(database, None)
    rounds, worked = 0, asyncio.Event()
    beat = made.instances.beat

    async def fail_twice() -> list[str]:
        nonlocal rounds
        rounds += 1
        if rounds <= 2:
            raise trouble
        worked.set()
        return await beat()

    monkeypatch.setattr(made.instances, "beat", fail_twice)
    with caplog.at_level(logging.WARNING):
        await made.upkeep.start()
        await worked.wait()
        await made.upkeep.aclose()
    assert caplog.text.count(said) == (1 if isinstance(trouble, DatabaseDown) else 2)
