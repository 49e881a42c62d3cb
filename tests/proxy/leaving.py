"""Streams whose clients leave, on a clock and a sweep that are moved by hand."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.core.outcome import Outcome
from gateway.core.tokens import Source
from gateway.metrics import Metrics
from gateway.proxy.exchange import Exchange
from gateway.proxy.live import LiveStreams
from gateway.proxy.unfinished import Unfinished
from gateway.proxy.usage import usage_of
from gateway.upstream.settings import UnfinishedSettings
from gateway.upstream.tap import TappedStream
from tests.provider_answers import openai_chunk, openai_stream
from tests.raw_connection import read_boundary
from tests.surface.exchanges import NOW_S, books_of, order_of, tried
from tests.upstream.passing import LIMITS, HandClient, HandClock, HandSplice, tapped
from tests.upstream_script import end, event, wire_of

CHAT = "/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "x"}]}
WORD = event(openai_chunk({"content": "word"})).wire
USAGE = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39}
ENDING = wire_of(openai_stream(0, usage=USAGE)[2:])
"""Finish reason, usage, closing event, terminal chunk."""

SAID_ALL = ENDING.removesuffix(end().wire)
"""The same without the terminal chunk: whole, and not at its end."""

LATER_S = LIMITS.stall_s - 1
"""Not yet a stall."""


class Left:
    """Streams whose clients have had two words; what was settled of them, in order."""

    def __init__(self, **policy: Any) -> None:
        self.clock = HandClock()
        self.clock.now = NOW_S
        self.tasks: list[asyncio.Task[None]] = []
        self.settled: list[tuple[Exchange, Source, int]] = []
        metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
        self.live = LiveStreams(metrics, books_of(metrics), 5.0, self.clock, self._start)
        policies = {"one": UnfinishedSettings(**{"settle": "drain", **policy})}
        self.unfinished = Unfinished(policies, self._start)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def settle(self, exchange: Exchange) -> None:
        usage, _ = usage_of(exchange, order_of(exchange))
        self.settled.append((exchange, usage.source, usage.output))
        self.live.discard(exchange)

    def stream(self) -> "Stream":
        """A stream in the middle."""
        exchange, splice, client = tried(CHAT, ASK), HandSplice(), HandClient()
        stream = tapped(splice, self.clock)
        stream.data_received(WORD)
        stream.begin(client)
        stream.data_received(WORD)
        exchange.stream, exchange.outcome = stream, Outcome.CLIENT_CLOSED
        self.live.add(exchange, asyncio.create_task(read_boundary()))
        return Stream(exchange, stream, splice)

    def left(self) -> "Stream":
        """The same, taken."""
        stream = self.stream()
        assert self.unfinished.take(stream.exchange, self.settle)
        return stream

    async def sweep(self, after_s: float) -> None:
        """Time passes, and what the sweep starts is done."""
        self.clock.now += after_s
        before = len(self.tasks)
        self.live.sweep()
        if self.tasks[before:]:
            await asyncio.wait(self.tasks[before:])
        await read_boundary()

    def booked(self) -> list[tuple[Source, int]]:
        """Source and output tokens of what was settled; nothing of it runs or lives any more."""
        assert len(self.unfinished) == len(self.live) == 0
        assert all(task.done() for task in self.tasks)
        assert all(exchange.outcome is Outcome.CLIENT_CLOSED for exchange, _, _ in self.settled)
        return [(source, tokens) for _, source, tokens in self.settled]


class Stream:
    """One exchange, its stream, and the connection that it comes from."""

    def __init__(self, exchange: Exchange, stream: TappedStream, splice: HandSplice) -> None:
        self.exchange, self.stream, self.splice = exchange, stream, splice

    def says(self, data: bytes) -> None:
        self.stream.data_received(data)
