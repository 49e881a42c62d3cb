"""Start and stop, inside another program and alone."""

import asyncio
import signal
import socket
import sys

import aiohttp
import pytest

from gateway.simulator import SimulatorSettings, server, start
from gateway.simulator.journal import Ended
from tests.simulator.conftest import Simulate
from tests.simulator.conversation import CHAT, body_for

ALONE = """
import asyncio
from gateway.simulator import SimulatorSettings, run_simulator
asyncio.run(run_simulator("127.0.0.1", 0, SimulatorSettings(speed=1000)))
"""


async def test_base_urls(simulate: Simulate) -> None:
    """Anthropic's SDK wants the bare address, OpenAI's the one with /v1."""
    simulator = await simulate(SimulatorSettings())
    assert simulator.base_url.startswith("http://127.0.0.1:")
    assert simulator.openai_base_url == f"{simulator.base_url}/v1"


async def test_an_address_of_ipv6() -> None:
    """The host of an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    try:
        simulator = await start("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{simulator.openai_base_url}/models") as response:
            assert response.status == 200
    finally:
        await simulator.close()


async def test_a_port_that_is_taken() -> None:
    """Start says so, and leaves nothing behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await start(port=taken.getsockname()[1])


async def test_close_breaks_off_what_runs(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled stream ends when the simulator closes, and the journal knows why."""
    # aiohttp by itself would wait so long for the handler
    monkeypatch.setattr(server, "_SHUTDOWN_S", 1000.0)
    simulator = await simulate(SimulatorSettings(speed=1000))
    async with aiohttp.ClientSession(simulator.base_url) as http:
        response = await http.post(CHAT, json=body_for(CHAT, "stall-before-first", stream=True))
        assert response.status == 200
        await simulator.close()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert simulator.journal.entries[-1].ended is Ended.CLOSED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_alone_until_a_signal(number: signal.Signals) -> None:
    """Alone it prints where it listens, answers there, and ends in order with the signal."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ALONE, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        printed = await process.stdout.readline()
        base_url = printed.decode().split()[-1]
        async with aiohttp.ClientSession() as http, http.get(f"{base_url}/models") as response:
            assert response.status == 200
    finally:
        process.send_signal(number)
        rest = await process.stdout.read()
    assert await process.wait() == 0
    assert b"Anthropic" in rest
