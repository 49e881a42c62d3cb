"""What closes late is given up, what hangs is broken off again and again, what was left behind is gone."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.closing import Alarm, close_in_time, drop, open_sockets

both_loops = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


async def test_what_does_not_close_is_given_up_and_named() -> None:
    """After its time; it is told by being cancelled."""
    told: list[str] = []

    async def close() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    with pytest.raises(TimeoutError, match=r"^the sluice did not close within 0\.01 s$"):
        await close_in_time("the sluice", close, 0.01)
    assert told == ["cancelled"]


async def test_what_closes_with_a_mistake_says_so_itself() -> None:
    """Its own exception passes, a time-out of its own as well."""

    async def close() -> None:
        raise TimeoutError("the peer was slow")

    with pytest.raises(TimeoutError, match="the peer was slow"):
        await close_in_time("the sluice", close)


async def test_the_alarm_rings_until_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """A task that takes no notice the first two times ends at the third; others are spared."""
    notices: list[str] = []

    async def stubborn() -> None:
        while len(notices) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as notice:
                notices.append(str(notice))

    spared = asyncio.create_task(asyncio.Event().wait())
    alarm = Alarm([*asyncio.all_tasks(), spared], 0.01, 0.001)
    await asyncio.create_task(stubborn())
    alarm.cancel()
    assert notices == ["the test took more than 0.01 s"] * 3
    assert not spared.cancelling()
    spared.cancel()
    assert "stubborn" in capsys.readouterr().err


async def test_a_cancelled_alarm_is_silent() -> None:
    """Nothing of a test that ended in time is touched."""
    before = asyncio.all_tasks()
    alarm = Alarm(before, 0.0, 0.0)
    alarm.cancel()
    turns = asyncio.create_task(_turns(10))
    await turns
    assert not turns.cancelled()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)  # timed: turns of the loop, no time passes


class Kept(asyncio.Protocol):
    """One end of a connection; the class knows all."""

    lost: asyncio.Event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.fixture
async def own_server() -> AsyncIterator[asyncio.Server]:
    """A server that is none of the test's leavings."""
    server = await asyncio.get_running_loop().create_server(Kept, "127.0.0.1", 0)
    yield server
    server.close()


@both_loops
async def test_what_was_left_is_dropped_and_nothing_else(own_server: asyncio.Server) -> None:
    """Connections at both ends, servers, bare sockets and tasks, on either loop."""
    loop = asyncio.get_running_loop()
    sockets_before, tasks_before = open_sockets(), asyncio.all_tasks()
    server = await loop.create_server(Kept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, client = await loop.create_connection(Kept, "127.0.0.1", port)
    bare = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(asyncio.Event().wait())
    left = open_sockets().keys() - sockets_before.keys()
    assert len(left) >= 3
    await drop(asyncio.all_tasks() - tasks_before, left, 1.0)
    await client.lost.wait()
    assert task.cancelled()
    assert bare.fileno() == -1
    while not open_sockets().keys() <= sockets_before.keys():
        await _turns(1)
    assert own_server.is_serving()
