"""Time is kept, connections break for real, and nobody plays to an empty room."""

import asyncio
import random

import aiohttp
import orjson
import pytest

from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.journal import Ended
from gateway.simulator.models import CHAT as CHAT_PACE
from gateway.simulator.models import FAST, Pace
from gateway.simulator.playback import Metronome
from gateway.simulator.rendering import Pause
from tests.simulator.conftest import Simulate
from tests.simulator.conversation import CHAT, MESSAGES, ask, body_for, pieces_of

both_loops = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


async def connect(simulator: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = simulator.base_url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


def request_bytes(behaviour: str, *, stream: bool = True) -> bytes:
    body = orjson.dumps(body_for(CHAT, behaviour, stream=stream))
    return f"POST {CHAT} HTTP/1.1\r\nHost: sim\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def waited(pace: Pace, think_s: float, speed: float, tokens: int) -> float:
    """How many seconds the metronome takes for an answer of so many tokens."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    metronome = Metronome(pace, think_s, speed, random.Random(0))
    await metronome.first()
    if think_s:
        await metronome.before(Pause.THOUGHT)
    for _ in range(tokens):
        await metronome.before(Pause.TOKEN)
    return loop.time() - before


@pytest.mark.parametrize(
    ("pace", "think_s", "speed", "tokens", "expected_s"),
    [
        (FAST, 0.0, 1, 0, 0.020),
        (FAST, 0.0, 1, 1, 0.020),
        (FAST, 0.0, 1, 21, 0.120),
        (FAST, 0.2, 2, 21, 0.160),
        (Pace(1.0, 1.0), 5.0, 100, 5, 0.100),
    ],
)
async def test_tokens_come_when_they_are_due(
    pace: Pace, think_s: float, speed: float, tokens: int, expected_s: float
) -> None:
    """The whole takes TTFT, thought, and a gap before each token but the first, divided by the speed."""
    took_s = await waited(pace, think_s, speed, tokens)
    # a timer may fire a clock tick (uvloop: 1 ms) early
    assert expected_s - 0.002 <= took_s < expected_s + 1.0


async def test_late_tokens_do_not_delay_the_rest() -> None:
    """What was spent between two tokens is taken off the next wait."""
    loop = asyncio.get_running_loop()
    metronome = Metronome(Pace(0.0, 0.010), 0.0, 1, random.Random(0))
    await metronome.before(Pause.TOKEN)
    before = loop.time()
    while loop.time() < before + 0.100:
        pass
    late = loop.time()
    for _ in range(9):
        await metronome.before(Pause.TOKEN)
    assert loop.time() - late < 0.080


def test_realistic_waits_have_a_long_tail() -> None:
    """Around the median, and the slowest of a thousand at least twice as long."""
    rng = random.Random(0)
    waits = sorted(CHAT_PACE.ttft_s * rng.lognormvariate(0, CHAT_PACE.ttft_sigma) for _ in range(1001))
    assert waits[500] == pytest.approx(0.250, rel=0.1)
    assert waits[-1] > 2 * waits[500]


@both_loops
async def test_a_reset_is_a_reset(simulate: Simulate) -> None:
    """The client's socket reports a reset (RST), not an orderly end, on either event loop."""
    simulator = await simulate(SimulatorSettings(speed=1000))
    for behaviour in ("reset-before-headers", "reset-after-headers", "reset-mid-stream"):
        reader, writer = await connect(simulator)
        writer.write(request_bytes(behaviour))
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        writer.close()


async def test_the_head_does_not_wait_for_a_body(simulator: Simulator) -> None:
    """A stall before the first event comes after the head is on the wire."""
    reader, writer = await connect(simulator)
    writer.write(request_bytes("stall-before-first"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"text/event-stream" in head
    assert simulator.journal.entries[-1].ended is Ended.OPEN
    writer.close()
    await writer.wait_closed()
    await simulator.journal.until(lambda journal: journal.open == 0)


@both_loops
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("behaviour", ["slow-headers", "slow", "stall-before-first", "stall", "think"])
async def test_who_leaves_is_missed(simulate: Simulate, behaviour: str, stream: bool) -> None:
    """A client that leaves ends the answer at once: before the head, before the first event, and after."""
    simulator = await simulate(SimulatorSettings(speed=0.05 if behaviour != "stall" else 1000))
    _, writer = await connect(simulator)
    writer.write(request_bytes(behaviour, stream=stream))
    await simulator.journal.until(lambda journal: journal.open == 1)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(20):
        await simulator.journal.until(lambda journal: journal.open == 0)
    assert simulator.journal.entries[-1].ended is Ended.CLIENT_LEFT


async def test_a_reader_that_stops_is_not_written_to(simulate: Simulate) -> None:
    """With nobody reading, an answer far larger than the buffers of the system does not get finished."""
    simulator = await simulate(SimulatorSettings(speed=100_000))
    reader, writer = await connect(simulator)
    body = orjson.dumps(body_for(CHAT, "long", stream=True, n=64))
    writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: sim\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    entry = simulator.journal.entries[-1]
    seen = -1
    try:
        while seen != entry.tokens:
            seen = entry.tokens
            await asyncio.sleep(0.05)  # timed: nothing tells of a writer that waits, it is seen by what does not move
        assert 0 < seen < 128_000
        assert simulator.journal.open == 1
    finally:
        writer.transport.abort()
    await simulator.journal.until(lambda journal: journal.open == 0)
    assert entry.ended is Ended.CLIENT_LEFT


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_stream_over_http_1_0(simulator: Simulator, path: str) -> None:
    """A client that knows no chunks gets the bare events and the end of the connection."""
    reader, writer = await connect(simulator)
    body = orjson.dumps(body_for(path, "fast", stream=True, max_tokens=3))
    writer.write(f"POST {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, events = raw.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert events.startswith((b"data: {", b"event: message_start"))
    assert events.endswith((b"data: [DONE]\n\n", b'data: {"type":"message_stop"}\n\n'))


async def test_many_streams_at_once(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    """Two hundred streams side by side are all whole, each with its own text."""

    async def one(number: int) -> str:
        heard = await ask(http, CHAT, body_for(CHAT, "fast", f"question {number}", stream=True))
        assert heard.ending == "clean" and heard.datas[-1] == b"[DONE]"
        return "".join(pieces_of(CHAT, heard))

    texts = await asyncio.gather(*(one(number) for number in range(200)))
    assert len(set(texts)) == 200
    assert (simulator.journal.requests, simulator.journal.open) == (200, 0)
