"""The scripts in a real Redis, where no verb reaches: how money is compared, and what a script is called."""

import time
from hashlib import sha1

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.quota import LEASE_S, Limit, Limits
from gateway.stores.redis_scripts import REDIS_CLOCK, Script, Scripts
from tests.redis_server import RedisServer, redis_server
from tests.stores.quota_contract import admit, ask, budget, refuse, scope
from tests.stores.redis_house import open_house

__all__ = ["redis_server"]

WITHIN = Script("return within(ARGV[3], ARGV[4], ARGV[5], ARGV[6]) and 1 or 0", REDIS_CLOCK)
FIGURE = st.integers(0, 2 * 10**18) | st.integers(0, 3 * 10**9)


@given(a=FIGURE, b=FIGURE, c=FIGURE, off=st.integers(-2, 2))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_are_compared_to_the_nano_dollar(redis_server: RedisServer, a: int, b: int, c: int, off: int) -> None:
    """However large, and just above and below the limit."""
    limit = max(0, a + b + c + off)
    with redis_server.client() as client:
        assert client.eval(WITHIN.text, 1, "k", "P", "id", limit, a, b, c) == int(a + b + c <= limit)


def test_a_script_is_known_by_its_digest(redis_server: RedisServer) -> None:
    """The one that Redis computes; another clock is another script."""
    scripts, others = Scripts(), Scripts("local function clock() return 0 end")
    with redis_server.client() as client:
        for name in Scripts.__annotations__ or vars(scripts):
            script = getattr(scripts, name)
            assert client.script_load(script.text) == script.sha != getattr(others, name).sha
            assert script.sha == sha1(script.text.encode(), usedforsecurity=False).hexdigest()


def test_the_clock_cannot_be_handed_in() -> None:
    """No script reads the time from anywhere but Redis."""
    assert "redis.call('TIME')" in REDIS_CLOCK
    for script in vars(Scripts()).values():
        assert script.text.count("clock()") == REDIS_CLOCK.count("clock()") + 1


async def test_a_clock_that_is_put_back_stops_nobody(redis_server: RedisServer) -> None:
    """The bucket goes on from what was in it; a budget does not begin again."""
    async with open_house(redis_server, 1, time.time) as house:
        (quotas,) = house.replicas
        of = scope(Limits(requests_per_minute=60, burst=2), budget(1000))
        for _ in range(2):
            await quotas.settle(await admit(quotas, ask(of, hold=100)), 0, 100)
        await house.wait(-1800)
        told = await refuse(quotas, ask(of))
        assert told.retry_after_s is not None
        assert told.retry_after_s <= 1
        await house.wait(told.retry_after_s)
        await admit(quotas, ask(of, hold=800))
        await house.wait(60)
        assert (await refuse(quotas, ask(of, hold=1))).limit is Limit.BUDGET


async def test_slots_that_lapsed_take_no_memory(redis_server: RedisServer) -> None:
    """They go when the next one is taken, with their scope for ever in use."""
    async with open_house(redis_server, 1, time.time) as house:
        (quotas,) = house.replicas
        of = scope(Limits(concurrent=100))
        for _ in range(10):
            await admit(quotas, ask(of))
            await house.wait(LEASE_S + 1)
        with redis_server.client() as look:
            assert [look.zcard(key) for key in look.scan_iter("*:s:*")] == [1]


@pytest.mark.parametrize("word", ["KEYS *", "'KEYS'", "FLUSH", "'SCAN'"])
def test_nothing_looks_through_all_of_redis(word: str) -> None:
    """It may be large, and is not ours alone."""
    assert all(word not in script.text for script in vars(Scripts()).values())
