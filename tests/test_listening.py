"""Listening sockets: bound or inherited, and closed without taking them from a process that shares them."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from gateway.config import ConfigError
from gateway.listening import adopt, listen
from tests.raw_client import RawClient

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


class Greeting(asyncio.Protocol):
    """Says a word to whoever connects, and closes."""

    def __init__(self, word: bytes = b"hello") -> None:
        self._word = word

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._word)
        transport.close()


async def heard_at(url: str) -> bytes:
    """What a new connection is told."""
    async with await RawClient.connect(url) as client:
        return await client.to_end()


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A socket that listens on a free port, as somebody else would hand it over."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@BOTH_LOOPS
async def test_an_address_is_bound() -> None:
    """Port 0 takes a free one; closing frees it."""
    listener = await listen(Greeting, "127.0.0.1", 0)
    assert await heard_at(listener.url) == b"hello"
    (descriptor,) = listener.descriptors
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        assert listener.url == f"http://127.0.0.1:{port_of(copy)}"
    listener.close()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await RawClient.connect(listener.url)


@BOTH_LOOPS
async def test_an_inherited_socket_is_used(bound: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    """In the place of the address; a port that this contradicts is said."""
    (inherited,) = adopt([os.dup(bound.fileno())], "X")
    listener = await listen(Greeting, "192.0.2.1", 1, [inherited])
    assert listener.url == f"http://127.0.0.1:{port_of(bound)}"
    assert await heard_at(listener.url) == b"hello"
    listener.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"listen on port {port_of(bound)}, so port 1 of the configuration is not used" in record.getMessage()


@BOTH_LOOPS
@pytest.mark.parametrize("asked", ["any", "the same"])
async def test_an_inherited_socket_that_was_meant_is_no_news(
    bound: socket.socket, caplog: pytest.LogCaptureFixture, asked: str
) -> None:
    """Neither for the port that is configured, nor where any port would do."""
    port = 0 if asked == "any" else port_of(bound)
    listener = await listen(Greeting, "127.0.0.1", port, [bound.dup()])
    listener.close()
    assert not caplog.records


@BOTH_LOOPS
async def test_closing_leaves_the_socket_to_whoever_shares_it(bound: socket.socket) -> None:
    """With a copy of the descriptor another listener goes on accepting, also what was waiting to be accepted."""
    first = await listen(Greeting, "127.0.0.1", 0, [bound.dup()])
    waiting = socket.create_connection(("127.0.0.1", port_of(bound)))
    first.close()
    later = await listen(lambda: Greeting(b"later"), "127.0.0.1", 0, [bound.dup()])
    assert await heard_at(later.url) == b"later"
    waiting.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(waiting, 10) in (b"hello", b"later")
    waiting.close()
    later.close()


@BOTH_LOOPS
async def test_all_sockets_are_used() -> None:
    """A unit may have several addresses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [port_of(sock) for sock in sockets]
    listener = await listen(Greeting, "127.0.0.1", 0, sockets)
    assert len(listener.descriptors) == 2
    assert listener.url == f"http://127.0.0.1:{ports[0]}"
    for port in ports:
        assert await heard_at(f"http://127.0.0.1:{port}") == b"hello"
    listener.close()


def test_adopted_descriptors_are_ours_alone(bound: socket.socket) -> None:
    """What this process starts does not get them by accident."""
    copy = os.dup(bound.fileno())
    os.set_inheritable(copy, True)
    (adopted,) = adopt([copy], "X")
    assert not adopted.get_inheritable()
    assert adopted.getsockname() == bound.getsockname()
    adopted.close()


def test_what_cannot_be_listened_on_is_refused(bound: socket.socket) -> None:
    """Each descriptor with what is wrong with it and what to pass; nothing is closed or changed."""
    pipe = os.pipe()
    udp = socket.socket(type=socket.SOCK_DGRAM)
    unix = socket.socket(socket.AF_UNIX)
    silent = socket.socket()
    closed = os.dup(bound.fileno())
    os.close(closed)
    wrong = [pipe[0], closed, udp.fileno(), unix.fileno(), silent.fileno()]
    with pytest.raises(ConfigError) as refusal:
        adopt([bound.fileno(), *wrong], "LISTEN_FDS")
    said = [str(mistake) for mistake in refusal.value.mistakes]
    assert len(said) == 5
    for sentence, descriptor, reason in zip(
        said,
        wrong,
        ("is no socket", "is no socket (Bad file descriptor)", "no TCP socket", "no TCP socket", "does not listen"),
        strict=True,
    ):
        assert sentence.startswith("LISTEN_FDS")
        assert f"descriptor {descriptor}," in sentence
        assert reason in sentence
    for one in (udp, unix, silent):
        assert one.getsockname() is not None
        one.close()
    for end in pipe:
        os.close(end)
