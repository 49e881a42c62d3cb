"""The hot path: an upstream body written to the client's transport as it is read, with a look at what passes.

While plain content flows, one read costs: compare the event with what all events of this stream have in common (or,
where they differ, count a few markers), write, note the time. Nothing is parsed, copied, awaited, logged or counted
in a metric. Anything else (a split chunk, a finish reason, a usage figure, an error, the end) takes the slow path
through :class:`ChunkDecoder` and :class:`EventFlow` and is framed again, so downstream always stands at a chunk
boundary. Long because what belongs to one chunk stands together.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol

from gateway.core.allowance import EVENT_WEIGHT
from gateway.core.clock import Clock
from gateway.core.flow import EventFlow, EventTooLarge, Phase
from gateway.core.framing import LAST_CHUNK, ChunkDecoder, FramingError, chunk, chunk_size, is_whole_events
from gateway.core.outcome import Outcome
from gateway.splice import DownstreamConnection, Splice
from gateway.upstream.stream import END_GRACE_S, Gaps, StreamLimits, UpstreamStream

MAX_LESSONS = 8
"""How often a stream may show another form of its plain events before every event is looked at for markers."""

UNLEARNED = b"\0"
"""Ends no chunk."""

READY_LIMIT_BYTES = 256 * 1024
"""Bytes kept between the first content and the client's head; above it, reading pauses."""


def _discard(_: bytes) -> None:
    """Take bytes that nobody waits for."""


class RawSink(Protocol):
    """A client whose transport takes chunks that are framed already.

    Attributes:
        transport: the client's transport.
        connection: its protocol, whose ``congested`` is looked at for every chunk.
    """

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def connection(self) -> DownstreamConnection: ...


class TappedStream(asyncio.Protocol, UpstreamStream):
    """An event stream on a spliced connection."""

    __slots__ = (
        "_before",
        "_begun",
        "_behind",
        "_bounds",
        "_connection",
        "_counts",
        "_decoder",
        "_events",
        "_lessons",
        "_open",
        "_ours",
        "_prefix",
        "_splice",
        "_suffix",
        "_weight",
        "_write",
    )

    def __init__(self, splice: Splice, flow: EventFlow, gaps: Gaps, limits: StreamLimits, clock: Clock) -> None:
        UpstreamStream.__init__(self, flow, gaps, limits, clock)
        self._splice = splice
        self._decoder = ChunkDecoder()
        self._connection: DownstreamConnection | None = None
        self._ours = True
        self._begun = False
        self._open = False
        self._write: Callable[[bytes], None] = _discard
        # What one read touches lies together here; the flow gets the sums when somebody asks.
        self._bounds, self._counts = gaps.bounds, gaps.counts
        self._events = self._weight = 0
        self._prefix, self._suffix, self._before, self._behind = b"", UNLEARNED, 2, 1
        self._lessons = MAX_LESSONS
        splice.start(self)

    def data_received(self, data: bytes) -> None:
        if self._open:
            try:
                end, size = data.find(b"\r\n", 1, 20), len(data)
                start, stop = end + self._before, size - self._behind
                if (
                    data.endswith(self._suffix)
                    and data.startswith(self._prefix, end + 2)
                    and data.find(b'"', start, stop) < 0
                    and data.find(b"\n", start, stop) < 0
                    and data.find(b"\r", start, stop) < 0
                    and chunk_size(data[:end]) == size - end - 4
                ):
                    self._events += 1
                    self._weight += stop - start + 4
                elif not self._is_plain(data, end):
                    self._look(data)
                    return
                self._write(data)
                now = self._clock()
                gap = now - self.last_at
                self.last_at = now
                self._counts[bisect_left(self._bounds, gap)] += 1
                self.gaps.sum += gap
                if self._weight > self._room:
                    self._weigh()
            except FramingError:
                self._look(data)  # it finds the same fault and knows what to do with it
            except RuntimeError as trouble:
                self._forget_client(trouble)
        else:
            self._look(data)

    def _is_plain(self, data: bytes, end: int) -> bool:
        """Whether a read may pass as it is: whole chunks of whole events, none of which needs a look.

        Where it is one event, its text is taken for what varies in this stream and the rest for what does not: a
        JSON string without a quote or a line break in it cannot end early, so whatever agrees in all the rest is
        plain too.
        """
        if not data.endswith(b"\n\n\r\n"):
            return False
        size = len(data) - end - 4
        is_one = chunk_size(data[:end]) == size
        if not (is_one or is_whole_events(data)):
            return False
        events = self.flow.reader.plain_events(data)
        if events:
            # What frames the chunks behind the first is no event's.
            text_bytes = self.flow.count(events, size if is_one else size - (events - 1) * (end + 4))
            self._room -= EVENT_WEIGHT * events + text_bytes
        if events == 1 and is_one and self._lessons:
            self._lessons -= 1
            span = self.flow.reader.text_span(data)
            if span is not None:
                self._prefix, self._suffix = data[end + 2 : span[0]], data[span[1] :]
                self._before, self._behind = len(self._prefix) + 2, len(self._suffix)
        return events > 0

    def _fold(self) -> None:
        self.flow.events += self._events
        self.flow.text_bytes += self._weight - EVENT_WEIGHT * self._events
        self._room -= self._weight
        self._events = self._weight = 0

    def _look(self, data: bytes) -> None:
        """Take bytes that may be anything."""
        if self.outcome is not None and self.outcome is not Outcome.SUCCESS:
            return
        now = self._clock()
        if self.flow.phase is not Phase.HELD:
            self.gaps.observe(now - self.last_at)
        self.last_at = now
        broken = False
        try:
            payload = self._decoder.feed(data)
        except FramingError as fault:
            payload, broken = fault.payload, True
        try:
            out = self._feed(payload)
        except EventTooLarge:
            self.fail(Outcome.PROVIDER_ERROR)
            return
        if out:
            self._deliver(out, now)
        if broken:
            # What came before it counts, a closing event too, as if it had been a read of its own.
            self._judge(clean=True)
            self.fail(Outcome.PROVIDER_ERROR)
            return
        if self._decoder.done and self._ours:
            self._body_ended()
        self._judge(clean=True)
        self._open = self._begun and self.flow.open and self._decoder.at_boundary
        if self._weight > self._room:
            self._weigh()

    def _deliver(self, payload: bytes, now: float) -> None:
        if self._begun:
            self._send(chunk(payload))
            return
        self._ready += payload
        if self.first_at is None:
            self.first_at = now
            self._wake()
        if len(self._ready) > READY_LIMIT_BYTES and self._ours:
            self._splice.pause_reading()

    def _body_ended(self) -> None:
        self._ours = False
        self.flow.end()
        if self._decoder.excess:
            self._splice.abort()
        else:
            self._splice.give_back()

    def _judge(self, *, clean: bool) -> None:
        """Set the outcome once it is certain."""
        if self.outcome is None:
            if self.flow.error or self.flow.phase is Phase.CLOSING or not self._ours:
                self.outcome = self.flow.verdict(clean=clean)
                self._wake()
        elif not self._ours:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        if not self._ours:
            return
        self._ours = False
        self._splice.connection_lost(exc)
        self.flow.end()
        self._judge(clean=False)

    async def first(self) -> None:
        while self.flow.phase is Phase.HELD and self.outcome is None:
            await self._woken()

    def begin(self, sink: RawSink) -> None:
        self._connection = sink.connection
        self._connection.on_congested = self._throttle
        self._write = sink.transport.write
        self._begun = True
        # Paused where much was ready, which may have been taken meanwhile; the client may pause it again at once.
        self._read_on()
        if self._ready:
            self._send(chunk(self.take()))
        if self._connection.congested:
            self._throttle()
        self._open = self.outcome is None and self.flow.open and self._decoder.at_boundary

    def _throttle(self) -> None:
        """The client is behind; called by its connection, in the middle of a write."""
        if not self._throttled and self._ours:
            self._throttled = True
            self._splice.pause_reading()
            self._wake()

    def _hold_back(self) -> None:
        if self._ours:
            self._splice.pause_reading()

    def _read_on(self) -> None:
        """Read, unless something else holds it back."""
        if self._ours and not (self._throttled or self._owing):
            self._splice.resume_reading()

    async def ended(self) -> Outcome:
        while True:
            if self._throttled and self._connection is not None:
                await self._within_write_timeout(self._connection.drained())
                self._throttled = False
                self._read_on()
            elif self.outcome is not None:
                return self.outcome
            elif self._owing:
                await self._top_up()
                self._read_on()
            else:
                await self._woken()

    def _let_client_go(self) -> None:
        if self._connection is not None:
            self._connection.on_congested, self._connection = None, None
        self._ready.clear()
        self._write = _discard
        self._begun = True
        self._read_on()

    async def finish(self) -> None:
        last = chunk(self.flow.release())
        if self._ours:
            if last:
                self._send(last)
                last = b""
            try:
                async with asyncio.timeout(END_GRACE_S):
                    while self._ours:
                        await self._woken()
            except TimeoutError:
                self.abort()
            last = chunk(self.flow.release())
        self._send(last + LAST_CHUNK)

    def _send(self, data: bytes) -> None:
        try:
            self._write(data)
        except RuntimeError as trouble:
            self._forget_client(trouble)

    def _forget_client(self, trouble: RuntimeError) -> None:
        """uvloop writes to no transport that is closed, and tells its protocol only a moment later that it is."""
        transport = self._connection.transport if self._connection is not None else None
        if transport is not None and not transport.is_closing():
            raise trouble
        self._write = _discard

    def _break_off(self) -> None:
        self._open = False
        if self._connection is not None:
            # The connection outlives the stream; without this each would keep the other.
            self._connection.on_congested, self._connection = None, None
        if self._ours:
            self._ours = False
            self._splice.abort()
