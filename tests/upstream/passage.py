"""One tapped stream between two ends without sockets: reads go in, and what it does with them can be compared."""

from collections.abc import Iterable
from typing import Any, cast

from gateway.core.flow import EventFlow
from gateway.core.framing import ChunkDecoder, chunk
from gateway.core.tokens import Usage
from gateway.dialects import Operation
from gateway.splice import Splice
from gateway.upstream.stream import StreamLimits
from gateway.upstream.tap import MAX_LESSONS, RawSink, TappedStream


class Ended:
    """An upstream connection that is only told when the stream is done with it, and whether it is read."""

    def __init__(self) -> None:
        self.over = self.paused = False

    def start(self, protocol: object) -> None:
        """Nothing to start: the test calls ``data_received`` itself."""

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def give_back(self) -> None:
        self.over = True

    def abort(self) -> None:
        self.over = True


class Client:
    """A client that takes everything; its own transport and connection."""

    congested = False
    on_congested: object = None

    def __init__(self) -> None:
        self.connection = self.transport = self
        self.payload = b""
        self._decoder = ChunkDecoder()

    def write(self, data: bytes) -> None:
        self.payload += self._decoder.feed(data)
        assert self._decoder.at_boundary


class NoGaps:
    """Time stands still here."""

    bounds: tuple[float, ...] = ()

    def __init__(self) -> None:
        self.counts = [0]
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[0] += 1


class Watched(TappedStream):
    """A stream that counts how often it took the full look."""

    __slots__ = ("looks",)

    def __init__(self, *arguments: Any) -> None:
        self.looks = 0
        super().__init__(*arguments)

    def _is_plain(self, data: bytes, end: int) -> bool:
        self.looks += 1
        return super()._is_plain(data, end)


class Passage:
    """One stream between its two ends, begun with a first content event."""

    def __init__(self, operation: Operation, first: bytes, *, lessons: int = MAX_LESSONS) -> None:
        self.splice = Ended()
        self.client = Client()
        flow = EventFlow(operation.reader(hide_usage=True))
        self.stream = Watched(cast(Splice, self.splice), flow, NoGaps(), StreamLimits(1.0, 1.0), lambda: 0.0)
        self.stream._lessons = lessons
        self.stream.data_received(chunk(first))
        self.stream.begin(cast(RawSink, self.client))

    def read(self, data: bytes) -> None:
        if not self.splice.over:
            self.stream.data_received(data)

    def state(self) -> tuple[object, ...]:
        """All that decides what the stream does next, and what the client has got."""
        flow = self.stream.flow
        known: tuple[bool, bool, Usage | None] = (flow.reader.finished, flow.reader.ending, flow.reader.usage())
        return (
            self.client.payload,
            self.stream.outcome,
            flow.phase,
            flow.error,
            flow.at_boundary,
            known,
            flow.reader.response_id,
        )


def passed(passage: Passage, events: Iterable[bytes]) -> Watched:
    """A stream behind which these events lie, each a read of its own."""
    for raw in events:
        passage.read(chunk(raw))
    return passage.stream
