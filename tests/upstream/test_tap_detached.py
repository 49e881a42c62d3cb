"""The tapped stream without its client: bytes go nowhere, figures are found, and upstream is free or closed."""

import asyncio
import gc
import weakref

import pytest

from gateway.core.outcome import Outcome
from gateway.core.tokens import Usage
from gateway.upstream.tap import TappedStream
from tests.provider_answers import openai_chunk, openai_stream
from tests.raw_connection import read_boundary
from tests.upstream.passage import Passage, passed
from tests.upstream.passing import CHAT, HandClient, HandClock, HandSplice, tapped
from tests.upstream.test_tap import is_paused
from tests.upstream_script import chunk, end, event, sse, wire_of

WORD = event(openai_chunk({"content": "word"})).wire
LONG = event(openai_chunk({"content": "word" * 25})).wire
BIG = chunk(sse(openai_chunk({"content": "x" * 300_000}))).wire
USAGE = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39}
ENDING = wire_of(openai_stream(0, usage=USAGE)[2:])
"""Finish reason, usage, closing event, terminal chunk."""


class Left:
    """A stream whose client has had some words and is gone."""

    def __init__(self, *reads: bytes, max_tokens: int = 100) -> None:
        self.splice, self.client, self.clock = HandSplice(), HandClient(), HandClock()
        self.stream: TappedStream = tapped(self.splice, self.clock)
        self.stream.data_received(WORD)
        self.stream.begin(self.client)
        for read in reads:
            self.stream.data_received(read)
        self.heard = self.client.wire
        assert self.stream.detach(max_tokens, 60.0)

    @property
    def usage(self) -> Usage | None:
        return self.stream.flow.reader.usage()


@pytest.mark.parametrize("size", [1, 37, 100_000])
async def test_figures_without_a_client(size: int) -> None:
    """Whatever the reads: the usage is found, the connection is given back, and the client hears nothing of it."""
    left = Left(WORD, WORD)
    ending = asyncio.ensure_future(left.stream.ended())
    rest = WORD * 5 + ENDING
    for at in range(0, len(rest), size):
        left.stream.data_received(rest[at : at + size])
    assert await ending is Outcome.SUCCESS
    await left.stream.finish()
    assert left.usage is not None
    assert (left.usage.input_total, left.usage.output, left.stream.events) == (9, 30, 8)
    assert left.splice.calls == ["given back"]
    assert left.client.wire == left.heard


async def test_words_pass_as_fast_as_before() -> None:
    """By the shortcut that they had learned, and counted as ever: words, gaps, and when the last one came."""
    word = sse(openai_chunk({"content": "word"}))
    passage = Passage(CHAT, word)
    passed(passage, [word] * 3)
    looks, heard = passage.stream.looks, passage.client.payload
    assert passage.stream.detach(100, 60.0)
    passed(passage, [word] * 20)
    assert (passage.stream.looks, passage.client.payload, passage.stream.events) == (looks, heard, 24)
    left = Left()
    for _ in range(20):
        left.clock.now += 0.5
        left.stream.data_received(WORD)
    assert (left.stream.gaps.sum, left.stream.last_at) == (10.0, 10.0)


async def test_the_closing_event_without_the_terminal_chunk() -> None:
    """It is waited for shortly; then upstream is closed, and the stream is whole all the same."""
    left = Left()
    left.stream.data_received(ENDING.removesuffix(end().wire))
    assert await left.stream.ended() is Outcome.SUCCESS
    finishing = asyncio.ensure_future(left.stream.finish())
    await read_boundary()
    assert not finishing.done()
    left.stream.data_received(end().wire)
    await finishing
    assert left.splice.calls == ["given back"]


async def test_a_client_that_was_behind_holds_nothing_up() -> None:
    """Reading goes on; its silence is not the provider's; and what its connection does later is nobody's business."""
    splice, client, clock = HandSplice(), HandClient(), HandClock()
    stream = tapped(splice, clock)
    stream.data_received(WORD)
    client.full_from = 0
    stream.begin(client)
    handler = asyncio.ensure_future(stream.ended())
    await read_boundary()
    assert is_paused(splice)
    handler.cancel()
    await asyncio.wait([handler])
    clock.now = 1000.0
    assert stream.detach(100, 60.0)
    assert not is_paused(splice)
    assert client.on_congested is None
    assert not stream.is_stalled(1010.0)
    assert stream.is_stalled(1010.1)
    stream.data_received(ENDING)
    assert await stream.ended() is Outcome.SUCCESS


async def test_a_client_that_was_given_up_is_not_the_end() -> None:
    """After the write timeout the client is gone, and the provider still talks."""
    splice, client = HandSplice(), HandClient()
    stream = tapped(splice, HandClock())
    stream.data_received(WORD)
    client.full_from = 0
    stream.begin(client)
    assert await stream.ended() is Outcome.CLIENT_CLOSED
    assert stream.detach(100, 60.0)
    assert (stream.outcome, splice.paused, splice.calls) == (None, False, [])
    stream.data_received(WORD + ENDING)
    assert await stream.ended() is Outcome.SUCCESS


@pytest.mark.parametrize("big", [True, False])
async def test_a_client_that_left_before_its_head(big: bool) -> None:
    """What was ready goes nowhere, and what paused for it goes on."""
    splice = HandSplice()
    stream = tapped(splice, HandClock())
    stream.data_received(BIG if big else WORD)
    assert splice.paused == big
    assert stream.detach(100, 60.0)
    stream.data_received(event(openai_chunk({"role": "x" * 300_000})).wire)
    assert (splice.paused, stream.take()) == (False, b"")
    stream.data_received(WORD + ENDING)
    assert await stream.ended() is Outcome.SUCCESS
    assert (stream.events, splice.calls) == (2, ["given back"])


@pytest.mark.parametrize(
    ("read", "in_one", "words"),
    [
        (WORD, 1, 11),
        (WORD * 3, 3, 12),
        (WORD[:20] + WORD[20:], 1, 11),
        (LONG, 1, 1),
        (event(openai_chunk({"content": '"a"'})).wire, 1, 11),
    ],
)
async def test_so_many_tokens_and_no_more(read: bytes, in_one: int, words: int) -> None:
    """The read that has more than the allowance in it is the last, whichever way the words take."""
    left = Left(max_tokens=10)
    waiting = asyncio.ensure_future(left.stream.ended())
    while left.stream.outcome is None:
        left.stream.data_received(read)
        assert left.stream.events <= 1 + 10 + in_one
    assert await waiting is Outcome.CLIENT_CLOSED
    assert (left.stream.events - 1, left.splice.calls) == (words, ["aborted"])


async def test_cut_reads_are_counted_too() -> None:
    """Words that are split over reads take the long way to the same allowance."""
    left = Left(max_tokens=10)
    cut = WORD * 11
    for at in range(0, len(cut), 33):
        left.stream.data_received(cut[at : at + 33])
    assert left.stream.outcome is Outcome.CLIENT_CLOSED
    assert left.splice.calls == ["aborted"]


async def test_an_allowance_that_just_suffices() -> None:
    """Ten tokens may come, ten come, and the end: nothing is cut off."""
    left = Left(max_tokens=10)
    left.stream.data_received(WORD * 10)
    left.stream.data_received(ENDING)
    assert await left.stream.ended() is Outcome.SUCCESS
    await left.stream.finish()
    assert left.splice.calls == ["given back"]


@pytest.mark.parametrize(
    ("data", "outcome", "calls"),
    [
        (event({"error": {"message": "x"}}).wire, Outcome.STREAM_ERROR, []),
        (end().wire, Outcome.TRUNCATED, ["given back"]),
        (b"zz\r\n", Outcome.PROVIDER_ERROR, ["aborted"]),
        (None, Outcome.TRUNCATED, ["lost"]),
    ],
)
async def test_endings_without_a_client(data: bytes | None, outcome: Outcome, calls: list[str]) -> None:
    """As with one, and nobody is told."""
    left = Left()
    waiting = asyncio.ensure_future(left.stream.ended())
    if data is None:
        left.stream.connection_lost(ConnectionResetError())
    else:
        left.stream.data_received(data)
    assert await waiting is outcome
    assert (left.splice.calls, left.client.wire) == (calls, left.heard)


@pytest.mark.parametrize("ended", [True, False])
async def test_nothing_keeps_itself(ended: bool) -> None:
    """Once it is aborted, as every stream is in the end, a stream goes without the garbage collector."""
    left = Left()
    if ended:
        left.stream.data_received(ENDING)
    left.stream.abort()
    gone = weakref.ref(left.splice)
    gc.disable()
    try:
        del left
        assert gone() is None
    finally:
        gc.enable()


class Closing(HandClient):
    """A client whose transport is closed or not, and refuses to be written to, as uvloop's does."""

    def __init__(self, *, closed: bool) -> None:
        super().__init__()
        self.closed = closed
        self.refuses = False

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        if self.refuses:
            raise RuntimeError("the handler is closed")
        super().write(data)


@pytest.mark.parametrize("read", [WORD, WORD[:-3], WORD + ENDING], ids=["learned", "split", "ending"])
async def test_a_client_that_is_gone_before_anybody_was_told(read: bytes) -> None:
    """What comes in that moment is counted and goes nowhere; the stream goes on, and can be read on without it."""
    client, stream = Closing(closed=True), tapped(HandSplice(), HandClock())
    stream.data_received(WORD)
    stream.begin(client)
    stream.data_received(WORD)
    client.refuses = True
    stream.data_received(read)
    stream.data_received(WORD + ENDING if read == WORD else WORD[-3:] if read != WORD + ENDING else b"")
    assert stream.events >= 3
    assert stream.outcome in (None, Outcome.SUCCESS)


def test_another_mistake_is_not_taken_for_that() -> None:
    """A transport that is open and refuses is a fault of ours."""
    client, stream = Closing(closed=False), tapped(HandSplice(), HandClock())
    stream.data_received(WORD)
    stream.begin(client)
    client.refuses = True
    with pytest.raises(RuntimeError, match="handler is closed"):
        stream.data_received(WORD)
