"""The plain stream on its own: aiohttp's reader on one side, any client on the other."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from gateway.core.flow import EventFlow
from gateway.core.outcome import Outcome
from gateway.upstream.plain import PlainStream
from gateway.upstream.stream import StreamLimits
from tests.provider_answers import openai_chunk, openai_stream
from tests.upstream.passing import CHAT, HandClock, gaps
from tests.upstream_script import body_of, sse

BODY = body_of(openai_stream(3))
WORD = sse(openai_chunk({"content": "word"}))
SHORT = StreamLimits(stall_s=0.02, write_timeout_s=0.02)


@dataclass
class HandResponse:
    """Stands for a response: reads in order; an exception among them is raised, their end stalls or is the body's."""

    reads: list[Any]
    stalls: bool = False
    closed: bool = False
    content: Any = field(init=False)

    def __post_init__(self) -> None:
        self.content = self

    async def readany(self) -> bytes:
        if not self.reads:
            if self.stalls:
                await asyncio.Event().wait()
            return b""
        read = self.reads.pop(0)
        if isinstance(read, Exception):
            raise read
        return bytes(read)

    def close(self) -> None:
        self.closed = True


@dataclass
class HandSink:
    """Stands for a client; ``takes`` is how many sends it takes before it stops."""

    takes: int = 1000
    leaves: bool = False
    body: bytes = b""
    ended: bool = False

    async def send(self, payload: bytes) -> None:
        self.takes -= 1
        if self.takes < 0:
            if self.leaves:
                raise ConnectionResetError
            await asyncio.Event().wait()
        self.body += payload

    async def end(self) -> None:
        self.ended = True


def plain(response: HandResponse, limits: StreamLimits = SHORT) -> PlainStream:
    return PlainStream(response, EventFlow(CHAT.reader(hide_usage=True)), gaps(), limits, HandClock())  # type: ignore[arg-type]


async def relayed(stream: PlainStream, sink: HandSink) -> Outcome:
    """Takes a stream from its first content to its end."""
    await stream.first()
    first = stream.take()
    if first:
        await sink.send(first)
    stream.begin(sink)
    outcome = await stream.ended()
    if outcome is Outcome.SUCCESS:
        await stream.finish()
    return outcome


@pytest.mark.parametrize("size", [1, 50, 100_000])
async def test_reads_of_any_size(size: int) -> None:
    """The client gets every byte and the end of its body."""
    response, sink = HandResponse([BODY[i : i + size] for i in range(0, len(BODY), size)]), HandSink()
    assert await relayed(plain(response), sink) is Outcome.SUCCESS
    assert (sink.body, sink.ended, response.closed) == (BODY, True, False)


@pytest.mark.parametrize(
    ("reads", "outcome"),
    [
        ([WORD], Outcome.TRUNCATED),
        ([WORD, aiohttp.ClientPayloadError()], Outcome.TRUNCATED),
        ([WORD, ConnectionResetError()], Outcome.TRUNCATED),
        ([WORD, sse({"error": {"message": "x"}})], Outcome.STREAM_ERROR),
        ([WORD, b"data: " + b"x" * 9_000_000], Outcome.PROVIDER_ERROR),
        ([BODY, ConnectionResetError()], Outcome.SUCCESS),
        ([BODY[:-14], ConnectionResetError()], Outcome.TRUNCATED),
    ],
)
async def test_endings(reads: list[Any], outcome: Outcome) -> None:
    """The same verdicts as on the other way."""
    assert await relayed(plain(HandResponse(reads)), HandSink()) is outcome


async def test_silence_is_measured_from_the_first_content() -> None:
    """Before it the attempt's own deadline counts, a stall limit does not."""
    stream = plain(HandResponse([], stalls=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await stream.first()
    assert stream.outcome is None
    response = HandResponse([WORD], stalls=True)
    assert await relayed(plain(response), HandSink()) is Outcome.STALLED
    assert response.closed
    assert not plain(response).is_stalled(1e9)


async def test_silence_behind_the_closing_event_ends_the_body() -> None:
    """The stream is whole; a stall limit shorter than the grace changes nothing."""
    response, sink = HandResponse([BODY], stalls=True), HandSink()
    assert await relayed(plain(response), sink) is Outcome.SUCCESS
    assert (sink.body, sink.ended, response.closed) == (BODY, True, True)


@pytest.mark.parametrize("leaves", [True, False])
async def test_clients_that_take_no_more(leaves: bool) -> None:
    """Gone, or stuck beyond the write timeout: upstream is closed, and the pause was counted where there was one."""
    response = HandResponse([WORD] * 5, stalls=True)
    stream = plain(response, StreamLimits(stall_s=5, write_timeout_s=0.02))
    with contextlib.suppress(ConnectionError):
        assert await relayed(stream, HandSink(takes=2, leaves=leaves)) is Outcome.CLIENT_CLOSED
    assert response.closed
