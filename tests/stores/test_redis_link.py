"""The way to Redis: what a dead, frozen or refusing one costs, and how it is found again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from gateway.stores import redis_link as module
from gateway.stores.redis_link import BREAKER, COMMAND_S, PROBE_EVERY_S, RedisGone, RedisLink
from gateway.stores.redis_scripts import Script
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]

ECHO_BODY, NO_CLOCK = "return {ARGV[1], whole(now)}", "local function clock() return 0 end"
ECHO = Script(ECHO_BODY, NO_CLOCK)
CROWD = 40


class HandClock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> HandClock:
    """Of the breaker."""
    return HandClock()


@pytest.fixture
async def link(redis_server: RedisServer, clock: HandClock) -> AsyncIterator[RedisLink]:
    """A link with a connection."""
    link = RedisLink(redis_server.url, clock, command_s=0.5)
    assert (await link.run(ECHO, "key", "warm"))[0] == b"warm"
    clock.now_s += 1
    yield link
    await link.aclose()


async def crowd(link: RedisLink) -> list[object]:
    """Many requests at once."""
    return await asyncio.gather(*(link.run(ECHO, "key", n) for n in range(CROWD)), return_exceptions=True)


async def connected(link: RedisLink) -> None:
    """Wait until a request has its connection."""
    while not link._pool._in_use_connections:  # noqa: ASYNC110
        await asyncio.sleep(0)  # timed: the pool of redis-py gives no event


def test_the_bounds_are_those_that_are_promised() -> None:
    """50 ms for a request, a second between connections, few waits before the rest are spared."""
    assert (COMMAND_S, PROBE_EVERY_S) == (0.05, 1.0)
    assert BREAKER.consecutive_failures <= 3
    assert BREAKER.cooldown_s == BREAKER.max_cooldown_s == PROBE_EVERY_S


async def test_a_frozen_redis_costs_one_wait_and_then_nothing(
    redis_server: RedisServer, link: RedisLink, clock: HandClock
) -> None:
    """Each of a crowd waits once, together; who comes after them is told at once and sends nothing."""
    redis_server.pause()
    try:
        began_s = time.monotonic()
        answers = await crowd(link)
        took_s = time.monotonic() - began_s
        assert all(isinstance(answer, RedisGone) and answer.doubtful for answer in answers)
        assert 0.5 <= took_s < 5
        assert not link.is_open_to
        waits = link.waits
        answers = await crowd(link)
        assert all(isinstance(answer, RedisGone) and not answer.doubtful for answer in answers)
        assert link.waits == waits <= CROWD
        assert not await link.probe()
        clock.now_s += PROBE_EVERY_S
        assert not await link.probe()
    finally:
        redis_server.resume()
    clock.now_s += PROBE_EVERY_S
    assert await link.probe()
    assert [answer[0] for answer in await crowd(link)] == [str(n).encode() for n in range(CROWD)]  # type: ignore[index]


async def test_a_dead_redis_is_tried_by_one_connection_a_second() -> None:
    """However many requests and beats come meanwhile."""
    connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    clock = HandClock()
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        link = RedisLink(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", clock, command_s=5)
        clock.now_s += 1
        while link.is_open_to:
            with pytest.raises(RedisGone):
                await link.run(ECHO, "key", 1)
        assert connections <= BREAKER.consecutive_failures
        before = connections
        for second in range(1, 4):
            clock.now_s += PROBE_EVERY_S
            for _ in range(20):
                await asyncio.gather(link.probe(), link.probe(), crowd(link))
            assert connections - before <= second
        assert connections - before >= 1
        await link.aclose()


async def test_what_was_run_is_told_with_its_time(redis_server: RedisServer) -> None:
    """By name, whether there was an answer or an error; what was not asked is not told."""
    told: list[tuple[str, float]] = []
    link = RedisLink(redis_server.url, time.monotonic, command_s=5, observe=lambda *run: told.append(run))
    named = Script(ECHO_BODY, NO_CLOCK, "echo")
    broken = Script("return redis.call('NO SUCH COMMAND')", NO_CLOCK, "broken")
    async with aclosing(link):
        await link.run(named, "key", 1)
        with pytest.raises(RedisGone):
            await link.run(broken, "key")
        assert [name for name, _ in told] == ["echo", "broken"]
        assert all(0 < seconds < 5 for _, seconds in told)
        redis_server.kill()
        try:
            while link.is_open_to:
                before = len(told)
                with pytest.raises(RedisGone):
                    await link.run(named, "key", 1)
                assert len(told) == before + 1
            with pytest.raises(RedisGone):
                await link.run(named, "key", 1)
            assert len(told) == before + 1
        finally:
            redis_server.start()


async def test_a_killed_redis_is_found_again(redis_server: RedisServer, link: RedisLink, clock: HandClock) -> None:
    """By a probe; without its scripts, which it is sent again."""
    redis_server.kill()
    try:
        while link.is_open_to:
            with pytest.raises(RedisGone):
                await link.run(ECHO, "key", 1)
    finally:
        redis_server.start()
    clock.now_s += PROBE_EVERY_S
    assert await link.probe()
    assert (await link.run(ECHO, "key", "back"))[0] == b"back"


async def test_a_late_process_does_not_blame_redis(
    redis_server: RedisServer, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop was busy for longer than the bound; what Redis was not even asked yet, it is asked then."""
    monkeypatch.setattr(module, "GRACE_S", 20)
    link = RedisLink(redis_server.url, clock, command_s=0.01)
    asked = asyncio.create_task(link.run(ECHO, "key", "busy"))
    await asyncio.sleep(0)  # timed: the request begins, and is not yet connected
    time.sleep(  # noqa: ASYNC251
        0.1  # timed: the standstill itself
    )
    assert (await asked)[0] == b"busy"
    assert link.waits == 0
    await link.aclose()


async def test_who_leaves_takes_no_answer_from_others(redis_server: RedisServer, link: RedisLink) -> None:
    """A cancelled request says nothing about Redis, and its connection is not used again."""
    redis_server.pause()
    leaving = asyncio.create_task(link.run(ECHO, "key", "mine"))
    await connected(link)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    redis_server.resume()
    assert link.is_open_to
    assert [answer[0] for answer in await crowd(link)] == [str(n).encode() for n in range(CROWD)]  # type: ignore[index]


async def test_an_error_of_one_call_is_no_outage(link: RedisLink) -> None:
    """A broken script or a key of another type; others go on."""
    broken = Script(
        "return redis.call('LPUSH', KEYS[1], 1) and redis.call('GET', KEYS[1])", "local function clock() end"
    )
    for _ in range(20):
        with pytest.raises(RedisGone) as caught:
            await link.run(broken, "list", "x")
        assert caught.value.refused
    assert link.refusals == 20
    assert link.is_open_to


async def test_a_redis_without_memory_is_an_outage(redis_server: RedisServer, link: RedisLink) -> None:
    """It answers at once, and to nobody."""
    writing = Script("redis.call('SET', KEYS[1], 1) return {ARGV[1]}", "local function clock() end")
    with redis_server.client() as look:
        look.config_set("maxmemory", 1)
        try:
            while link.is_open_to:
                with pytest.raises(RedisGone):
                    await link.run(writing, "key", 1)
        finally:
            look.config_set("maxmemory", 0)
