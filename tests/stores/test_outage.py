"""Limits and budgets while Redis is frozen, killed or full of rubbish: who decides, and what Redis knows afterwards.

Long because it is one story, told from its beginnings to its ends.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.core.quota import Ask, Denied, Grant, Limit, Limits, QuotasUnavailable, Settled
from gateway.stores.outage import OutageQuotas
from gateway.stores.redis_link import RedisGone
from tests.redis_server import RedisServer, redis_server
from tests.stores.outage_house import OutageHouse, open_house
from tests.stores.quota_contract import admit, ask, budget, in_flight, money, refuse, scope

__all__ = ["redis_server"]


@pytest.fixture
async def house(redis_server: RedisServer) -> AsyncIterator[OutageHouse]:
    """Three replicas that decide by their shares."""
    async with open_house(redis_server, 3, "local") as house:
        yield house


async def test_while_redis_answers_it_decides(house: OutageHouse) -> None:
    """For all replicas; what it decided it settles."""
    of = scope(Limits(concurrent=2), budget(100, soft_at=(0.5,)))
    one, two, three = house.replicas
    grant, other = await admit(one, ask(of, hold=40)), await admit(two, ask(of, hold=40))
    assert (await refuse(three, ask(of))).limit is Limit.CONCURRENT
    await three.renew([grant])
    assert await one.top_up(grant, 20)
    (crossing,) = (await one.settle(grant, 0, 60)).crossed
    assert (crossing.scope, crossing.threshold) == (of, 0.5)
    assert not (await one.settle(grant, 0, 60)).first
    await two.withdraw(other)
    assert (await money(three, of), await in_flight(three, of)) == ((60, 0), 0)
    assert [quotas.replicas for quotas in house.replicas] == [3, 3, 3]
    assert [quotas.counts.local for quotas in house.replicas] == [0, 0, 0]


async def test_without_redis_each_decides_by_its_share(house: OutageHouse) -> None:
    """A third of what is left: together no more than the budget, and nothing of it is lost or counted twice."""
    of = scope(Limits(requests_per_minute=60, burst=12, concurrent=30), budget(1000))
    before = await house.begin(house.replicas[0], ask(of, hold=100))
    assert isinstance(before, Grant)
    await house.lose()
    grants: list[tuple[OutageQuotas, Grant]] = [(house.replicas[0], before)]
    for _ in range(4):
        answers = await asyncio.gather(*(house.begin(quotas, ask(of, hold=90)) for quotas in house.replicas))
        for quotas, answer in zip(house.replicas, answers, strict=True):
            if isinstance(answer, Grant):
                grants.append((quotas, answer))
            else:
                assert (answer.limit, answer.scope) == (Limit.BUDGET, of)
    # The first one's latest admission may not be in the ledger yet, for all it knows, so it counts it once more.
    assert [sum(whose is quotas for whose, _ in grants[1:]) for quotas in house.replicas] == [2, 3, 3]
    for quotas, grant in grants[::2]:
        assert await house.end(quotas, grant, 50) == Settled(True)
        assert await quotas.settle(grant, 0, 50) == Settled(False)
    await house.find()
    await house.beat()
    assert await money(house.replicas[0], of) == (250, 360)
    assert await in_flight(house.replicas[0], of) == 4
    for quotas, grant in grants[1::2]:
        assert await house.end(quotas, grant, 60) == Settled(True)
    for quotas in house.replicas:
        assert await money(quotas, of) == (490, 0)
        assert await in_flight(quotas, of) == 0
        assert (len(quotas.endings), quotas.endings.forgotten) == (0, 0)


async def test_a_budget_for_50_and_500_that_ask_while_redis_dies(redis_server: RedisServer, house: OutageHouse) -> None:
    """Killed in the middle and started with nothing: no more than the budget, no error, nothing held in the end."""
    of = scope(Limits(concurrent=400), budget(50_000))
    killed = asyncio.Event()
    spent, refused = 0, 0

    async def request(n: int) -> None:
        nonlocal spent, refused
        quotas = house.replicas[n % 3]
        if n >= 150:
            await killed.wait()
        answer = await house.begin(quotas, ask(of, hold=1000))
        if isinstance(answer, Denied):
            refused += 1
            return
        assert sum(nanousd for _, nanousd in house.rows.values()) <= 50_000
        if n % 2:
            await killed.wait()
        cost = n if n % 3 else 1000
        spent += cost
        assert (await house.end(quotas, answer, cost)).first

    async def die() -> None:
        while len(house.rows) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0)  # timed: until twenty are admitted
        redis_server.kill()
        killed.set()

    async with asyncio.TaskGroup() as group:
        for n in range(500):
            group.create_task(request(n))
        group.create_task(die())
    assert refused > 0
    redis_server.start()
    house.clock_s += 1
    for _ in range(3):
        await house.beat()
    assert all(quotas.up for quotas in house.replicas)
    for quotas in house.replicas:
        assert (await money(quotas, of), await in_flight(quotas, of)) == ((spent, 0), 0)
        assert len(quotas.endings) == 0
    left = 50_000 - spent
    await admit(house.replicas[0], ask(of, hold=left))
    await refuse(house.replicas[0], ask(of, hold=1))


async def test_a_frozen_redis_costs_each_request_one_wait_at_most(house: OutageHouse) -> None:
    """None fails; what it carries out when it goes on, unasked by then, holds nothing in the end."""
    of = scope(Limits(concurrent=300), budget(10**6))
    quotas = house.replicas[0]
    await quotas.withdraw(await admit(quotas, ask(of)))
    house.clock_s += 1
    house.server.pause()
    answers = await asyncio.gather(*(house.begin(quotas, ask(of, hold=10_000)) for _ in range(60)))
    grants = [answer for answer in answers if isinstance(answer, Grant)]
    assert len(grants) == 33
    assert sum(isinstance(answer, Denied) for answer in answers) == 27
    waits = quotas._redis.link.waits
    assert waits <= 60
    assert not quotas.up
    for grant in grants[:20]:
        assert (await house.end(quotas, grant, 5000)).first
    assert quotas._redis.link.waits == waits
    await house.find()
    await house.beat()
    assert await money(house.replicas[1], of) == (100_000, 130_000)
    for grant in grants[20:]:
        assert (await house.end(quotas, grant, 5000)).first
    assert await money(house.replicas[1], of) == (165_000, 0)
    assert await in_flight(house.replicas[1], of) == 0


async def test_an_answer_that_nobody_has_looked_at_yet_counts(house: OutageHouse) -> None:
    """Redis admitted one and died: the first decision without it waits for those that were asked before."""
    of = scope(None, budget(3000))
    quotas = house.replicas[0]
    redis, looked, asked_there = quotas._redis, asyncio.Event(), asyncio.Event()
    admitted = redis.admit

    async def late(asked: Ask) -> Grant | Denied:
        if asked_there.is_set():
            raise RedisGone("gone")
        asked_there.set()
        await looked.wait()
        return await admitted(asked)

    redis.admit = late  # type: ignore[assignment, method-assign]
    first = asyncio.create_task(house.begin(quotas, ask(of, hold=900)))
    await asked_there.wait()
    second = asyncio.create_task(house.begin(quotas, ask(of, hold=900)))
    await asyncio.wait([second], timeout=0.1)
    looked.set()
    assert isinstance(await first, Grant)
    assert isinstance(await second, Denied)
    assert await money(house.replicas[1], of) == (0, 900)


async def test_a_request_that_leaves_while_redis_is_asked_holds_nothing(house: OutageHouse) -> None:
    """Whether or not its command is carried out."""
    of = scope(Limits(concurrent=3), budget(1000))
    quotas = house.replicas[0]
    house.server.pause()
    leaving = asyncio.create_task(quotas.admit(ask(of, hold=700)))
    await asyncio.sleep(0.05)  # timed: so that the command is on its way; it need not be
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    house.server.resume()
    await house.beat()
    assert (await money(quotas, of), await in_flight(quotas, of)) == ((0, 0), 0)


async def test_what_runs_may_grow_without_redis(house: OutageHouse) -> None:
    """From this process' share, whoever admitted it; then its cost is what counts."""
    of = scope(Limits(concurrent=9), budget(1500))
    quotas = house.replicas[0]
    before = await house.begin(quotas, ask(of, hold=300))
    await house.lose()
    during = await house.begin(quotas, ask(of, hold=100))
    assert isinstance(before, Grant)
    assert isinstance(during, Grant)
    assert not await quotas.top_up(before, 1)
    assert not await quotas.top_up(during, 1)
    await house.end(quotas, during, 40)
    during = await house.begin(quotas, ask(of, hold=10))
    assert isinstance(during, Grant)
    assert await quotas.top_up(during, 20)
    assert await quotas.top_up(before, 30)
    assert not await quotas.top_up(before, 1)
    assert not await quotas.top_up(during, 1)
    await quotas.renew([before, during])
    await house.find()
    assert await quotas.top_up(during, 100)
    assert await money(quotas, of) == (40, 300 + 30 + 100)
    await house.end(quotas, before, 330)
    await house.end(quotas, during, 120)
    assert await money(quotas, of) == (490, 0)


async def test_withdrawn_without_redis_it_never_was(house: OutageHouse) -> None:
    """Neither what Redis had admitted nor what was admitted here."""
    of = scope(Limits(concurrent=5), budget(9000))
    quotas = house.replicas[0]
    before = await admit(quotas, ask(of, hold=300))
    await house.lose()
    asked = ask(of, hold=100)
    during = await admit(quotas, asked)
    await quotas.withdraw(before)
    await quotas.withdraw(during)
    await house.find()
    with pytest.raises(QuotasUnavailable, match="has ended"):
        await house.replicas[1].admit(asked)  # as a command that was sent before would ask
    assert (await money(quotas, of), await in_flight(quotas, of)) == ((0, 0), 0)


async def test_thresholds_that_redis_learns_of_late_are_told(house: OutageHouse) -> None:
    """Once, of the whole budget."""
    of = scope(None, budget(900, soft_at=(0.2, 0.9)))
    await admit(house.replicas[0], ask(of))
    await house.lose()
    for quotas in house.replicas:
        grant = await house.begin(quotas, ask(of, hold=200))
        assert isinstance(grant, Grant)
        assert await house.end(quotas, grant, 100) == Settled(True)
    await house.find()
    assert [(crossing.scope.key, crossing.threshold) for crossing in house.crossed] == [(of.key, 0.2)]


async def test_without_ledger_and_redis_what_costs_is_not_admitted(house: OutageHouse) -> None:
    """What has limits alone is."""
    await house.lose()
    house.trouble = OSError("gone")
    with pytest.raises(QuotasUnavailable, match="cannot be read"):
        await house.replicas[0].admit(ask(scope(None, budget(900)), hold=1))
    await admit(house.replicas[0], ask(scope(Limits(concurrent=1))))


async def test_one_line_for_each_change(house: OutageHouse, caplog: pytest.LogCaptureFixture) -> None:
    """However many requests and beats notice."""
    with caplog.at_level(logging.WARNING, "gateway"):
        await house.lose()
        await house.beat()
        assert not any(quotas.up for quotas in house.replicas)
        await house.find()
        await house.beat()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 * 3
    assert lines.count("Redis does not answer: this process decides by its share") == 3


async def test_rubbish_in_redis_is_no_outage(redis_server: RedisServer, house: OutageHouse) -> None:
    """Who is concerned is answered here; everybody else by Redis."""
    of, other = scope(Limits(concurrent=9), budget(900)), scope(Limits(concurrent=99), budget(900), tenant="beta")
    quotas = house.replicas[0]
    await quotas.withdraw(await admit(quotas, ask(of, hold=1)))
    with redis_server.client() as look:
        for key in look.scan_iter("*{t.acme}*"):
            look.delete(key)
            look.set(key, "rubbish")
    for n in range(30):
        grant = await admit(quotas, ask(of, hold=100))
        await quotas.settle(grant, 0, 1)
        await admit(quotas, Ask(f"b{n}", "beta", (other,), 0, 1))
    assert quotas.up
    assert quotas.counts.local == 30
    assert await money(quotas, other) == (0, 30)
    await house.beat()
    assert len(quotas.endings) == 0


@pytest.mark.parametrize("on_outage", ["deny", "allow"])
async def test_other_ways_through_an_outage(redis_server: RedisServer, on_outage: str) -> None:
    """`deny` refuses what begins and nothing that runs; `allow` refuses nothing, and all is counted in the end."""
    async with open_house(redis_server, 1, on_outage) as house:  # type: ignore[arg-type]
        (quotas,) = house.replicas
        of = scope(Limits(concurrent=1), budget(100))
        before = await house.begin(quotas, ask(of, hold=60))
        assert isinstance(before, Grant)
        await house.lose()
        grants = []
        for _ in range(3):
            if on_outage == "deny":
                with pytest.raises(QuotasUnavailable, match="Redis does not answer"):
                    await quotas.admit(ask(of, hold=60))
            else:
                grants.append(await house.begin(quotas, ask(of, hold=60)))
        with pytest.raises(QuotasUnavailable):
            await quotas.standing(of)
        assert (quotas.counts.denied, quotas.counts.allowed) == ((3, 0) if on_outage == "deny" else (0, 3))
        await quotas.admit(ask())  # what nobody limits needs no Redis
        assert await quotas.top_up(before, 10) is (on_outage == "allow")
        assert (await house.end(quotas, before, 50)).first
        for grant in grants:
            assert isinstance(grant, Grant)
            assert await quotas.top_up(grant, 1000)
            assert (await house.end(quotas, grant, 60)).first
        await house.find()
        assert await money(quotas, of) == (50 + 60 * len(grants), 0)
        assert await in_flight(quotas, of) == 0


async def test_it_looks_after_redis_by_itself(house: OutageHouse) -> None:
    """Once started, until it is closed."""
    quotas = house.replicas[0]
    beaten = asyncio.Event()
    announce = quotas._redis.announce

    async def noted(name: str, *, goes: bool = False) -> int:
        beaten.set()
        return await announce(name, goes=goes)

    quotas._redis.announce = noted  # type: ignore[method-assign]
    quotas.start()
    async with asyncio.timeout(20):
        await beaten.wait()
