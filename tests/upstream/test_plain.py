"""The plain stream on its own: aiohttp's reader on one side, any client on the other."""

import asyncio
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
    """Stands for a response: reads in order; an exception among them is raised, their end stalls or is the body's.

    ``silent`` is set when it has no more to say; closing it then ends the read, as aiohttp does.
    """

    reads: list[Any]
    stalls: bool = False
    closed: bool = False
    content: Any = field(init=False)
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.content = self

    async def readany(self) -> bytes:
        if not self.reads:
            if self.stalls:
                self.silent.set()
                await self._over.wait()
                raise aiohttp.ClientConnectionError
            return b""
        read = self.reads.pop(0)
        if isinstance(read, Exception):
            raise read
        return bytes(read)

    def close(self) -> None:
        self.closed = True
        self._over.set()


@dataclass
class HandSink:
    """Stands for a client; ``takes`` is how many sends it takes before it stops, ``stuck`` is set when it does."""

    takes: int = 1000
    leaves: bool = False
    body: bytes = b""
    ended: bool = False
    stuck: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, payload: bytes) -> None:
        self.takes -= 1
        if self.takes < 0:
            if self.leaves:
                raise ConnectionResetError
            self.stuck.set()
            await asyncio.Event().wait()
        self.body += payload

    async def end(self) -> None:
        self.ended = True


def plain(response: HandResponse, limits: StreamLimits = SHORT) -> PlainStream:
    return PlainStream(response, EventFlow(CHAT.reader(hide_usage=True)), gaps(), limits, HandClock())  # type: ignore[arg-type]


async def swept(stream: PlainStream, response: HandResponse) -> None:
    """The sweep comes once the provider has been silent for too long."""
    await response.silent.wait()
    assert not stream.is_stalled(0.0)
    assert stream.is_stalled(1e9)
    stream.fail(Outcome.STALLED)


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
        ([WORD, RuntimeError("Connection closed.")], Outcome.TRUNCATED),
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
    waiting = HandResponse([], stalls=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await plain(waiting).first()
    response = HandResponse([WORD], stalls=True)
    stream = plain(response)
    ending = asyncio.create_task(relayed(stream, HandSink()))
    await swept(stream, response)
    assert (await ending, response.closed) == (Outcome.STALLED, True)


async def test_a_slow_client_is_no_silence() -> None:
    """While the client takes nothing, nothing is read, and the provider is not to blame."""
    response, sink = HandResponse([WORD] * 3, stalls=True), HandSink(takes=2)
    stream = plain(response, StreamLimits(stall_s=1, write_timeout_s=60))
    ending = asyncio.create_task(relayed(stream, sink))
    await sink.stuck.wait()
    assert not stream.is_stalled(1e9)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert stream.is_stalled(1e9)


async def test_silence_behind_the_closing_event_ends_the_body() -> None:
    """The stream is whole; a stall limit shorter than the grace changes nothing."""
    response, sink = HandResponse([BODY], stalls=True), HandSink()
    assert await relayed(plain(response), sink) is Outcome.SUCCESS
    assert (sink.body, sink.ended, response.closed) == (BODY, True, True)


@pytest.mark.parametrize("leaves", [True, False])
async def test_clients_that_take_no_more(leaves: bool) -> None:
    """Gone, or stuck beyond the write timeout: what becomes of upstream is for the line to say."""
    response = HandResponse([WORD] * 5, stalls=True)
    stream = plain(response, StreamLimits(stall_s=5, write_timeout_s=0.02))
    assert await relayed(stream, HandSink(takes=2, leaves=leaves)) is Outcome.CLIENT_CLOSED
    assert not response.closed
    stream.abort()
    assert response.closed


async def test_clients_that_take_no_closing_event() -> None:
    """The stream was whole; nothing that comes behind it is waited for."""
    response = HandResponse([BODY, b": more\n\n"])
    assert await relayed(plain(response), HandSink(takes=1)) is Outcome.SUCCESS
    assert (response.closed, response.reads) == (True, [b": more\n\n"])


@pytest.mark.parametrize("size", [50, 100_000])
async def test_read_on_without_a_client(size: int) -> None:
    """Whatever the reads, the figures are those of the whole stream, the connection is free, and nobody is told: even
    where more came than was allowed, if all of it is here.
    """
    usage = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39}
    first, rest = WORD, body_of(openai_stream(4, usage=usage))
    response, sink = HandResponse([first, *(rest[i : i + size] for i in range(0, len(rest), size))]), HandSink(takes=0)
    stream = plain(response)
    await stream.first()
    stream.begin(sink)
    assert stream.detach(100 if size == 50 else 1, 60.0)
    assert await stream.ended() is Outcome.SUCCESS
    await stream.finish()
    assert not sink.ended
    reported = stream.flow.reader.usage()
    assert reported is not None
    assert (reported.input_total, reported.output, stream.events, response.closed) == (9, 30, 5, False)


async def test_read_on_after_a_client_that_took_nothing() -> None:
    """It was given up, the provider was not."""
    response = HandResponse([WORD] * 3 + [body_of(openai_stream(0)[2:])])
    stream = plain(response, StreamLimits(stall_s=5, write_timeout_s=0.02))
    assert await relayed(stream, HandSink(takes=2)) is Outcome.CLIENT_CLOSED
    assert stream.detach(100, 60.0)
    assert await stream.ended() is Outcome.SUCCESS
    assert stream.events == 3


@pytest.mark.parametrize(
    ("reads", "outcome"),
    [
        ([WORD] * 9, Outcome.CLIENT_CLOSED),
        ([WORD] * 3, Outcome.STALLED),
        ([WORD, aiohttp.ClientPayloadError()], Outcome.TRUNCATED),
        ([WORD, sse({"error": {"message": "x"}})], Outcome.STREAM_ERROR),
        ([sse(openai_chunk({"content": "x" * 100}))], Outcome.CLIENT_CLOSED),
    ],
)
async def test_ends_without_a_client(reads: list[Any], outcome: Outcome) -> None:
    """Five tokens were allowed; or it falls silent, breaks off, fails. Nobody is told, nothing is waited for."""
    response = HandResponse([WORD, *reads], stalls=True)
    stream = plain(response, StreamLimits(stall_s=0.02, write_timeout_s=60))
    await stream.first()
    stream.begin(HandSink(takes=0))
    assert stream.detach(5, 60.0)
    ending = asyncio.create_task(stream.ended())
    if outcome is Outcome.STALLED:
        await swept(stream, response)
    assert await ending is outcome
    assert stream.events <= 1 + 5 + 1
    stream.abort()
    assert response.closed
