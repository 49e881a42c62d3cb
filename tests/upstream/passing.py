"""Streams without sockets: a splice that is told what upstream sent, and a client that takes or does not."""

import asyncio
from typing import Any, cast

from gateway.core.flow import EventFlow
from gateway.dialects import OPERATIONS
from gateway.metrics import HistogramCell
from gateway.splice import Splice
from gateway.upstream.stream import StreamLimits
from gateway.upstream.tap import TappedStream

CHAT = next(operation for operation in OPERATIONS if operation.name == "chat")
LIMITS = StreamLimits(stall_s=10, write_timeout_s=0.05, total_s=100)


class HandClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class HandSplice:
    """Stands for an upstream connection: what came before, what is asked of it, and in which order."""

    def __init__(self, surplus: bytes = b"") -> None:
        self.surplus = surplus
        self.calls: list[str] = []
        self.paused = False

    def start(self, reader: asyncio.Protocol) -> None:
        if self.surplus:
            reader.data_received(self.surplus)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def give_back(self) -> None:
        self.calls.append("given back")

    def abort(self) -> None:
        self.calls.append("aborted")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")


class HandClient:
    """Stands for a client's connection and transport at once."""

    def __init__(self) -> None:
        self.wire = b""
        self.congested = False
        self.on_congested: Any = None
        self.relieved = asyncio.Event()
        self.connection: Any = self
        self.transport: Any = self
        self.full_from = 1 << 30

    def write(self, data: bytes) -> None:
        self.wire += data
        if len(self.wire) >= self.full_from and not self.congested:
            self.congested = True
            if self.on_congested is not None:
                self.on_congested()

    async def drained(self) -> None:
        await self.relieved.wait()

    def reads_on(self) -> None:
        """The client has taken everything."""
        self.full_from, self.congested = 1 << 30, False
        self.relieved.set()


def gaps() -> HistogramCell:
    return HistogramCell((0.1, 1.0), ("a", "b", "c", "d", "e"))


def tapped(splice: HandSplice, clock: HandClock, limits: StreamLimits = LIMITS) -> TappedStream:
    """A stream of the chat endpoint whose usage event is ours to hide."""
    return TappedStream(cast(Splice, splice), EventFlow(CHAT.reader(hide_usage=True)), gaps(), limits, clock)
