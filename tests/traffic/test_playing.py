"""Providers that run, fail and come back."""

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from gateway.traffic.playing import Address, Providers, play
from gateway.traffic.schedule import Scene

FINE, DOWN = Scene("fine", 10, 1.0), Scene("down", 5, 1.0, is_outage=True)


async def answers(address: Address) -> bool:
    """Whether a provider listens there."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{address.host}:{address.port}/v1/models") as response,
        ):
            return response.status == 200
    except aiohttp.ClientConnectorError:
        return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9001", Address("127.0.0.1", 9001)),
        ("0.0.0.0:9001", Address("0.0.0.0", 9001)),
        ("[::1]:9001", Address("::1", 9001)),
    ],
)
def test_address(text: str, expected: Address) -> None:
    """Loopback, where nothing else is said."""
    assert Address.read(text) == expected


@pytest.mark.parametrize("text", ["", "0", "65536", "host", "host:", "-1", "٣", "9001x"])
def test_no_address(text: str) -> None:
    """A sentence that says what to write."""
    with pytest.raises(ValueError, match="write a port"):
        Address.read(text)


async def test_the_last_one_fails_and_recovers() -> None:
    """The others go on; what is so already is not told again."""
    steady, failing = Address("127.0.0.1", unused_port()), Address("127.0.0.1", unused_port())
    told: list[str] = []
    providers = Providers([steady, failing], told.append)
    await providers.open()
    seen = []
    for scene in (FINE, DOWN, DOWN, FINE, FINE):
        await providers.follow(scene)
        seen.append((await answers(steady), await answers(failing), providers.is_down))
    await providers.close()
    up, down = (True, True, False), (True, False, True)
    assert seen == [up, down, down, up, up]
    assert [line.rsplit(" ", 1)[1] for line in told] == ["down.", "back."]
    assert not await answers(steady)


async def test_a_port_that_is_taken_is_an_error() -> None:
    """And nothing is left listening."""
    steady, taken = Address("127.0.0.1", unused_port()), Address("127.0.0.1", unused_port())
    first = Providers([taken], lambda line: None)
    await first.open()
    with pytest.raises(OSError, match="address"):
        await Providers([steady, taken], lambda line: None).open()
    assert not await answers(steady)
    await first.close()


async def test_play_follows_the_clock() -> None:
    """From scene to scene, until it is stopped."""
    told: asyncio.Queue[str] = asyncio.Queue()
    providers = Providers([Address("127.0.0.1", unused_port())], told.put_nowait)
    await providers.open()
    stopped = asyncio.Event()
    scenes = (Scene("fine", 0.05, 1.0), Scene("down", 0.05, 1.0, is_outage=True))
    playing = asyncio.create_task(play(providers, stopped, asyncio.get_running_loop().time, scenes))
    async with asyncio.timeout(60):
        assert "is down" in await told.get()
        assert "is back" in await told.get()
        assert "is down" in await told.get()
        stopped.set()
        await playing
    await providers.close()
