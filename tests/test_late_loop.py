"""The late loop: everything is learnt, now and then late, in the same order by the same seed."""

import asyncio
import selectors
import socket
from collections.abc import Iterator

import pytest

from tests.late_loop import LateSelector, late_loop

LOOKS = 200


@pytest.fixture
def readable() -> Iterator[socket.socket]:
    """A socket that has something to read, all the time."""
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        yield other


def looks(seed: int, readable: socket.socket, now_s: list[float]) -> list[bool]:
    """For each of some looks, a millisecond apart, whether it told of the socket."""
    told = []
    with LateSelector(seed, clock=lambda: now_s[0]) as selector:
        selector.register(readable, selectors.EVENT_READ)
        for _ in range(LOOKS):
            told.append(bool(selector.select(0)))
            now_s[0] += 0.001
    return told


def test_what_is_ready_is_told_late_now_and_then(readable: socket.socket) -> None:
    """Often at once, sometimes after some milliseconds, never after more; another seed holds back others."""
    first, again, other = (looks(seed, readable, [0.0]) for seed in (1, 1, 2))
    assert first == again != other
    waits = [len(run) for run in "".join("1" if told else "0" for told in first).split("1")]
    assert 0 < sum(wait > 0 for wait in waits) < len(waits) / 2
    assert max(waits) <= 20


def test_a_closed_socket_leaves_nothing_behind(readable: socket.socket) -> None:
    """The next one that gets its number is told of as if nothing had been."""
    with LateSelector(1, share=1.0, clock=lambda: 0.0) as selector:
        selector.register(readable, selectors.EVENT_READ)
        assert selector.select(0) == []
        selector.unregister(readable)
        selector.register(readable, selectors.EVENT_READ)
        assert selector.held == 0


def test_bytes_come_in_order() -> None:
    """A loop that runs on it loses nothing."""

    async def talk() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for number in range(20):
                writer.write(bytes([number]))
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            heard = await reader.read()
            writer.close()
            await writer.wait_closed()
        return heard

    with asyncio.Runner(loop_factory=lambda: late_loop(3)) as runner:
        assert runner.run(talk()) == bytes(range(20))
