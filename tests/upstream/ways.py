"""The two ways of a stream behind one set of verbs: a provider that sends, a client that takes, and no sockets."""

import asyncio
from typing import Any, cast

import aiohttp

from gateway.core.flow import EventFlow
from gateway.core.outcome import Outcome
from gateway.splice import Splice
from gateway.upstream.plain import PlainStream
from gateway.upstream.stream import StreamLimits, UpstreamStream
from gateway.upstream.tap import TappedStream
from tests.provider_answers import openai_chunk, openai_stream
from tests.raw_connection import read_boundary
from tests.raw_http import dechunk
from tests.upstream.passing import CHAT, HandClient, HandClock, HandSplice, gaps
from tests.upstream_script import body_of, chunk, end, sse

LIMITS = StreamLimits(stall_s=10, write_timeout_s=60)

WORD = sse(openai_chunk({"content": "word"}))
LONG = sse(openai_chunk({"content": "word" * 10}))
BROKEN = sse({"error": {"message": "x"}})
ENDING = body_of(openai_stream(0)[2:])
"""Finish reason and closing event."""


class Purse:
    """Whoever is asked for more tokens: tells when, and answers when told to."""

    def __init__(self, *ready: int | None) -> None:
        self.times = 0
        self.cancelled = asyncio.Event()
        self._ready = list(ready)
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def more(self) -> int | None:
        self.times += 1
        if self._ready:
            return self._ready.pop(0)
        self._answer = asyncio.get_running_loop().create_future()
        self._asked.set()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def asked(self) -> None:
        """Wait until somebody waits for an answer."""
        await self._asked.wait()
        self._asked.clear()

    def answers(self, tokens: int | None) -> None:
        self._answer.set_result(tokens)

    def fails(self, error: Exception) -> None:
        self._answer.set_exception(error)


class SplicedWay(HandSplice):
    """A stream between two transports. What comes while nothing is read waits before it, as in a socket."""

    def __init__(self, limits: StreamLimits = LIMITS) -> None:
        super().__init__()
        self.clock = HandClock()
        self.client = HandClient()
        self.is_read = asyncio.Event()
        self._sent: list[bytes] = []
        self.is_read.set()
        flow = EventFlow(CHAT.reader(hide_usage=True))
        self.stream: UpstreamStream = TappedStream(cast(Splice, self), flow, gaps(), limits, self.clock)

    # What the stream does to its connection

    def pause_reading(self) -> None:
        super().pause_reading()
        self.is_read.clear()

    def resume_reading(self) -> None:
        super().resume_reading()
        self.is_read.set()
        asyncio.get_running_loop().call_soon(self._arrive)

    def _arrive(self) -> None:
        while self._sent and not self.paused and not self.calls:
            self.slips_through(self._sent.pop(0))

    def slips_through(self, framed: bytes) -> None:
        """A read comes, whether reading is paused or not."""
        cast(TappedStream, self.stream).data_received(framed)

    # What a test says

    @property
    def is_closed(self) -> bool:
        return "aborted" in self.calls

    @property
    def waiting(self) -> int:
        """Reads that the stream has not taken."""
        return len(self._sent)

    @property
    def payload(self) -> bytes:
        return dechunk(self.client.wire).payload

    def sends(self, payload: bytes) -> None:
        """One read, with one chunk in it."""
        self._sent.append(chunk(payload).wire)
        self._arrive()

    def ends(self) -> None:
        """The body ends as HTTP says."""
        self._sent.append(end().wire)
        self._arrive()

    def breaks(self) -> None:
        """The connection is lost; a transport may say so while nothing is read."""
        cast(TappedStream, self.stream).connection_lost(ConnectionResetError())

    def client_stops(self) -> None:
        self.client.full_from = 0

    def client_reads_on(self) -> None:
        self.client.reads_on()

    async def begin(self) -> None:
        await self.stream.first()
        self.client.write(chunk(self.stream.take()).wire)
        self.stream.begin(self.client)


class PlainWay:
    """A stream out of aiohttp's reader into a sink; it is its own response, reader and sink."""

    def __init__(self, limits: StreamLimits = LIMITS) -> None:
        self.clock = HandClock()
        self.content = self
        self.closed = False
        self.payload = b""
        self.is_read = asyncio.Event()
        self._takes = asyncio.Event()
        self._takes.set()
        self._sent: list[bytes | Exception] = []
        self._came = asyncio.Event()
        flow = EventFlow(CHAT.reader(hide_usage=True))
        self.stream: UpstreamStream = PlainStream(cast(Any, self), flow, gaps(), limits, self.clock)

    # What the stream does to its response and its client

    async def readany(self) -> bytes:
        self.is_read.set()
        try:
            while not self._sent:
                self._came.clear()
                await self._came.wait()
        finally:
            self.is_read.clear()
        read = self._sent.pop(0)
        if isinstance(read, Exception):
            raise read
        return read

    def close(self) -> None:
        self.closed = True
        self._say(aiohttp.ClientConnectionError())

    async def send(self, payload: bytes) -> None:
        self.payload += payload
        await self._takes.wait()

    async def end(self) -> None:
        """The client's body ends."""

    # What a test says

    @property
    def is_closed(self) -> bool:
        return self.closed

    @property
    def waiting(self) -> int:
        """Reads that the stream has not taken."""
        return len(self._sent)

    def _say(self, read: bytes | Exception) -> None:
        self._sent.append(read)
        self._came.set()

    def sends(self, payload: bytes) -> None:
        """One read."""
        self._say(payload)

    def ends(self) -> None:
        """The body ends as HTTP says."""
        self._say(b"")

    def breaks(self) -> None:
        """The connection is lost: whoever reads next learns of it."""
        self._say(aiohttp.ClientPayloadError())

    def client_stops(self) -> None:
        self._takes.clear()

    def client_reads_on(self) -> None:
        self._takes.set()

    async def begin(self) -> None:
        await self.stream.first()
        self.payload += self.stream.take()
        self.stream.begin(self)


Way = SplicedWay | PlainWay
WAYS: dict[str, type[SplicedWay] | type[PlainWay]] = {"spliced": SplicedWay, "plain": PlainWay}


async def relay(way: Way) -> Outcome:
    """What the line does with a stream that has begun."""
    outcome = await way.stream.ended()
    if outcome is Outcome.SUCCESS:
        await way.stream.finish()
    return outcome


async def begun(way: Way, purse: Purse, tokens: int = 3, first: bytes = WORD) -> asyncio.Task[Outcome]:
    """The line relays a stream of which the first content has come."""
    way.sends(first)
    await way.stream.first()
    way.stream.allow(tokens, purse.more)
    await way.begin()
    relaying = asyncio.create_task(relay(way))
    await read_boundary()
    return relaying


async def used_up(way: Way, purse: Purse, tokens: int = 3) -> asyncio.Task[Outcome]:
    """The same, and somebody is being asked for more."""
    relaying = await begun(way, purse, tokens)
    for _ in range(tokens):
        way.sends(WORD)
    await purse.asked()
    return relaying
