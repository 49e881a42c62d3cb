"""The exchanges that run now, and the one sweep over their streams: no timer per stream, none per chunk."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from gateway.core.clock import Clock
from gateway.core.outcome import Outcome
from gateway.core.sse import comment
from gateway.metrics import Metrics
from gateway.proxy.books import Books
from gateway.proxy.downstream import Downstream
from gateway.proxy.exchange import Exchange
from gateway.proxy.relay import STREAM_HEADERS, head_of
from gateway.upstream.stream import UpstreamStream

SWEEP_S = 1.0
KEEP_ALIVE = comment(b"keep-alive")
PENDING = "pending"
"""Named as the provider where the head had to leave before anybody had answered."""


class LiveStreams:
    """Every exchange of an operation, streamed or not, until its settlement.

    Args:
        keepalive_s: silence after which the client gets a comment; may be set anew at any time.
        start: starts a task and keeps it (keep-alives before the first content have to open the answer).
    """

    def __init__(
        self,
        metrics: Metrics,
        books: Books,
        keepalive_s: float,
        clock: Clock,
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._metrics = metrics
        self._books = books
        self.keepalive_s = keepalive_s
        self._clock = clock
        self._start = start
        self._exchanges: dict[int, Exchange] = {}
        # Beside the exchanges, not in them: the frames of a failed task would hold what holds it.
        self._tasks: dict[int, asyncio.Task[Any]] = {}

    def __len__(self) -> int:
        return len(self._exchanges)

    def streaming(self, provider: str) -> int:
        """Streams that this provider serves now."""
        return sum(
            exchange.stream is not None and exchange.target is not None and exchange.target.provider == provider
            for exchange in self._exchanges.values()
        )

    def add(self, exchange: Exchange, task: asyncio.Task[Any]) -> None:
        """Take in an exchange; `task` is what answers it."""
        self._exchanges[id(exchange)] = exchange
        self._tasks[id(exchange)] = task

    def __iter__(self) -> Iterator[Exchange]:
        return iter(tuple(self._exchanges.values()))

    def discard(self, exchange: Exchange) -> None:
        self._exchanges.pop(id(exchange), None)
        self._tasks.pop(id(exchange), None)

    def drain(self) -> int:
        """End every exchange as `draining`; return how many there were.

        A stream ends like one that failed. Whatever else runs is cancelled, and its task finds the outcome set.
        """
        for key, exchange in tuple(self._exchanges.items()):
            if exchange.stream is not None:
                exchange.stream.fail(Outcome.DRAINING)
            elif exchange.outcome is None:
                exchange.outcome = Outcome.DRAINING
                self._tasks[key].cancel()
        return len(self._exchanges)

    def sweep(self) -> None:
        """Look at every live stream once: stalls, total time, keep-alives, token counters."""
        now = self._clock()
        silent: list[UpstreamStream] = []
        for exchange in tuple(self._exchanges.values()):
            stream = exchange.stream
            if stream is not None:
                self._flush(exchange, stream)
                if stream.is_stalled(now):
                    silent.append(stream)
                    continue
                if stream.is_overdue(now):
                    stream.fail(Outcome.DEADLINE_EXCEEDED)
                    continue
            self._keep_alive(exchange, now)
        if silent:
            self._start(self._end_stalled(silent, now))

    async def _end_stalled(self, silent: list[UpstreamStream], now: float) -> None:
        """End streams that were silent for too long, unless the silence was ours.

        After a pause of the loop (a full garbage collection, a machine that slept) uvloop runs timers first and reads
        sockets then, so what came meanwhile has not been seen when the sweep looks. It has a turn later.
        """
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for stream in silent:
            if stream.is_stalled(now):
                stream.fail(Outcome.STALLED)

    def _flush(self, exchange: Exchange, stream: UpstreamStream) -> None:
        """Let the token counter follow a running stream: one token per content event, corrected at settlement."""
        fresh = stream.events - exchange.flushed_tokens
        order, target = exchange.order, exchange.target
        if fresh > 0 and order is not None and target is not None:
            route = self._metrics.route(order.identity.tenant.id, target.provider, order.route.label)
            route.tokens_output.inc(fresh)
            exchange.flushed_tokens += fresh
            self._books.progress(exchange)

    def _keep_alive(self, exchange: Exchange, now: float) -> None:
        stream, downstream = exchange.stream, exchange.downstream
        if downstream is None or not _may_comment(exchange):
            return
        last = stream.last_at if stream is not None else exchange.started_at
        if now - max(last, exchange.kept_alive_at or last) < self.keepalive_s:
            return
        exchange.kept_alive_at = now
        self._start(self._send(exchange, downstream))

    async def _send(self, exchange: Exchange, downstream: Downstream) -> None:
        # A turn of the loop has passed since the sweep looked.
        if not _may_comment(exchange):
            return
        try:
            if downstream.begun:
                await downstream.send(KEEP_ALIVE)
            else:
                exchange.status = 200
                await downstream.begin({**STREAM_HEADERS, **head_of(exchange, PENDING)}, KEEP_ALIVE)
        except ConnectionError:
            pass  # the client is gone; its handler is being cancelled


def _may_comment(exchange: Exchange) -> bool:
    """Whether the answer still runs and its client stands between two events."""
    stream = exchange.stream
    return exchange.outcome is None and (stream is None or (stream.outcome is None and stream.at_event_boundary))
