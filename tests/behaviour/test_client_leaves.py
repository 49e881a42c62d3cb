"""The client leaves, the money stops: in every phase upstream is closed at once, and nothing is left behind."""

import asyncio
import time

import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, Stage, asking, until_heard
from tests.behaviour.test_slow_client import firehose, rests
from tests.provider_answers import openai_answer, openai_chunk, openai_stream
from tests.raw_client import RawClient
from tests.upstream_script import (
    CHUNKED,
    JSON,
    SSE,
    Script,
    chunk,
    end,
    event,
    head,
    raw,
    reached,
    stall,
    wait,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
AT_ONCE_S = 0.1
OPEN = head(200, SSE, CHUNKED)
ROLE, WORD = event(openai_chunk({"role": "assistant", "content": ""})), event(openai_chunk({"content": "word"}))


async def leaves(stage: Stage, client: RawClient, how: str) -> None:
    """The client goes; upstream must see it within the promised time."""
    connection = stage.upstream.requests[-1].connection
    left_at_s = time.monotonic()
    await {"fin": client.close, "reset": client.reset}[how]()
    assert await stage.upstream.closed(connection) - left_at_s < AT_ONCE_S
    await stage.settled()


PHASES: dict[str, tuple[str, bool, Script]] = {
    "no head yet": ("before_head", True, []),
    "no head yet, unary": ("before_head", False, []),
    "a head": ("before_content", True, [OPEN]),
    "a role": ("before_content", True, [OPEN, ROLE]),
    "a word": ("streaming", True, [OPEN, ROLE, WORD]),
    "half an event": ("streaming", True, [OPEN, WORD, chunk(b"data: {")]),
    "part of a huge event": ("streaming", True, [OPEN, WORD, chunk(b"data: " + b"x" * 200_000)]),
    "a finish reason": ("streaming", True, [OPEN, WORD, event(openai_chunk({}, finish="stop"))]),
    "a head of an answer": ("unary", False, [head(200, JSON, CHUNKED)]),
    "half an answer": ("unary", False, [head(200, JSON, ("Content-Length", "100")), raw(b'{"a":')]),
}


@BOTH_LOOPS
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_clients_leave_in_every_phase(stage: Stage, how: str) -> None:
    """Upstream is closed within 100 ms, the phase is counted, and the next request is served."""
    expected: dict[str, int] = {}
    for name, (phase, stream, came) in PHASES.items():
        here = asyncio.Event()
        stage.upstream.next([*came, reached(here), stall()])
        client = await stage.ask(stream=stream)
        await here.wait()
        if phase == "streaming":
            await client.answer_head()
        await leaves(stage, client, how)
        expected[phase] = expected.get(phase, 0) + 1
        counted = {p: stage.value("client_disconnects_total", phase=p) for p in expected}
        assert (name, counted) == (name, expected)
    assert stage.ended_as("client_closed") == len(PHASES)
    assert stage.value("active_streams") == 0
    stage.upstream.next(openai_stream(1))
    assert (await stage.hear()).whole


async def test_clients_leave_while_upstream_talks(stage: Stage) -> None:
    """Mid-stream, with words coming all the time, in every dialect's route."""
    for path in (CHAT, RESPONSES, MESSAGES):
        stage.upstream.next([OPEN, *[WORD] * 100_000, stall()])
        client = await stage.ask(path)
        await client.answer_head()
        await until_heard(client, b"word")
        await leaves(stage, client, "reset")
    assert stage.value("client_disconnects_total", phase="streaming") == 3


async def test_clients_leave_while_they_are_behind(stage: Stage) -> None:
    """A client that stopped reading and then goes: the paused upstream connection is closed as fast."""
    stage.upstream.next(firehose())
    client = await stage.ask()
    await rests(stage)
    await leaves(stage, client, "reset")
    assert stage.value("client_disconnects_total", phase="streaming") == 1


async def test_clients_leave_within_a_large_answer(stage: Stage) -> None:
    """More than 1 MiB is relayed as it comes; leaving then is leaving a unary answer, and what came is billed."""
    here = asyncio.Event()
    stage.upstream.next([head(200, JSON, CHUNKED), *[chunk(b" " * 65536)] * 40, reached(here), stall()])
    client = await stage.ask(stream=False)
    await client.answer_head()
    await here.wait()
    await leaves(stage, client, "reset")
    assert stage.value("client_disconnects_total", phase="unary") == 1
    assert stage.value("tokens_total", type="input") > 0


async def test_clients_leave_while_their_body_comes(stage: Stage) -> None:
    """Half a body and no more: nothing went upstream, and the request is counted as what it was."""
    for number, how in enumerate(("close", "reset"), 1):
        client = await stage.client()
        await client.send(asking(CHAT)[:-5])
        await getattr(client, how)()
        await stage.until("requests_total", number, status="client_closed")
        assert stage.value("client_disconnects_total", phase="before_head") == number
    assert stage.upstream.accepted_connections == 0


async def test_clients_leave_at_the_second_target(make_stage: MakeStage, way: Way) -> None:
    """The first target failed, the second is being waited for."""
    stage = await make_stage(way, two=True)
    assert stage.second is not None
    stage.upstream.next([OPEN, end()])
    stage.second.next([stall()])
    client = await stage.ask()
    await stage.second.request()
    left_at_s = time.monotonic()
    await client.close()
    assert await stage.second.closed(0) - left_at_s < AT_ONCE_S
    await stage.settled()
    assert stage.value("attempts_total", provider="two", result="client_closed") == 1
    assert stage.value("attempts_total", provider="one", result="truncated") == 1


async def test_others_do_not_notice(stage: Stage) -> None:
    """One client leaves; the stream beside it goes on byte for byte, and so does the next on its connection."""
    go, here = asyncio.Event(), asyncio.Event()
    stage.upstream.next([OPEN, WORD, reached(here), stall()], [OPEN, WORD, wait(go), *openai_stream(2)[1:]])
    leaving = await stage.ask()
    await here.wait()
    staying = await stage.ask()
    await staying.answer_head()
    await leaving.reset()
    await stage.upstream.closed(0)
    go.set()
    chunks = await staying.chunks()
    assert b"".join(c.payload for c in chunks).endswith(b"data: [DONE]\n\n")
    await stage.settled()
    stage.upstream.next(openai_answer())
    assert (await stage.answer()).status == 200
    assert stage.upstream.accepted_connections == 2
