"""What tests of the whole may ask for: real databases, and a provider that takes any number of questions."""

import socket
from collections.abc import AsyncIterator

import pytest

from gateway.simulator import Simulator, SimulatorSettings, start
from tests.databases import address, postgres_server
from tests.redis_server import redis_server
from tests.stack.fleet import make_fleet, patient, shared_database

__all__ = [
    "address",
    "free_port",
    "make_fleet",
    "patient",
    "postgres_server",
    "redis_server",
    "shared_database",
    "simulator",
]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """The embedded provider, in the test's own process."""
    simulator = await start(settings=SimulatorSettings())
    yield simulator
    await simulator.close()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
