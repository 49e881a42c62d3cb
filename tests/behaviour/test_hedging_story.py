"""Hedging: where the first content is late a second provider is asked too; the client gets one answer, and soon."""

import asyncio

import pytest

from tests.behaviour.conftest import FAST, MakeStage, Way
from tests.behaviour.stage import CHAT, Stage, hear, until_heard
from tests.provider_answers import openai_answer, openai_error, openai_stream
from tests.upstream_script import Script, body_of, flat, reached, stall, wait

HEDGED = "[one/gpt, two/gpt], hedge: {after_s: 0.05, max_share: 1}"
STREAM = flat(openai_stream(4))
SILENT: Script = [*STREAM[:2], stall()]
"""Opened, and not a word of content."""

PLAIN = Way(tls=False, spliced=False)


def hedges(stage: Stage, result: str) -> float:
    return stage.value("hedges_total", provider="two", result=result)


@pytest.mark.parametrize("way", [FAST, PLAIN], ids=str)
async def test_the_second_serves_where_the_first_is_silent(make_stage: MakeStage, way: Way) -> None:
    """Its answer is whole and nobody else's; the first one's connection is closed, and it has not failed."""
    stage = await make_stage(way, two=True, targets=HEDGED)
    assert stage.second is not None
    asked = asyncio.Event()
    stage.upstream.next([reached(asked), *SILENT])
    stage.second.next([wait(asked), *STREAM])
    heard = await stage.hear()
    assert (heard.whole, heard.body) == (True, body_of(STREAM))
    assert (heard.head.get("x-gateway-provider"), heard.head.get("x-gateway-attempts")) == ("two", "2")
    await stage.upstream.closed(0)
    assert hedges(stage, "won") == 1
    assert stage.value("attempts_total", provider="one", result="hedge_lost") == 1
    assert stage.value("provider_errors_total") == 0
    assert stage.value("pool_connections", state="in_use") == 0


async def test_a_whole_answer_is_hedged_too(make_stage: MakeStage) -> None:
    """The same where nothing streams."""
    stage = await make_stage(two=True, targets=HEDGED)
    assert stage.second is not None
    asked = asyncio.Event()
    stage.upstream.next([reached(asked), stall()])
    stage.second.next([wait(asked), *openai_answer("From the second.")])
    answer = await stage.answer()
    assert (answer.status, answer.head.get("x-gateway-provider")) == (200, "two")
    assert answer.body == body_of(openai_answer("From the second."))
    await stage.upstream.closed(0)


async def test_the_first_may_still_win(make_stage: MakeStage) -> None:
    """Whose content comes first serves, whoever was asked first; the other is cancelled."""
    stage = await make_stage(two=True, targets=HEDGED)
    assert stage.second is not None
    go = asyncio.Event()
    stage.upstream.next([STREAM[0], wait(go), *STREAM[1:]])
    stage.second.next(SILENT)
    client = await stage.ask()
    await stage.second.request()
    go.set()
    heard = await hear(client)
    assert (heard.body, heard.head.get("x-gateway-provider")) == (body_of(STREAM), "one")
    await stage.second.closed(0)
    await stage.settled()
    assert hedges(stage, "lost") == 1
    assert stage.value("attempts_total", provider="two", result="hedge_lost") == 1


async def test_nobody_else_is_asked_where_the_first_is_quick(make_stage: MakeStage) -> None:
    """Content in time, however long the stream then takes."""
    stage = await make_stage(two=True, targets="[one/gpt, two/gpt], hedge: {after_s: 30, max_share: 1}")
    go = asyncio.Event()
    stage.upstream.next([*STREAM[:3], wait(go), *STREAM[3:]])
    client = await stage.ask()
    await client.answer_head()
    await until_heard(client, b"word 0")
    go.set()
    await client.chunks()
    await stage.settled()
    assert sum(hedges(stage, result) for result in ("won", "lost", "failed", "abandoned")) == 0


async def test_a_share_is_not_exceeded(make_stage: MakeStage, soaking: bool) -> None:
    """At most so large a part of the requests is hedged; the others wait for the provider that they have."""
    count, after_s = 200 if soaking else 24, 0.01
    stage = await make_stage(two=True, targets=f"[one/gpt, two/gpt], hedge: {{after_s: {after_s}, max_share: 0.25}}")
    assert stage.second is not None
    stage.upstream.always([*STREAM[:2], stall()])
    stage.second.always(STREAM)
    for number in range(count):
        client = await stage.ask(CHAT, ("openai-beta", str(number)))
        if number % 4 == 3:  # four requests have earned one
            assert (await hear(client)).head.get("x-gateway-provider") == "two"
            await client.abort()
        else:
            # the one that was hedged may have left before it was asked, or just then
            while (await stage.upstream.request()).header("openai-beta") != str(number):
                pass
            await asyncio.sleep(after_s)  # timed: the gateway's own wait began before, so it has ended before
            await client.reset()
        await stage.settled()
    assert hedges(stage, "won") == len(stage.second.requests) == count / 4


async def test_both_fail(make_stage: MakeStage) -> None:
    """Then the client hears of one failure, once."""
    stage = await make_stage(two=True, targets=HEDGED)
    assert stage.second is not None
    asked = asyncio.Event()
    stage.upstream.next([wait(asked), *flat(openai_error(500))])
    stage.second.next([reached(asked), *flat(openai_error(500))])
    answer = await stage.answer()
    assert (answer.status, answer.json()["error"]["code"]) == (502, "provider_error")
    assert answer.head.get("x-gateway-attempts") == "2"
    assert hedges(stage, "failed") == 1
    assert stage.value("attempts_total", result="provider_error") == 2


async def test_a_failure_moves_on_without_waiting(make_stage: MakeStage) -> None:
    """Who fails before it is late is replaced at once, and that is no hedge."""
    stage = await make_stage(two=True, targets="[one/gpt, two/gpt], hedge: {after_s: 30, max_share: 1}")
    assert stage.second is not None
    stage.upstream.next(openai_error(500))
    stage.second.next(STREAM)
    assert (await stage.hear()).head.get("x-gateway-provider") == "two"
    assert stage.value("hedges_total") == 0


async def test_what_nobody_could_answer_is_not_waited_for(make_stage: MakeStage) -> None:
    """A refusal of the request itself ends the race, in the provider's words."""
    stage = await make_stage(two=True, targets=HEDGED)
    assert stage.second is not None
    asked = asyncio.Event()
    refusal = openai_error(400)
    stage.upstream.next([wait(asked), *refusal])
    stage.second.next([*STREAM[:2], reached(asked), stall()])
    heard = await stage.hear()
    assert (heard.status, heard.body) == (400, body_of(refusal))
    await stage.second.closed(0)


@pytest.mark.parametrize("way", [FAST, PLAIN], ids=str)
async def test_the_client_leaves_in_the_middle_of_a_race(make_stage: MakeStage, way: Way) -> None:
    """Both connections are closed, and nothing is left of either."""
    stage = await make_stage(way, two=True, targets=HEDGED)
    assert stage.second is not None
    stage.upstream.next(SILENT)
    stage.second.next(SILENT)
    client = await stage.ask()
    await stage.upstream.request()
    await stage.second.request()
    await client.reset()
    await stage.upstream.closed(0)
    await stage.second.closed(0)
    await stage.settled()
    assert (stage.ended_as("client_closed"), hedges(stage, "abandoned")) == (1, 1)
    assert stage.value("pool_connections", state="in_use") == 0


async def test_a_crowd_of_races(make_stage: MakeStage, soaking: bool) -> None:
    """Every client gets one whole answer of one provider, whoever of the two was the quicker."""
    count = 300 if soaking else 40
    stage = await make_stage(two=True, targets="[one/gpt, two/gpt], hedge: {after_s: 0.005, max_share: 1}")
    assert stage.second is not None
    first, second = openai_stream(6, model="first"), openai_stream(6, model="second")
    stage.upstream.always(first)
    stage.second.always(second)
    bodies = {"one": body_of(first), "two": body_of(second)}

    async def one_client() -> None:
        heard = await hear(await stage.ask())
        assert (heard.whole, heard.body) == (True, bodies[heard.head.get("x-gateway-provider") or ""])

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one_client())
    await stage.settled()
    assert stage.ended_as("success") == count
    raced = stage.value("attempts_total", result="hedge_lost")
    assert raced == hedges(stage, "won") + hedges(stage, "lost")
    assert stage.value("active_streams") == stage.value("pool_connections", state="in_use") == 0


async def test_only_models_that_ask_for_it(make_stage: MakeStage) -> None:
    """Another model of the same providers waits as long as it must."""
    stage = await make_stage(two=True, targets=HEDGED, models="  patient: {targets: [one/gpt, two/gpt]}")
    assert stage.second is not None
    go = asyncio.Event()
    stage.upstream.next([*STREAM[:2], wait(go), *STREAM[2:]])
    patient = await stage.ask(CHAT, model="patient")
    await stage.upstream.request()
    stage.upstream.next(SILENT)
    stage.second.next(STREAM)
    hedged = await stage.ask()
    assert (await hear(hedged)).head.get("x-gateway-provider") == "two"
    go.set()
    assert (await hear(patient)).head.get("x-gateway-provider") == "one"
    assert len(stage.second.requests) == 1
