"""Which processes live: by numbers that grow under a steady look, never by anybody's clock."""

import asyncio
from collections.abc import Mapping

import pytest
from sqlalchemy import delete, select

from gateway.stores.sql.database import Database
from gateway.stores.sql.instances import BEAT_S, DEAD_AFTER_S, MAX_GAP_S, Instances, InstanceTaken, Watch
from gateway.stores.sql.schema import instances
from tests.stores.sql.rows import closing, opening, write

WALL_S = 1_700_000_000.5


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def dead_after(watch: Watch, seconds: float, beats: Mapping[str, int | None], since_s: float = 0.0) -> list[str]:
    """Who is dead after so many seconds of looking at the same numbers, every beat."""
    dead: list[str] = []
    looks = round(seconds / BEAT_S)
    for look in range(looks + 1):
        dead = watch.look(since_s + look * BEAT_S, beats)
    return dead


def test_silence_is_death_after_its_time() -> None:
    """Not a beat earlier."""
    assert dead_after(Watch(), DEAD_AFTER_S - BEAT_S, {"a": 7}) == []
    assert dead_after(Watch(), DEAD_AFTER_S, {"a": 7}) == ["a"]


def test_who_was_known_by_rows_alone_dies_too() -> None:
    """A process that never said that it lives."""
    assert dead_after(Watch(), DEAD_AFTER_S, {"a": None}) == ["a"]


def test_a_sign_of_life_begins_anew() -> None:
    """Whatever the number, if only it is another."""
    watch = Watch()
    dead_after(watch, DEAD_AFTER_S - BEAT_S, {"a": 7, "b": 1})
    assert watch.look(DEAD_AFTER_S, {"a": 8, "b": 1}) == ["b"]
    assert dead_after(watch, DEAD_AFTER_S - BEAT_S, {"a": 8}, DEAD_AFTER_S) == []
    assert dead_after(watch, BEAT_S, {"a": 8}, 2 * DEAD_AFTER_S - BEAT_S) == ["a"]


def test_nobody_is_dead_because_nobody_looked() -> None:
    """While the database is away nobody can say that they live; who looks again gives them their time."""
    watch = Watch()
    assert watch.look(0, {"a": 7}) == []
    assert watch.look(3600, {"a": 7}) == []
    assert dead_after(watch, DEAD_AFTER_S - BEAT_S, {"a": 7}, 3600) == []
    watch = Watch()
    dead_after(watch, DEAD_AFTER_S - BEAT_S, {"a": 7})
    assert watch.look(DEAD_AFTER_S - BEAT_S + MAX_GAP_S, {"a": 7}) == ["a"]


def test_who_comes_back_after_it_was_forgotten_is_new() -> None:
    """Its time begins when it is seen again."""
    watch = Watch()
    dead_after(watch, DEAD_AFTER_S, {"a": 7})
    watch.look(DEAD_AFTER_S + BEAT_S, {})
    assert watch.look(DEAD_AFTER_S + 2 * BEAT_S, {"a": 7}) == []


def process(database: Database, name: str, time: Time) -> Instances:
    return Instances(database, name, time, lambda: WALL_S)


async def beats_in(database: Database) -> dict[str, int]:
    query = select(instances.c.instance_id, instances.c.beats)
    return dict(await database.read(lambda connection: list(map(tuple, connection.execute(query)))))


async def test_processes_see_each_other(database: Database) -> None:
    """Who joins and beats lives; who has left is no concern of anybody."""
    time = Time()
    one, other = process(database, "one", time), process(database, "other", time)
    await one.join()
    await other.join()
    for _ in range(10):
        time.now_s += BEAT_S
        assert await one.beat() == []
        assert await other.beat() == []
    assert await beats_in(database) == {"one": 10, "other": 10}
    await other.leave()
    for _ in range(10):
        time.now_s += BEAT_S
        assert await one.beat() == []


async def test_a_process_that_stops_is_found(database: Database) -> None:
    """By the others, after half a minute of their looking."""
    time = Time()
    one, other = process(database, "one", time), process(database, "other", time)
    await one.join()
    await other.join()
    found = []
    for _ in range(int(DEAD_AFTER_S / BEAT_S) + 1):
        found.append(await one.beat())
        time.now_s += BEAT_S
    assert found == [[]] * int(DEAD_AFTER_S / BEAT_S) + [["other"]]


async def test_a_process_that_was_forgotten_in_a_long_sleep_is_there_again(database: Database) -> None:
    """It says that it lives, as if it had joined."""
    process_asleep = process(database, "one", Time())
    await process_asleep.join()
    await database.write(lambda connection: connection.execute(delete(instances)))
    assert await process_asleep.beat() == []
    assert await beats_in(database) == {"one": 0}


async def test_a_process_that_has_left_does_not_come_back(database: Database) -> None:
    """By a beat that was given up when it left, and that a thread carries out all the same."""
    leaving = process(database, "one", Time())
    await leaving.join()
    await leaving.leave()
    assert await leaving.beat() == []
    assert await beats_in(database) == {}


async def test_rows_without_a_process_are_found(database: Database) -> None:
    """One that wrote and died before it said that it lived again; settled rows concern nobody."""
    await write(database, opening(instance_id="ghost"), closing(opening(instance_id="done")))
    time = Time()
    one = process(database, "one", time)
    await one.join()
    for _ in range(int(DEAD_AFTER_S / BEAT_S) + 1):
        dead = await one.beat()
        time.now_s += BEAT_S
    assert dead == ["ghost"]


async def test_a_name_is_taken_once(database: Database) -> None:
    """The rows of the one before would never be settled."""
    await process(database, "one", Time()).join()
    with pytest.raises(InstanceTaken, match="make one at each start"):
        await process(database, "one", Time()).join()


async def test_many_beat_at_once(database: Database) -> None:
    """None is held up by another."""
    replicas = [process(database, f"replica {n}", Time()) for n in range(8)]
    await asyncio.gather(*(replica.join() for replica in replicas))
    await asyncio.gather(*(replica.beat() for replica in replicas))
    assert await beats_in(database) == {f"replica {n}": 1 for n in range(8)}
