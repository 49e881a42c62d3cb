"""Limits and budgets in a real Redis, for one process and for three whose clocks differ: the contract, and more."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from redis import Redis
from redis.crc import key_slot

from gateway.core.period import Period
from gateway.core.quota import Ask, Denied, Grant, Limit, Limits, QuotasUnavailable, Scope, Settled
from gateway.stores.redis_link import RedisGone, RedisLink
from gateway.stores.redis_quotas import RedisQuotas
from tests.redis_server import RedisServer, redis_server
from tests.stores.quota_contract import QuotaContract, admit, ask, budget, in_flight, money, refuse, scope
from tests.stores.redis_house import PATIENCE_S, RedisHouse, open_house, skewed

__all__ = ["redis_server"]

HOSTILE = ("}{", "a}:x:b", "", "a:b", "'; return {}", "\r\nFLUSHALL\r\n", "é\x00", "\ud800", "%7D", "a" * 500)


class TestRedisQuotas(QuotaContract):
    """The suite."""

    @pytest.fixture(params=[1, 3])
    async def house(self, redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisHouse]:
        async with open_house(redis_server, request.param, time.time) as house:
            yield house


@pytest.fixture
async def house(redis_server: RedisServer) -> AsyncIterator[RedisHouse]:
    """Three processes."""
    async with open_house(redis_server, 3, time.time) as house:
        yield house


@pytest.fixture
async def plain(redis_server: RedisServer) -> AsyncIterator[RedisQuotas]:
    """One process as in production, on Redis' own clock, without a ledger."""
    async with open_house(redis_server, 0, time.time):
        quotas = RedisQuotas(RedisLink(redis_server.url, time.monotonic, command_s=PATIENCE_S), time.time)
        yield quotas
        await quotas.aclose()


def calls(server: RedisServer) -> tuple[int, int]:
    """EVALSHA and EVAL so far."""
    with server.client() as look:
        stats = look.info("commandstats")
    return tuple(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def contents(look: Redis, key: str) -> object:
    """What is in a key of ours."""
    kind = look.type(key)
    if kind == "hash":
        return look.hgetall(key)
    return look.zrange(key, 0, -1, withscores=True) if kind == "zset" else kind


async def test_every_verb_is_one_round_trip(redis_server: RedisServer, plain: RedisQuotas) -> None:
    """Whatever the number of scopes; the first ever, and a Redis that forgot its scripts, take a second."""
    of = [scope(Limits(600, 60_000, 9), budget(10**9)) for _ in range(3)]
    for forgotten in (True, False):
        if forgotten:
            with redis_server.client() as look:
                look.script_flush()
        grant: list[Grant] = []
        verbs: list[Callable[[], Awaitable[object]]] = [
            lambda: admit(plain, ask(*of, tokens=10, hold=100)),
            lambda: plain.top_up(grant[0], 5),  # noqa: B023
            lambda: plain.renew(grant),  # noqa: B023
            lambda: plain.settle(grant[0], 7, 70),  # noqa: B023
        ]
        for verb in verbs:
            before = calls(redis_server)
            result = await verb()
            grant += [result] if isinstance(result, Grant) else []
            after = calls(redis_server)
            assert (after[0] - before[0], after[1] - before[1]) == (1, int(forgotten))
    before = calls(redis_server)
    free = await admit(plain, ask())
    assert await plain.settle(free, 1, 1) == Settled(True)
    assert calls(redis_server) == before


async def test_names_neither_collide_nor_break_out(redis_server: RedisServer, plain: RedisQuotas) -> None:
    """All keys of a tenant are in one slot of a cluster, and no two tenants, scopes or exchanges share one."""
    of = {(t, k): Scope(f"key/{t}/{k}", k, Limits(concurrent=5), budget(1000)) for t in HOSTILE for k in HOSTILE}
    for (tenant, key), its in of.items():
        asked = Ask(f"{tenant}{key}", tenant, (its,), 0, 10)
        grant = await admit(plain, asked)
        assert await plain.top_up(grant, 1)
        await plain.renew([grant])
        assert (await in_flight(plain, its), await money(plain, its)) == (1, (0, 11))
        await plain.settle(grant, 0, 7)
        assert (await in_flight(plain, its), await money(plain, its)) == (0, (7, 0))
    with redis_server.client() as look:
        keys: list[str] = look.keys()
    assert len({key.split(":")[1] for key in keys}) == len(HOSTILE)
    for tag in {key.split(":")[1] for key in keys}:
        assert len({key_slot(key.encode()) for key in keys if key.split(":")[1] == tag}) == 1


async def test_nothing_stays_for_ever(redis_server: RedisServer, plain: RedisQuotas) -> None:
    """Every key has an end, while its exchange runs and after; those of an exchange go with it."""
    of = [scope(Limits(60, 600, 9), budget(10**9, period)) for period in Period]
    grant = await admit(plain, ask(*of, tokens=5000, hold=100))
    await plain.announce("one")
    with redis_server.client() as look:
        for _ in range(2):
            keys: list[str] = look.keys()
            assert all(0 < look.pttl(key) <= 35 * 86400 * 1000 for key in keys)
            await plain.renew([grant])
            await plain.settle(grant, 9000, 200)
        assert {key.split(":")[2] for key in keys if "{" in key} == {"m", "b"}
        # What is owed is not forgotten: 9000 tokens at 10 a second.
        meter = next(key for key in keys if ":m:" in key)
        assert look.pttl(meter) >= 890_000


async def test_money_is_exact_beyond_what_a_double_holds(plain: RedisQuotas) -> None:
    """To the nano-dollar, at a billion dollars."""
    large = 10**18
    of = scope(None, budget(large))
    most = await admit(plain, ask(of, hold=large - 3))
    assert not await plain.top_up(most, 4)
    assert await plain.top_up(most, 1)
    last = await admit(plain, ask(of, hold=2))
    await refuse(plain, ask(of, hold=1))
    await plain.settle(most, 0, large - 3)
    assert await money(plain, of) == (large - 3, 2)
    await admit(plain, ask(of, hold=1))
    assert (await refuse(plain, ask(of, hold=1))).limit is Limit.BUDGET
    with pytest.raises(ValueError, match="or less"):
        await plain.settle(last, 0, large + 1)


async def test_what_others_planted_changes_nothing(redis_server: RedisServer, plain: RedisQuotas) -> None:
    """A key of another type: an error with a name, no half of a verb, and other tenants do not notice."""
    of, free = scope(Limits(60, 600, 9), budget(1000)), scope(Limits(concurrent=5), tenant="beta")
    running = await admit(plain, ask(of, tokens=5, hold=100))
    with redis_server.client() as look:
        keys: list[str] = [key for key in look.scan_iter() if "{" in key]
        assert len(keys) == 5
        for key in keys:
            before = {other: contents(look, other) for other in keys if other != key}
            look.rename(key, "kept")
            look.set(key, "planted")
            refused = 0
            verbs: list[Callable[[], Awaitable[object]]] = [
                lambda: plain.admit(ask(of, tokens=5, hold=1000)),
                lambda: plain.top_up(running, 10_000),
                lambda: plain.standing(of),
            ]
            for verb in verbs:
                try:
                    await verb()
                except RedisGone as gone:
                    refused += gone.refused
            assert refused or ":x:" in key
            assert {other: contents(look, other) for other in keys if other != key} == before
            await admit(plain, Ask(f"b{key}", "beta", (free,), 0, 0))
            look.rename("kept", key)
    assert (await plain.settle(running, 5, 50)).first
    assert await money(plain, of) == (50, 0)


async def test_an_ending_passes_by_a_budget_that_is_no_more(redis_server: RedisServer, plain: RedisQuotas) -> None:
    """Its slot and its other scopes are settled all the same."""
    of, other = scope(Limits(concurrent=5), budget(1000)), scope(None, budget(1000))
    running = await admit(plain, ask(of, other, hold=100))
    with redis_server.client() as look:
        planted: list[str] = look.keys(f"*b:{of.key.replace('/', '%2F')}:*")
        look.set(planted[0], "planted")
    assert (await plain.settle(running, 0, 60)).first
    assert await money(plain, other) == (60, 0)


async def test_many_that_find_a_budget_missing_fill_it_once(house: RedisHouse) -> None:
    """From three processes at the same time; the first figure that arrives counts for all."""
    of = scope(None, budget(1000))
    house.ledger[of.key] = 400
    answers = await asyncio.gather(*(house.replicas[n % 3].admit(ask(of, hold=100)) for n in range(30)))
    assert sum(isinstance(answer, Grant) for answer in answers) == 6
    assert await money(house.replicas[0], of) == (400, 600)


async def test_without_the_ledger_nobody_is_admitted_unknown(house: RedisHouse) -> None:
    """An error, not a refusal, and not for who has no budget; the next request asks again."""
    of, free = scope(None, budget(100)), scope(Limits(concurrent=1))
    house.trouble = OSError("gone")
    with pytest.raises(QuotasUnavailable, match="what the key `web` has spent cannot be read"):
        await house.replicas[0].admit(ask(free, of, hold=30))
    await admit(house.replicas[0], ask(free))
    house.trouble = None
    await admit(house.replicas[0], ask(of, hold=30))


@pytest.mark.parametrize("verb", ["settle", "renew", "top_up", "withdraw"])
async def test_a_redis_that_lost_its_memory_ends_up_exact(
    redis_server: RedisServer, house: RedisHouse, verb: str
) -> None:
    """What runs is in the ledger's figure by its hold; it is told again, and its hold becomes its cost."""
    of = scope(Limits(concurrent=5), budget(1000))
    first, other = house.replicas[0], house.replicas[1]
    running, later = await admit(first, ask(of, hold=300)), await admit(other, ask(of, hold=100))
    with redis_server.client() as look:
        look.flushdb()
    house.ledger[of.key] = 400 + 50
    if verb == "renew":
        await first.renew([running])
        assert (await in_flight(first, of), await money(first, of)) == (1, (150, 300))
    elif verb == "top_up":
        assert await first.top_up(running, 20)
        assert await money(first, of) == (150, 320)
    elif verb == "withdraw":
        await first.withdraw(running)
        assert await money(first, of) == (150, 0)
    if verb != "withdraw":
        assert (await first.settle(running, 0, 30)).first
        assert await money(first, of) == (180, 0)
    assert (await other.settle(later, 0, 20)).first
    assert await money(first, of) == ((50 if verb == "withdraw" else 80) + 20, 0)
    assert await in_flight(first, of) == 0


async def test_a_threshold_is_told_to_who_settles_for_another(house: RedisHouse) -> None:
    """With the budget as it was when the exchange began."""
    of = scope(Limits(concurrent=2), budget(1000, soft_at=(0.5,)))
    lost = await admit(house.replicas[0], ask(of, hold=600))
    (crossing,) = (await house.replicas[1].settle_orphan("acme", lost.exchange_id, 600)).crossed
    assert (crossing.scope, crossing.threshold) == (replace(of, limits=None), 0.5)
    assert crossing.funds == (await house.replicas[2].standing(of)).funds


async def test_an_ended_exchange_cannot_begin_by_a_late_command(house: RedisHouse) -> None:
    """What was sent and never answered may be carried out after its exchange was ended by name."""
    of = scope(Limits(concurrent=2), budget(1000))
    asked = ask(of, hold=600)
    assert await house.replicas[0].end("acme", asked.exchange_id, None, None, bury=True) == Settled(False)
    with pytest.raises(QuotasUnavailable):
        await house.replicas[1].admit(asked)
    assert not await house.replicas[1].adopt(asked, 600, house.replicas[1].now_us)
    assert (await in_flight(house.replicas[0], of), await money(house.replicas[0], of)) == (0, (0, 0))


async def test_replicas_are_counted_while_they_speak(house: RedisHouse) -> None:
    """Who is silent or has gone is not."""
    for n, replica in enumerate(house.replicas):
        assert await replica.announce(f"r{n}") == n + 1
    assert await house.replicas[0].announce("r1", goes=True) == 2
    await house.wait(10)
    assert await house.replicas[0].announce("r0") == 2
    await house.wait(10)
    assert await house.replicas[0].announce("r0") == 1


async def test_rates_hold_in_real_time_over_three_processes(redis_server: RedisServer) -> None:
    """On Redis' own clock: never more than burst + rate x time, and all of it where somebody always asks.

    Each answer falls between two looks at that clock: it is judged to the token, however slow the machine is.
    """
    burst, rate_per_s, rounding, admitted = 20, 100, 0.01, 0
    async with open_house(redis_server, 0, time.time):
        of = scope(Limits(requests_per_minute=60 * rate_per_s, burst=burst))
        trio = [
            RedisQuotas(RedisLink(redis_server.url, time.monotonic, command_s=PATIENCE_S), skewed(time.time, by_s))
            for by_s in (0, 5, -5)
        ]
        with redis_server.client() as look:
            began_s = before_s = after_s = _seconds(look.time())
            # What is in the bucket, at least and at most, and when it was so: at the latest and at the earliest.
            least, least_s, most, most_s = float(burst), began_s, float(burst), began_s
            while before_s < began_s + 1.5:
                for quotas in trio:
                    before_s = _seconds(look.time())
                    answer = await quotas.admit(ask(of))
                    after_s = _seconds(look.time())
                    if most + rate_per_s * (after_s - most_s) >= burst:  # it may have been full, and run over
                        least = min(burst, least + rate_per_s * max(0.0, before_s - least_s))
                        least_s, most, most_s = after_s, burst, before_s
                    if isinstance(answer, Denied):
                        assert least + rate_per_s * max(0.0, before_s - least_s) < 1 + rounding
                        await asyncio.sleep(0.002)  # timed: five times the rate, not more
                    else:
                        assert most + rate_per_s * (after_s - most_s) > 1 - rounding
                        admitted, least, most = admitted + 1, least - 1, most - 1
                        await quotas.settle(answer, 0, 0)
        for quotas in trio:
            await quotas.aclose()
        assert admitted <= burst + rate_per_s * (after_s - began_s) + rounding


def _seconds(of: tuple[int, int]) -> float:
    return of[0] + of[1] / 1e6
