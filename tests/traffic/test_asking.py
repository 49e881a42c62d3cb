"""One client against a real provider, and against what goes wrong."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from gateway.simulator import Simulator, SimulatorSettings, start
from gateway.traffic.asking import ask, session_of_clients
from gateway.traffic.cast import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Caller, Question
from gateway.traffic.endings import Ending
from gateway.traffic.schedule import Arrival


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A provider that hurries."""
    running = await start(settings=SimulatorSettings(speed=1000))
    yield running
    await running.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The clients' session."""
    async with session_of_clients() as opened:
        yield opened


def arrival(question: Question, leaves_after_s: float | None = None) -> Arrival:
    return Arrival(0.0, Caller("a", "k", 1.0, (question,)), question, "Hello", leaves_after_s)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(CHAT, "sim-fast"), (Ending.WHOLE, "")),
        (Question(CHAT, "sim-fast", stream=False), (Ending.WHOLE, "")),
        (Question(RESPONSES, "sim-fast"), (Ending.WHOLE, "")),
        (Question(MESSAGES, "claude-sim-fast"), (Ending.WHOLE, "")),
        (Question(EMBEDDINGS, "sim-fast", stream=False), (Ending.WHOLE, "")),
        (Question(CHAT, "sim-tools", tools=True), (Ending.WHOLE, "")),
        (Question(CHAT, "sim-400"), (Ending.REFUSED, "")),
        (Question(CHAT, "sim-500"), (Ending.FAILED, "server_error")),
        (Question(CHAT, "sim-truncated"), (Ending.BROKEN, "error event")),
        (Question(CHAT, "sim-error-mid-stream"), (Ending.BROKEN, "error event")),
        (Question(CHAT, "sim-reset-mid-stream"), (Ending.BROKEN, "cut off")),
        (Question(CHAT, "sim-reset-before-headers"), (Ending.UNREACHABLE, "")),
    ],
    ids=lambda value: f"{value.route} {value.model} {value.stream}" if isinstance(value, Question) else "",
)
async def test_ask(
    question: Question, expected: tuple[Ending, str], simulator: Simulator, session: aiohttp.ClientSession
) -> None:
    """Every way in which the simulator answers is an ending."""
    ending, word = await ask(session, simulator.base_url, arrival(question))
    assert ending is expected[0]
    if expected[1]:
        assert word == expected[1]


async def test_a_client_leaves(session: aiohttp.ClientSession) -> None:
    """In the middle; the provider sees it go."""
    simulator = await start()
    try:
        asked = asyncio.create_task(ask(session, simulator.base_url, arrival(Question(CHAT, "sim-stall"), 0.3)))
        assert await asked == (Ending.LEFT, "")
        await simulator.journal.until(lambda journal: journal.open == 0)
    finally:
        await simulator.close()


async def test_nobody_listens(session: aiohttp.ClientSession) -> None:
    """A word for it, and no exception."""
    ending, word = await ask(session, f"http://127.0.0.1:{unused_port()}", arrival(Question(CHAT, "sim-fast")))
    assert (ending, bool(word)) == (Ending.UNREACHABLE, True)
