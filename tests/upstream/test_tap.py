"""The tapped stream on its own: what it does to the connections on both sides, at each moment."""

import asyncio
from typing import Any

import pytest

from gateway.core.outcome import Outcome
from gateway.upstream.tap import READY_LIMIT_BYTES
from tests.provider_answers import openai_chunk, openai_stream
from tests.raw_connection import read_boundary
from tests.raw_http import dechunk
from tests.upstream.passing import HandClient, HandClock, HandSplice, tapped
from tests.upstream_script import body_of, chunk, end, event, sse, wire_of

WORD = event(openai_chunk({"content": "word"})).wire
BIG = chunk(sse(openai_chunk({"content": "x" * 300_000}))).wire
STREAM = wire_of(openai_stream(3))


def is_paused(splice: HandSplice) -> bool:
    """Whether upstream is being read, asked anew."""
    return splice.paused


async def is_done(waiting: asyncio.Future[Any]) -> bool:
    """Whether a wait is over, once all that can happen now has happened."""
    await read_boundary()
    return waiting.done()


async def test_from_first_content_to_the_end() -> None:
    """Wait, take, begin, ended, finish: the client has the bytes and the connection is free."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    waiting = asyncio.ensure_future(stream.first())
    assert not await is_done(waiting)
    stream.data_received(WORD)
    await waiting
    client.write(chunk(stream.take()).wire)
    stream.begin(client)
    stream.data_received(WORD)
    ending = asyncio.ensure_future(stream.ended())
    stream.data_received(chunk(sse(openai_chunk({}, finish="stop"))).wire)
    assert not await is_done(ending)
    stream.data_received(event("[DONE]").wire + end().wire)
    assert await ending is Outcome.SUCCESS
    assert b"[DONE]" not in client.wire, "the closing event waits"
    await stream.finish()
    body = dechunk(client.wire)
    assert body.complete
    assert body.payload.endswith(b"data: [DONE]\n\n")
    assert splice.calls == ["given back"]
    stream.abort()
    stream.connection_lost(None)
    assert splice.calls == ["given back"]


async def test_everything_was_here_before() -> None:
    """A whole stream that came with its head is content and end at once."""
    splice, client = HandSplice(STREAM), HandClient()
    stream = tapped(splice, HandClock())
    await stream.first()
    client.write(chunk(stream.take()).wire)
    stream.begin(client)
    assert await stream.ended() is Outcome.SUCCESS
    await stream.finish()
    assert dechunk(client.wire).payload == body_of(openai_stream(3))


async def test_ready_bytes_are_bounded() -> None:
    """Between the first content and the client's head reading pauses above the limit, and goes on afterwards."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(BIG)
    assert is_paused(splice)
    assert len(BIG) > READY_LIMIT_BYTES
    stream.begin(client)
    assert not is_paused(splice)
    assert dechunk(client.wire).payload == dechunk(BIG).payload


async def test_reading_goes_on_once_the_ready_bytes_are_taken() -> None:
    """The line takes what is ready before it begins: what paused for it must not stay paused."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(BIG)
    client.write(chunk(stream.take()).wire)
    assert is_paused(splice)
    stream.begin(client)
    assert not is_paused(splice)


async def test_a_client_that_is_behind_pauses_upstream() -> None:
    """At once, whichever path the chunk took; drained, reading goes on, and the pause is counted."""
    splice, client, clock = HandSplice(), HandClient(), HandClock()
    stream = tapped(splice, clock)
    stream.data_received(WORD)
    stream.begin(client)
    stream.data_received(WORD)
    client.full_from = 0
    ending = asyncio.ensure_future(stream.ended())
    stream.data_received(WORD)
    assert is_paused(splice)
    await read_boundary()
    clock.now = 50.0
    assert not stream.is_stalled(clock.now), "the silence is ours"
    client.reads_on()
    await read_boundary()
    assert stream.slow_s == [50.0]
    assert not is_paused(splice)
    assert not stream.is_stalled(clock.now)
    assert stream.is_stalled(clock.now + 11)
    stream.abort()
    stream.fail(Outcome.STALLED)
    assert await ending is Outcome.STALLED


async def test_a_client_that_was_behind_before_the_stream() -> None:
    """Who has not taken the head does not get a firehose."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(WORD)
    client.congested = True
    stream.begin(client)
    assert is_paused(splice)


async def test_a_client_that_never_takes_is_given_up() -> None:
    """After the write timeout the stream is the client's failure; what becomes of upstream is for the line to say."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(WORD)
    client.full_from = 0
    stream.begin(client)
    assert await stream.ended() is Outcome.CLIENT_CLOSED
    assert splice.calls == []
    stream.abort()
    assert splice.calls == ["aborted"]


@pytest.mark.parametrize("clean", [True, False])
async def test_the_end_while_the_client_is_behind(clean: bool) -> None:
    """The last read fills the client and ends the stream: it is whole once the client has taken it."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(WORD)
    stream.begin(client)
    client.full_from = 0
    ending = asyncio.ensure_future(stream.ended())
    stream.data_received(WORD + wire_of(openai_stream(0)[2:]))
    assert splice.calls == ["given back"]
    assert not await is_done(ending)
    if clean:
        client.reads_on()
    assert await ending is Outcome.SUCCESS
    assert splice.calls == ["given back"]


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"zz\r\n", Outcome.PROVIDER_ERROR),
        (event({"error": {"message": "x"}}).wire, Outcome.STREAM_ERROR),
        (end().wire, Outcome.TRUNCATED),
        (b"", Outcome.TRUNCATED),
    ],
)
async def test_endings_before_content(data: bytes, outcome: Outcome) -> None:
    """Nothing is ready, and the reason is told."""
    splice = HandSplice()
    stream = tapped(splice, HandClock())
    if data:
        stream.data_received(data)
    else:
        stream.connection_lost(None)
    await stream.first()
    assert (stream.outcome, stream.take()) == (outcome, b"")


async def test_excess_bytes_cost_the_connection() -> None:
    """What follows the terminal chunk is nobody's answer."""
    splice = HandSplice()
    tapped(splice, HandClock()).data_received(STREAM + b"HTTP/1.1 200 OK\r\n")
    assert splice.calls == ["aborted"]


async def test_the_total_time_and_the_first_cause() -> None:
    """A stream is overdue after total_s; what ended it first is what ended it."""
    splice, clock = HandSplice(), HandClock()
    stream = tapped(splice, clock)
    assert not stream.is_overdue(100)
    assert stream.is_overdue(101)
    stream.fail(Outcome.DEADLINE_EXCEEDED)
    stream.fail(Outcome.STALLED)
    stream.data_received(STREAM)
    assert stream.outcome is Outcome.DEADLINE_EXCEEDED
    assert not stream.is_overdue(200)
    assert not stream.is_stalled(200)
    assert splice.calls == ["aborted"]


@pytest.mark.parametrize("begun", [False, True])
async def test_what_came_with_broken_framing_counts(begun: bool) -> None:
    """The words before it reach the client, and a closing event before it ends a success, in one read or in two."""
    for last, outcome in ((WORD, Outcome.PROVIDER_ERROR), (event("[DONE]").wire, Outcome.SUCCESS)):
        splice, client = HandSplice(), HandClient()
        stream = tapped(splice, HandClock())
        if begun:
            stream.data_received(WORD)
            stream.begin(client)
        stream.data_received(WORD + last + b"zz\r\n")
        await stream.first()
        assert stream.outcome is outcome
        assert splice.calls == ["aborted"]
        if not begun:
            stream.begin(client)
        assert await stream.ended() is outcome
        assert dechunk(client.wire).payload.count(b"word") == 1 + begun + (last == WORD)
        if outcome is Outcome.SUCCESS:
            await stream.finish()
            body = dechunk(client.wire)
            assert body.complete
            assert body.payload.endswith(b"data: [DONE]\n\n")
        stream.abort()


async def test_gaps_are_counted_on_both_paths() -> None:
    """One for each read behind the first content."""
    splice, client, clock = HandSplice(), HandClient(), HandClock()
    stream = tapped(splice, clock)
    stream.data_received(WORD)
    stream.begin(client)
    for number in range(1, 5):
        clock.now = number * 0.5
        stream.data_received(WORD if number % 2 else WORD[:30])
        if not number % 2:
            stream.data_received(WORD[30:])
    assert sum(stream.gaps.counts) == 6
    assert stream.gaps.sum == pytest.approx(2.0)
    assert stream.events == 5


async def test_a_large_event_leaves_no_boundary() -> None:
    """While part of an event has gone nothing may be put in, and its break shows."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(WORD)
    stream.begin(client)
    assert stream.at_event_boundary
    stream.data_received(BIG[:100_000])
    stream.connection_lost(ConnectionResetError())
    assert stream.outcome is Outcome.TRUNCATED
    assert not stream.at_event_boundary
