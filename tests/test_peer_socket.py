"""The kernel's figures of both ends of a connection: what was written and not read, and nothing else."""

import socket
from collections.abc import Iterator

import pytest

from tests.peer_socket import PeerSocket


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        with other:
            yield one, other


def test_what_the_peer_has_not_read(ends: tuple[socket.socket, socket.socket]) -> None:
    """It lies ready, until it is read; a half of it, a half."""
    one, other = ends
    peer = PeerSocket.of(one)
    assert peer is not None
    assert peer.unread() == (0, 0)
    one.sendall(b"x" * 1000)
    assert sum(peer.unread()) == 1000
    assert len(other.recv(400, socket.MSG_WAITALL)) == 400
    assert sum(peer.unread()) == 600
    assert len(other.recv(600, socket.MSG_WAITALL)) == 600
    assert peer.unread() == (0, 0)


def test_a_reader_whose_buffers_are_full(ends: tuple[socket.socket, socket.socket]) -> None:
    """What this end cannot send any more counts as well."""
    one, other = ends
    peer = PeerSocket.of(one)
    assert peer is not None
    one.setblocking(False)
    written = 0
    while True:
        try:
            written += one.send(b"x" * 65536)
        except BlockingIOError:
            break
    assert sum(peer.unread()) == written
    other.recv(1)
    assert sum(peer.unread()) < written


def test_ends_count_for_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    """Neither end's FIN is a byte; a peer that is gone has nothing to read."""
    one, other = ends
    peer, back = PeerSocket.of(one), PeerSocket.of(other)
    assert peer is not None
    assert back is not None
    one.shutdown(socket.SHUT_WR)
    assert (peer.unread(), back.unread()) == ((0, 0), (0, 0))
    one.close()
    assert back.unread() == (0, 0)


def test_who_is_not_there(ends: tuple[socket.socket, socket.socket]) -> None:
    """A connection that was not accepted has no peer here, nor has a socket without connection."""
    with socket.socket() as alone:
        assert PeerSocket.of(alone) is None
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as waiting,
    ):
        assert PeerSocket.of(waiting) is None
