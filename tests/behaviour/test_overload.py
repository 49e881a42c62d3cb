"""More requests than fit: a short line, then a clear refusal, soon; pages for operators answer all the while."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.behaviour.conftest import FAST, MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, Heard, Stage, hear, until_heard
from tests.metrics.text_format import read_exposition
from tests.provider_answers import anthropic_stream, openai_answer, openai_stream
from tests.raw_client import Answer, RawClient, request_wire
from tests.raw_connection import read_boundary
from tests.upstream_connection import SeenRequest
from tests.upstream_script import Script, body_of, flat, reached, wait

PATIENT_S = 30
"""A line long enough for any machine, where a test lets somebody through in the end."""

STREAM = flat(openai_stream(4))


def pool(connections: int, max_queued: int, queue_s: float) -> str:
    return f"pool: {{warm: 0, connections: {connections}, max_queued: {max_queued}, queue_s: {queue_s}}}"


def server(max_in_flight: int, max_queued: int, queue_s: float) -> str:
    return f"{{max_in_flight: {max_in_flight}, max_queued: {max_queued}, queue_s: {queue_s}}}"


BOUNDS: dict[str, Callable[[int, int, float], dict[str, Any]]] = {
    "provider": lambda places, queued, queue_s: {"provider": pool(places, queued, queue_s)},
    "gateway": lambda places, queued, queue_s: {"server": server(places, queued, queue_s)},
}
"""The two places where requests are bounded: whatever is told of one holds for the other."""

bounds = pytest.mark.parametrize("bound", BOUNDS)


async def occupied(stage: Stage, count: int, go: asyncio.Event) -> list[RawClient]:
    """So many streams that run until the event."""
    stage.upstream.next(*[[*STREAM[:3], wait(go), *STREAM[3:]]] * count)
    clients = [await stage.ask() for _ in range(count)]
    for client in clients:
        await client.answer_head()
        await until_heard(client, b"word 0")
    return clients


async def page(stage: Stage, path: str) -> Answer:
    client = await stage.client()
    await client.send(request_wire("GET", path, ("Host", "gateway")))
    answer = await client.answer()
    await client.abort()
    return answer


def refused(heard: Heard, words: Callable[[dict[str, dict[str, str]]], str | None], expected: str) -> None:
    """A 503 with a time to come back, in the client's dialect."""
    assert (heard.status, heard.whole) == (503, True)
    assert int(heard.head.get("retry-after") or 0) >= 1
    assert words(json.loads(heard.body)) == expected


async def nothing_is_left(stage: Stage, ended: dict[str, int]) -> None:
    """Every request is booked as it ended, every place is free again, every connection idle or gone."""
    await stage.settled()
    assert {status: stage.ended_as(status) for status in ended} == ended
    assert stage.value("requests_total") == sum(ended.values())
    assert stage.value("pool_connections", state="in_use") == stage.value("active_streams") == 0


@bounds
async def test_who_does_not_fit_is_refused_at_once(make_stage: MakeStage, bound: str) -> None:
    """No place, nobody may wait: 503 in the caller's dialect; no provider is asked, and operators see their pages."""
    stage = await make_stage(**BOUNDS[bound](2, 0, PATIENT_S))
    go = asyncio.Event()
    clients = await occupied(stage, 2, go)
    for _ in range(5):
        client = await stage.ask()
        refused(await hear(client), lambda document: document["error"]["code"], "overloaded")
    assert len(stage.upstream.requests) == 2
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert (await page(stage, path)).status == 200, path
    seen = read_exposition((await page(stage, "/metrics")).body)
    assert seen.value("aigateway_active_streams", provider="one") == 2
    go.set()
    for client in clients:
        assert (await client.chunks())[-1].last
    await stage.settled()
    stage.upstream.next(STREAM)
    assert (await stage.hear()).body == body_of(STREAM)
    await nothing_is_left(stage, {"success": 3, "overloaded": 5})


async def test_anthropics_clients_read_their_words(make_stage: MakeStage) -> None:
    """The same refusal in the other dialect."""
    stage = await make_stage(**BOUNDS["provider"](1, 0, PATIENT_S))
    go = asyncio.Event()
    stream = flat(anthropic_stream())
    stage.upstream.next([*stream[:6], wait(go), *stream[6:]])
    client = await stage.ask(MESSAGES)
    await client.answer_head()
    other = await stage.ask(MESSAGES)
    refused(await hear(other), lambda document: document["error"]["type"], "overloaded_error")
    go.set()
    await client.chunks()
    await nothing_is_left(stage, {"success": 1, "overloaded": 1})


@bounds
async def test_who_waits_in_line_is_served_in_turn(make_stage: MakeStage, bound: str) -> None:
    """The places go to those who came first; one more than may wait is refused meanwhile."""
    stage = await make_stage(**BOUNDS[bound](1, 3, PATIENT_S))
    go = asyncio.Event()
    (first,) = await occupied(stage, 1, go)
    answers = [openai_answer(f"number {number}") for number in range(3)]
    stage.upstream.next(*answers)
    waiting = []
    for number in range(3):
        waiting.append(await stage.ask(stream=False, user=f"number {number}"))
        await until_live(stage, 2 + number)
    one_more = await stage.ask()
    refused(await hear(one_more), lambda document: document["error"]["code"], "overloaded")
    assert len(stage.upstream.requests) == 1
    go.set()
    await first.chunks()
    for client, answer in zip(waiting, answers, strict=True):
        assert (await client.answer()).body == body_of(answer)
    assert [request.json().get("user") for request in stage.upstream.requests[1:]] == [f"number {n}" for n in range(3)]
    await nothing_is_left(stage, {"success": 4, "overloaded": 1})


async def until_live(stage: Stage, count: int) -> None:
    """Wait until so many requests are on their way."""
    while len(stage.gateway.live) != count:
        await read_boundary()


@bounds
async def test_nobody_waits_for_long(make_stage: MakeStage, bound: str) -> None:
    """A place that does not come free in time: the same refusal, and no provider was asked."""
    stage = await make_stage(**BOUNDS[bound](1, 10, 0.05))
    go = asyncio.Event()
    (first,) = await occupied(stage, 1, go)
    late = [await stage.ask() for _ in range(5)]
    for client in late:
        refused(await hear(client), lambda document: document["error"]["code"], "overloaded")
    assert len(stage.upstream.requests) == 1
    go.set()
    await first.chunks()
    await nothing_is_left(stage, {"success": 1, "overloaded": 5})


@bounds
async def test_who_leaves_the_line_takes_no_place(make_stage: MakeStage, bound: str) -> None:
    """A client that goes while it waits is forgotten; whoever stands behind it gets the place."""
    stage = await make_stage(**BOUNDS[bound](1, 10, PATIENT_S))
    go = asyncio.Event()
    (first,) = await occupied(stage, 1, go)
    leaving = [await stage.ask() for _ in range(4)]
    await until_live(stage, 5)
    staying = await stage.ask(stream=False)
    await until_live(stage, 6)
    for client in leaving:
        await client.reset()
    await until_live(stage, 2)
    stage.upstream.next(openai_answer())
    go.set()
    await first.chunks()
    assert (await staying.answer()).status == 200
    assert len(stage.upstream.requests) == 2
    await nothing_is_left(stage, {"success": 2, "client_closed": 4})


async def test_a_full_provider_is_passed_over(make_stage: MakeStage) -> None:
    """Where another target has room nobody waits; where none has, the line is for the first of them."""
    stage = await make_stage(two=True, provider=pool(1, 10, PATIENT_S))
    assert stage.second is not None
    go = asyncio.Event()
    (first,) = await occupied(stage, 1, go)
    stage.second.always([*STREAM[:3], wait(go), *STREAM[3:]])
    second = await stage.ask()
    head = await second.answer_head()
    assert (head.get("x-gateway-provider"), head.get("x-gateway-attempts")) == ("two", "1")
    assert stage.value("fallbacks_total", to="two", reason="overloaded") == 1
    stage.upstream.always(openai_answer())
    stage.second.always(openai_answer())
    third = await stage.ask(stream=False)
    await until_live(stage, 3)
    go.set()
    assert (await third.answer()).status == 200
    for client in (first, second):
        await client.chunks()
    await nothing_is_left(stage, {"success": 3})
    assert stage.value("pool_wait_seconds_count") == 1


@pytest.mark.parametrize("way", [FAST, Way(tls=False, spliced=False)], ids=str)
@bounds
async def test_a_storm(make_stage: MakeStage, soaking: bool, bound: str, way: Way) -> None:
    """Ten times as many as fit, some of whom leave: never more at the provider than may be, and nothing leaks.

    Everybody hears something: a whole answer or a refusal.
    """
    places, count = (16, 1000) if soaking else (4, 80)
    stage = await make_stage(way, **BOUNDS[bound](places, places, 0.05))
    inside: list[float] = []

    def script(request: SeenRequest) -> Script:
        inside.append(stage.value("pool_connections", state="in_use"))
        return STREAM if request.json().get("stream") else openai_answer()

    stage.upstream.by(script)
    statuses: list[int] = []

    async def one_client(number: int) -> None:
        client = await stage.ask(CHAT, stream=number % 2 == 0)
        if number % 5 == 0:
            await client.reset()
            return
        heard = await hear(client)
        await client.close()
        assert heard.whole
        assert heard.status == 503 or heard.body == body_of(STREAM if number % 2 == 0 else openai_answer())
        statuses.append(heard.status)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one_client(number))
    assert len(statuses) == count * 4 // 5
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    await stage.settled()
    assert max(inside) <= places
    assert stage.value("requests_total") == sum(
        stage.ended_as(status) for status in ("success", "overloaded", "client_closed")
    )
    assert stage.value("pool_connections", state="in_use") == stage.value("active_streams") == 0
    await served_again(stage, places)


async def served_again(stage: Stage, places: int) -> None:
    """As many at once as there are places: none was lost."""
    go = asyncio.Event()
    there = [asyncio.Event() for _ in range(places)]
    scripts = iter(there)
    stage.upstream.by(lambda _: [*STREAM[:3], reached(next(scripts)), wait(go), *STREAM[3:]])
    clients = [await stage.ask() for _ in range(places)]
    for event in there:
        await event.wait()
    go.set()
    for client in clients:
        assert (await hear(client)).body == body_of(STREAM)
    await stage.settled()
