"""Redis stops, dies or is slow under load: requests are answered as before, and everything is counted afterwards.

The figures of the full size are those of the README.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.provider_answers import openai_answer, openai_stream
from tests.redis_server import RedisServer
from tests.stack.fleet import Fleet, MakeFleet, at_rate
from tests.stack.slow_road import SlowRoad, road_to

PER_S = 50.0
SLOW_S = 0.2
ADDED_P99_MS = 50.0
NORMAL_AFTER_S = 5.0
USAGE = {"prompt_tokens": 25, "completion_tokens": 8}
COST = 25 * 1000 + 8 * 2000
WIDE = "limits: {requests_per_minute: 1000000, burst: 10000, concurrent: 10000}, budget: {usd: 1000, window: total}"


@pytest.fixture
async def road(redis_server: RedisServer) -> AsyncIterator[SlowRoad]:
    """The way of all replicas to Redis."""
    async with road_to(redis_server.port) as road:
        yield road


@dataclass
class Heard:
    """What the clients of some time have got."""

    statuses: set[int] = field(default_factory=set)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """Of whole answers and whole streams."""
        return sorted(self.latencies_ms)[int(len(self.latencies_ms) * 0.99)]


async def load(fleet: Fleet, seconds: float, on_third: Callable[[], None] = lambda: None) -> Heard:
    """Streams and whole answers at a rate; something happens with the third of them."""
    heard = Heard()

    async def one(number: int) -> None:
        if number == 2:
            on_third()
        began_s = time.monotonic()
        async with await fleet.ask(stream=number % 2 == 0) as client:
            heard.statuses.add((await client.answer()).status)
        heard.latencies_ms.append((time.monotonic() - began_s) * 1000)

    await at_rate(PER_S, seconds, one)
    return heard


@pytest.mark.parametrize("trouble", ["stopped", "killed", "slow"])
async def test_requests_go_on(
    road: SlowRoad, make_fleet: MakeFleet, redis_server: RedisServer, soaking: bool, trouble: str
) -> None:
    """None fails because of it, none waits for long, and what was decided without Redis is known to it afterwards."""
    troubles: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "stopped": (redis_server.pause, redis_server.resume),
        "killed": (redis_server.kill, redis_server.start),
        "slow": (partial(setattr, road, "delay_s", SLOW_S), partial(setattr, road, "delay_s", 0.0)),
    }
    begin, end = troubles[trouble]
    fleet = await make_fleet(tenant=WIDE, redis_url=f"redis://127.0.0.1:{road.port}/0")
    fleet.upstream.by(lambda request: (openai_stream if b'"stream"' in request.body else openai_answer)(usage=USAGE))
    before = await load(fleet, 10 if soaking else 0.4)
    during = await load(fleet, 30 if soaking else 0.6, begin)
    await fleet.until_up(up=False)
    end()
    healed_s = time.monotonic()
    await (fleet.until_up if soaking else fleet.find_redis_again)()
    took_s = time.monotonic() - healed_s
    decided = fleet.value("store_outage_decisions_total", decision="local")
    assert decided > 0
    after = await load(fleet, 10 if soaking else 0.2)
    added_ms = during.p99_ms - before.p99_ms
    print(
        f"\nRedis {trouble}: p99 {before.p99_ms:.1f} ms before, {during.p99_ms:.1f} ms during ({added_ms:+.1f}), "
        f"{after.p99_ms:.1f} ms after; {len(during.latencies_ms)} requests during, {decided:.0f} decided here; "
        f"normal after {took_s:.2f} s"
    )
    assert before.statuses | during.statuses | after.statuses == {200}
    if soaking:
        assert added_ms <= ADDED_P99_MS
        assert took_s <= NORMAL_AFTER_S
        assert fleet.value("store_outage_decisions_total") == decided
    await fleet.settled()
    await fleet.find_redis_again()
    requests = sum(len(heard.latencies_ms) for heard in (before, during, after))
    funds = await fleet.funds()
    assert (await fleet.booked(), funds.spent_nanousd, funds.held_nanousd) == (requests * COST, requests * COST, 0)


@pytest.mark.usefixtures("patient")
async def test_deny_refuses(make_fleet: MakeFleet, redis_server: RedisServer) -> None:
    """503 with a reason and the time to wait, and no provider is asked; when Redis is back it goes on."""
    fleet = await make_fleet(1, on_outage="deny", tenant=WIDE)
    fleet.upstream.always(openai_answer(usage=USAGE))
    assert (await fleet.answer()).status == 200
    redis_server.kill()
    for _ in range(5):
        refused = await fleet.answer()
        assert (refused.status, refused.json()["error"]["code"]) == (503, "overloaded")
        assert "What may still be spent cannot be found out" in refused.json()["error"]["message"]
        assert refused.head.get("retry-after") == "1"
    assert len(fleet.upstream.requests) == 1
    assert fleet.value("store_outage_decisions_total", decision="denied") == 5
    redis_server.start()
    await fleet.find_redis_again()
    assert (await fleet.answer()).status == 200


@pytest.mark.usefixtures("patient")
async def test_allow_serves(make_fleet: MakeFleet, redis_server: RedisServer) -> None:
    """Whatever the budget; when Redis is back it knows what that has cost."""
    fleet = await make_fleet(
        1, on_outage="allow", tenant=f"budget: {{usd: {3 * COST / 1e9:.6f}, window: total, when_exhausted: finish}}"
    )
    fleet.upstream.always(openai_answer(usage=USAGE))
    redis_server.kill()
    for _ in range(5):
        assert (await fleet.answer(max_tokens=8)).status == 200
    assert fleet.value("store_outage_decisions_total", decision="allowed") == 5
    redis_server.start()
    await fleet.find_redis_again()
    refused = await fleet.answer(max_tokens=8)
    assert (refused.status, refused.json()["error"]["code"]) == (402, "over_budget")
    await fleet.settled()
    funds = await fleet.funds()
    assert (await fleet.booked(), funds.spent_nanousd, funds.held_nanousd) == (5 * COST, 5 * COST, 0)
