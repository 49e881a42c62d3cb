"""Simulators that play a thousand times too fast, and a client beside them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from gateway.simulator import Simulator, SimulatorSettings, start
from tests.closing import close_in_time

Simulate = Callable[[SimulatorSettings], Awaitable[Simulator]]

SETTINGS = SimulatorSettings(speed=1000)


@pytest.fixture
async def simulate() -> AsyncIterator[Simulate]:
    """Starts simulators on free ports; closes them after the test."""
    async with AsyncExitStack() as closing:

        async def begin(settings: SimulatorSettings) -> Simulator:
            running = await start(settings=settings)
            closing.push_async_callback(close_in_time, f"the simulator {running.base_url}", running.close)
            return running

        yield begin


@pytest.fixture
async def simulator(simulate: Simulate) -> Simulator:
    """A running simulator on a free port."""
    return await simulate(SETTINGS)


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of it; nothing that a test waits for may take longer than its deadline."""
    patience = aiohttp.ClientTimeout(total=100)
    async with aiohttp.ClientSession(simulator.base_url, timeout=patience) as session:
        yield session
