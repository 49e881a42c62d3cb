"""The sweep over live streams: stalls, total time, comments and counters, each where it is due."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.core.outcome import Outcome
from gateway.metrics import Metrics
from gateway.proxy.exchange import Exchange
from gateway.proxy.live import KEEP_ALIVE, LiveStreams
from gateway.upstream.tap import TappedStream
from tests.metrics.text_format import read_exposition
from tests.provider_answers import openai_chunk
from tests.surface.exchanges import NOW_S, books_of, tried
from tests.upstream.passing import HandClient, HandClock, HandSplice, tapped
from tests.upstream_script import chunk, event, sse

CHAT = "/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "x"}]}
WORD = event(openai_chunk({"content": "word"})).wire
BIG = chunk(sse(openai_chunk({"content": "x" * 100_000}))).wire


class HandDownstream:
    """Stands for a client: what it was sent, and whether its head has gone."""

    def __init__(self) -> None:
        self.begun = False
        self.heads: list[dict[str, str]] = []
        self.body = b""
        self.gone = False

    async def begin(self, headers: dict[str, str], first: bytes) -> None:
        self.begun = True
        self.heads.append(headers)
        self.body += first

    async def send(self, payload: bytes) -> None:
        if self.gone:
            raise ConnectionResetError
        self.body += payload


class Watch:
    """Live streams with a clock of their own; comments are sent when :meth:`sweep` lets them.

    ``tasks`` stand for what answers the exchanges, in their order.
    """

    def __init__(self) -> None:
        self.clock = HandClock()
        self.clock.now = NOW_S
        self._later: list[Coroutine[Any, Any, None]] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
        self.live = LiveStreams(self.metrics, books_of(self.metrics), 5.0, self.clock, self._later.append)

    def exchange(self, *, stream: bool = True) -> tuple[Exchange, HandDownstream]:
        exchange, downstream = tried(CHAT, ASK), HandDownstream()
        exchange.downstream = downstream  # type: ignore[assignment]
        if stream:
            exchange.stream = tapped(HandSplice(), self.clock)
            exchange.stream.data_received(WORD)
            exchange.stream.begin(HandClient())
            downstream.begun = True
        task: Any = asyncio.get_running_loop().create_future()
        self.tasks.append(task)
        self.live.add(exchange, task)
        return exchange, downstream

    async def sweep(self, after_s: float) -> None:
        self.clock.now += after_s
        self.live.sweep()
        later, self._later[:] = self._later[:], []
        for work in later:
            await work


async def test_exchanges_come_and_go() -> None:
    """Those that stream are counted for their provider, those that wait are not."""
    watch = Watch()
    streaming, _ = watch.exchange()
    waiting, _ = watch.exchange(stream=False)
    assert (len(watch.live), watch.live.streaming("one"), watch.live.streaming("two")) == (2, 1, 0)
    for exchange in (streaming, waiting, waiting):
        watch.live.discard(exchange)
    assert (len(watch.live), watch.live.streaming("one")) == (0, 0)


async def test_early_heads_name_nobody() -> None:
    """After keepalive_s of waiting the head leaves with a comment; then one comment each keepalive_s."""
    watch = Watch()
    exchange, client = watch.exchange(stream=False)
    await watch.sweep(4.9)
    assert not client.heads
    await watch.sweep(0.2)
    await watch.sweep(4.9)
    assert (client.body, len(client.heads), exchange.status) == (KEEP_ALIVE, 1, 200)
    assert client.heads[0]["x-gateway-provider"] == "pending"
    await watch.sweep(0.2)
    assert (client.body, len(client.heads)) == (KEEP_ALIVE * 2, 1)


async def test_comments_stand_between_events() -> None:
    """In a silence between events, and not within one."""
    watch = Watch()
    exchange, client = watch.exchange()
    await watch.sweep(5.1)
    assert client.body == KEEP_ALIVE
    stream = exchange.stream
    assert stream is not None
    stream.data_received(BIG[:90_000])  # type: ignore[attr-defined]
    await watch.sweep(5.1)
    assert client.body == KEEP_ALIVE


async def test_comments_that_come_too_late_stay() -> None:
    """Between the sweep and the sending an event may have begun or the answer ended."""
    for happens in ("event", "end"):
        watch = Watch()
        exchange, client = watch.exchange()
        watch.clock.now += 6
        watch.live.sweep()
        (work,) = watch._later
        watch._later.clear()
        assert exchange.stream is not None
        if happens == "event":
            exchange.stream.data_received(BIG[:90_000])  # type: ignore[attr-defined]
        else:
            exchange.outcome = Outcome.SUCCESS
        await work
        assert client.body == b""


async def test_clients_that_left_are_no_error() -> None:
    """Their handler is being cancelled; the sweep goes on."""
    watch = Watch()
    _, client = watch.exchange()
    client.gone = True
    await watch.sweep(5.1)
    assert client.body == b""


async def test_a_pause_of_the_loop_is_no_stall() -> None:
    """What lay in the socket while the gateway itself stood still is read before anybody is called silent."""
    watch = Watch()
    late, silent = watch.exchange()[0], watch.exchange()[0]
    assert isinstance(late.stream, TappedStream)
    assert silent.stream is not None
    asyncio.get_running_loop().call_soon(late.stream.data_received, WORD)
    await watch.sweep(61.0)
    assert (late.stream.outcome, silent.stream.outcome) == (None, Outcome.STALLED)


async def test_stalls_and_total_time() -> None:
    """The stream is failed with the cause that it has; no comment is sent to it any more."""
    for after_s, outcome in ((10.1, Outcome.STALLED), (101.0, Outcome.STALLED)):
        watch = Watch()
        exchange, client = watch.exchange()
        await watch.sweep(after_s)
        assert exchange.stream is not None
        assert (exchange.stream.outcome, client.body) == (outcome, b"")
    watch = Watch()
    exchange, _ = watch.exchange()
    assert exchange.stream is not None
    for _ in range(11):
        watch.clock.now += 9.5
        exchange.stream.data_received(WORD)  # type: ignore[attr-defined]
    await watch.sweep(0)
    assert exchange.stream.outcome is Outcome.DEADLINE_EXCEEDED


async def test_counters_follow() -> None:
    """Each content event is a token until the settlement knows better, and is counted once."""
    watch = Watch()
    exchange, _ = watch.exchange()
    for _ in range(2):
        await watch.sweep(0.1)
        scrape = read_exposition(watch.metrics.render()[0])
        labels = {"tenant_id": "acme", "provider": "one", "model": "gpt-4o-mini", "type": "output"}
        assert scrape.value("aigateway_tokens_total", **labels) == exchange.flushed_tokens == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_draining_ends_each_as_it_stands() -> None:
    """A stream fails with the outcome, other work is cancelled with it; what is ending already ends as it does."""
    watch = Watch()
    streaming, _ = watch.exchange()
    waiting, _ = watch.exchange(stream=False)
    ending, _ = watch.exchange(stream=False)
    gone, _ = watch.exchange(stream=False)
    ending.outcome = Outcome.PROVIDER_ERROR
    watch.live.discard(gone)
    assert watch.live.drain() == 3
    assert [task.cancelled() for task in watch.tasks] == [False, True, False, False]
    assert streaming.stream is not None
    assert streaming.stream.outcome is Outcome.DRAINING
    assert (waiting.outcome, ending.outcome, gone.outcome) == (Outcome.DRAINING, Outcome.PROVIDER_ERROR, None)
