"""Three replicas on one Redis count as one: budgets to the last answer, rates whatever their clocks say.

The figures of the full size are those of the README.
"""

import asyncio
import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest

from gateway.core.pricing import Price, cost_nanousd
from gateway.core.tokens import Usage, estimate_prompt
from gateway.stores.redis_scripts import Scripts
from tests.behaviour.stage import CHAT, PROMPTS, hear
from tests.provider_answers import openai_answer, openai_chunk, openai_error, openai_stream
from tests.redis_server import RedisServer
from tests.stack.fleet import Fleet, MakeFleet, at_rate
from tests.upstream_script import CHUNKED, SSE, Script, event, head, reset, stall

PRICE = Price(input=Decimal(1), output=Decimal(2))
PROMPT_TOKENS = estimate_prompt(PROMPTS[CHAT])
MOST_TOKENS = 100
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": MOST_TOKENS}
COST = cost_nanousd(Usage(input=PROMPT_TOKENS, output=MOST_TOKENS), PRICE)
WORD = event(openai_chunk({"content": "word"}))
ENDINGS: list[Script] = [
    openai_answer(usage=USAGE),
    openai_stream(3, usage=USAGE),
    openai_error(500),
    [reset()],
    [head(200, SSE, CHUNKED), WORD, reset()],
    [head(200, SSE, CHUNKED), WORD, stall()],
    [stall()],
]
WHOLE, ERROR, BEGUN = 0, 2, 5
SKEWS_S = (0.0, 5.0, -5.0)


def budget_for(answers: int) -> str:
    """A tenant's budget that so many answers use up exactly."""
    return f"budget: {{usd: {answers * COST / 1e9:.6f}, window: total}}"


async def mixed(fleet: Fleet, number: int) -> None:
    """One request: its answer is whole, broken, an error, or the client leaves before or in the middle of it."""
    ending = number % len(ENDINGS)
    streams = ending not in (WHOLE, ERROR)
    async with await fleet.ask(("openai-beta", str(ending)), stream=streams, max_tokens=MOST_TOKENS) as client:
        if ending < BEGUN:
            await hear(client)
        elif ending == BEGUN:
            await client.answer_head()


async def idle(fleet: Fleet) -> int:
    """Wait until nothing runs; nothing is held then, and Redis and the ledger agree. Returns what is spent."""
    await fleet.settled()
    await fleet.find_redis_again()
    left = await fleet.funds()
    assert (left.spent_nanousd, left.held_nanousd) == (await fleet.booked(), 0)
    return left.spent_nanousd


async def assert_spent_to_the_last(fleet: Fleet, fit: int) -> None:
    """Nothing is spent beyond the budget, and nothing of it is lost: what is left can be spent, one after another."""
    crowd_nanousd = await idle(fleet)
    assert 0 < crowd_nanousd <= fit * COST
    while (last := await fleet.answer(("openai-beta", str(WHOLE)), max_tokens=MOST_TOKENS)).status == 200:
        await fleet.settled()
    assert last.status == 402
    all_nanousd = await idle(fleet)
    assert (fit - 1) * COST < all_nanousd <= fit * COST
    print(
        f"\nbudget for {fit}: {crowd_nanousd / COST:.2f} answers' worth by the crowd, {all_nanousd / COST:.2f} in all"
    )


@pytest.mark.usefixtures("patient")
async def test_as_many_as_fit_at_once(make_fleet: MakeFleet, soaking: bool) -> None:
    """Ten times as many come to three replicas together; exactly those that fit are served."""
    fit = 50 if soaking else 12
    fleet = await make_fleet(tenant=budget_for(fit))
    fleet.upstream.always(openai_answer(usage=USAGE))
    answers = await asyncio.gather(*(fleet.answer(max_tokens=MOST_TOKENS) for _ in range(10 * fit)))
    assert Counter(answer.status for answer in answers) == {200: fit, 402: 9 * fit}
    assert await idle(fleet) == fit * COST
    assert fleet.value("store_outage_decisions_total") == 0


@pytest.mark.usefixtures("patient")
async def test_endings_of_every_kind(make_fleet: MakeFleet, soaking: bool) -> None:
    """Whole, broken, refused, left by the client: never beyond the budget, and all that was held comes back."""
    fit = 50 if soaking else 12
    fleet = await make_fleet(tenant=budget_for(fit))
    fleet.upstream.by(lambda request: ENDINGS[int(request.header("openai-beta") or 0)])
    await asyncio.gather(*(mixed(fleet, number) for number in range(10 * fit)))
    await assert_spent_to_the_last(fleet, fit)


@pytest.mark.usefixtures("patient")
async def test_redis_dies_in_the_middle(make_fleet: MakeFleet, redis_server: RedisServer, soaking: bool) -> None:
    """All replicas lose it together, so nothing is overspent: each has its share, then all have what the ledger says.

    Requests are on their way when it dies, while it is gone, and when it is back, with nothing of what it knew.
    """
    fit = 50 if soaking else 12
    third = fit // 3  # leaves a budget to be shared
    fleet = await make_fleet(tenant=budget_for(fit))
    fleet.upstream.by(lambda request: ENDINGS[int(request.header("openai-beta") or 0)])
    first = [asyncio.create_task(mixed(fleet, number)) for number in range(third)]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    redis_server.kill()
    await asyncio.gather(*first)
    await asyncio.gather(*(mixed(fleet, number) for number in range(third, 2 * third)))
    # Each replica is asked for the whole budget.
    whole = ("openai-beta", str(WHOLE))
    answers = await asyncio.gather(*(fleet.answer(whole, max_tokens=MOST_TOKENS) for _ in range(3 * fit)))
    assert {answer.status for answer in answers} <= {200, 402}
    assert 402 in {answer.status for answer in answers}
    redis_server.start()
    await fleet.find_redis_again()
    await asyncio.gather(*(mixed(fleet, number) for number in range(2 * third, 10 * fit)))
    assert fleet.value("store_outage_decisions_total", decision="local") > 0
    await assert_spent_to_the_last(fleet, fit)


@pytest.mark.usefixtures("patient")
async def test_a_rate_holds_whatever_the_clocks_say(make_fleet: MakeFleet, soaking: bool) -> None:
    """At five times the rate over three replicas, 5 s apart: burst + rate x time, and nothing else is refused."""
    rate_per_s, seconds = 10, 180 if soaking else 1
    fleet = await make_fleet(
        skews_s=SKEWS_S, tenant=f"limits: {{requests_per_minute: {60 * rate_per_s}, burst: {rate_per_s}}}"
    )
    fleet.upstream.always(openai_answer(usage=USAGE))
    statuses: Counter[int] = Counter()
    answered_s = [time.monotonic()]

    async def one(_: int) -> None:
        statuses[(await fleet.answer()).status] += 1
        answered_s.append(time.monotonic())

    began_s = time.monotonic()
    await at_rate(5 * rate_per_s, seconds, one)
    took_s = time.monotonic() - began_s
    expected = rate_per_s + rate_per_s * took_s
    print(f"\n{statuses[200]} of {statuses.total()} admitted in {took_s:.2f} s, {statuses[200] / expected - 1:+.2%}")
    assert statuses.keys() == {200, 429}
    assert statuses[200] <= expected * 1.02
    # Nothing is lost while somebody always asks: the bucket is empty, and holds a second's worth.
    longest_s = max(later - sooner for sooner, later in pairwise(answered_s))
    if soaking or longest_s < 0.5:
        assert statuses[200] >= (expected - rate_per_s * longest_s) * 0.98 - 1


@pytest.mark.usefixtures("patient")
async def test_two_round_trips_for_a_request(make_fleet: MakeFleet, redis_server: RedisServer) -> None:
    """One to admit it, one to settle it; streams and whole answers alike. Nothing else is asked because of it."""
    fleet = await make_fleet(1, tenant=f"{budget_for(1000)}, limits: {{requests_per_minute: 100000, concurrent: 100}}")
    fleet.upstream.by(lambda request: openai_stream(3, usage=USAGE) if b"stream" in request.body else ENDINGS[WHOLE])
    requests = 40

    async def one(number: int) -> None:
        async with await fleet.ask(stream=number % 2 == 0, max_tokens=MOST_TOKENS) as client:
            assert (await hear(client)).status == 200
        await fleet.settled()

    await one(0)  # Redis gets to know the scripts, and what the ledger says
    await one(1)
    with redis_server.client() as client, redis_server.client() as other, client.monitor() as monitor:
        other.ping()
        while "PING" not in monitor.next_command()["command"]:
            pass
        for number in range(requests):
            await one(number)
        other.echo("that was all")
        heard: Counter[str] = Counter()
        while "that was all" not in (command := monitor.next_command())["command"]:
            if command["client_type"] != "lua":
                heard[_what(command["command"].split(" "))] += 1  # an argument may be empty
    print(f"\n{requests} requests: {dict(heard)}")
    own_rounds = {"beat", "look", "PING"}
    """What a replica asks every second, with requests or without."""
    assert {what: count for what, count in heard.items() if what not in own_rounds} == {
        "admit": requests,
        "settle": requests,
    }


def _what(words: list[str]) -> str:
    """What a command wants: of scripts, the verb."""
    if words[0].upper() not in {"EVAL", "EVALSHA"}:
        return words[0].upper()
    scripts = Scripts()
    every = scripts.ask, scripts.end, scripts.top_up, scripts.renew, scripts.beat
    script = next(script for script in every if script.sha == words[1])
    # EVALSHA sha 1 key prefix exchange mode: one script admits and looks
    return words[6] if script.sha == scripts.ask.sha else script.name
