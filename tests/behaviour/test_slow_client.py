"""A client that stops reading: upstream is held back in bounded memory, goes on with it, or is closed in the end."""

import asyncio

import pytest

from tests.behaviour.conftest import FAST, MakeStage, Way
from tests.behaviour.stage import MESSAGES, RESPONSES, Stage, hear
from tests.provider_answers import openai_chunk
from tests.raw_connection import EndedEarly
from tests.upstream_script import CHUNKED, JSON, SSE, Step, Write, body_of, chunk, end, event, head

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
WORD = event(openai_chunk({"content": "x" * 16_000}))
TAKEN_LIMIT_BYTES = 64 * 1024 * 1024
"""What may leave upstream for a reader that stands still: nearly all of it lies in four kernel buffers of loopback.

Under load they grow to 32 MiB for a reader (`tcp_rmem`), 4 MiB for a writer; the gateway holds well below 1 MiB."""
RESTING_S = 0.05
"""So long without a byte taken: then everything is full."""


def firehose(events: int = 5000) -> list[Step]:
    """80 MB as fast as they go: more than the kernel buffers of four sockets hold, however they grow."""
    ending = [event(openai_chunk({}, finish="stop")), event("[DONE]"), end()]
    return [head(200, SSE, CHUNKED), Write((WORD.wire,) * events), *ending]


async def rests(stage: Stage, connection: int = 0) -> int:
    """Wait until upstream cannot get rid of any more; return the bytes that it got rid of."""
    await stage.upstream.request()
    taken = -1
    while taken != (now := stage.upstream.taken_bytes(connection)):
        taken = now
        await asyncio.sleep(RESTING_S)  # timed: that nothing moves any more is told by no event
    return taken


@BOTH_LOOPS
async def test_a_reader_that_stops_holds_upstream_back(stage: Stage) -> None:
    """Bounded while it stands, whole and exact when it reads on, and the pause is counted."""
    stage.upstream.next(firehose())
    client = await stage.ask()
    taken = await rests(stage)
    assert taken < TAKEN_LIMIT_BYTES
    heard = await hear(client)
    assert heard.whole
    assert heard.body == body_of(firehose())
    await stage.settled()
    assert stage.ended_as("success") == 1
    assert stage.value("slow_client_seconds_count") >= 1
    assert stage.value("slow_client_seconds_sum") > 0


@BOTH_LOOPS
async def test_a_reader_that_never_reads_is_cut(make_stage: MakeStage, way: Way) -> None:
    """After write_timeout_s it loses its connection, and upstream is closed."""
    stage = await make_stage(way, server="{write_timeout_s: 0.2}")
    stage.upstream.next(firehose())
    client = await stage.ask()
    await stage.upstream.request()
    await stage.upstream.closed(0)
    await stage.settled()
    assert stage.ended_as("client_closed") == 1
    assert stage.value("slow_client_seconds_count") >= 1
    assert not (await hear(client)).whole


async def test_a_slow_client_is_no_stalled_provider(make_stage: MakeStage) -> None:
    """While the client is behind, the provider's silence is our doing: no stall, no keep-alive piling up."""
    stage = await make_stage(FAST, provider="timeouts: {stall_s: 1}", server="{keepalive_s: 1}")
    stage.upstream.next(firehose())
    client = await stage.ask()
    await rests(stage)
    stage.sweep(ahead_s=10)
    heard = await hear(client)
    assert heard.whole
    assert heard.body.replace(b": keep-alive\n\n", b"") == body_of(firehose())


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
async def test_a_reader_that_never_reads_a_large_answer_is_cut(make_stage: MakeStage, way: Way, path: str) -> None:
    """The deadline of a whole answer ends a client that does not take it, too."""
    stage = await make_stage(way, provider="timeouts: {unary_s: 3}")
    stage.upstream.next([head(200, JSON, CHUNKED), Write((chunk(b" " * 65536).wire,) * 600), end()])
    client = await stage.ask(path, stream=False)
    assert (await client.answer_head()).status == 200, "the answer has begun within its time"
    await stage.upstream.closed(0)
    await stage.settled()
    assert stage.ended_as("deadline_exceeded") == 1
    with pytest.raises((ConnectionResetError, EndedEarly)):
        await client.chunks()


async def test_stopping_in_turns(stage: Stage) -> None:
    """Reading a little, stopping, reading on: not a byte is lost over many pauses."""
    stage.upstream.next(firehose(1500))
    client = await stage.ask()
    await client.answer_head()
    body = bytearray()
    await rests(stage)
    while not (part := await client.chunk()).last:
        body += part.payload
        if len(body) % 7 == 0:
            await asyncio.sleep(0)  # timed: one turn of the loop, so that buffers fill up again
    assert bytes(body) == body_of(firehose(1500))
