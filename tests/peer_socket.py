"""The other end of a connection within this process, and what lies between both ends: the kernel knows."""

import fcntl
import os
import socket
import stat
import struct
import sys
import termios
from typing import Self

_INFO_BYTES = 256
_BYTES_RECEIVED_AT, _NOT_SENT_AT, _BYTES_SENT_AT = 128, 144, 200
"""Where `struct tcp_info` of Linux (linux/tcp.h, since 4.19) has what came, what has not left yet, and what left.

Behind that it has what left once more."""


class PeerSocket:
    """One end of a TCP connection whose other end is in this process, too."""

    def __init__(self, own: int, peer: int, inode: int) -> None:
        self._own = own
        self._peer = peer
        self._inode = inode

    @classmethod
    def of(cls, own: socket.socket) -> Self | None:
        """The peer of a connected socket; None where it is in another process, or not accepted yet."""
        found = _peer_of(own)
        return None if found is None else cls(own.fileno(), *found)

    def unread(self) -> tuple[int, int]:
        """Bytes that wait for the peer to read them, and those on their way to it; none where it is gone."""
        try:
            if _inode(self._peer) != self._inode:
                return 0, 0
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._peer, termios.FIONREAD, bytes(4)))
            return (waiting, 0) if sys.platform != "linux" else self._with_the_way(waiting)
        except OSError:  # closed by its peer's reset
            return 0, 0

    def _with_the_way(self, waiting: int) -> tuple[int, int]:
        """Loopback delivers at once, unless the machine is busy: then some tenths of a second may pass.

        What does not leave any more waits for the peer as well, whose buffer is full.
        """
        sent, came = _info(self._own), _info(self._peer)
        (not_sent,) = struct.unpack_from("I", sent, _NOT_SENT_AT)
        left, again = struct.unpack_from("QQ", sent, _BYTES_SENT_AT)
        (received,) = struct.unpack_from("Q", came, _BYTES_RECEIVED_AT)
        # a FIN counts where it comes
        return waiting + not_sent, max(0, left - again - received)


def _info(descriptor: int) -> bytes:
    looked_at = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        return looked_at.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    finally:
        looked_at.detach()


def _inode(descriptor: int) -> int | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_ino if stat.S_ISSOCK(status.st_mode) else None


def _peer_of(own: socket.socket) -> tuple[int, int] | None:
    """Its descriptor and inode. The two ends of a connection are made one after the other: near ones come first."""
    try:
        ends = own.getpeername(), own.getsockname()
    except OSError:
        return None
    descriptors = sorted((int(name) for name in os.listdir("/dev/fd")), key=lambda one: abs(one - own.fileno()))
    for descriptor in descriptors:
        inode = _inode(descriptor)
        if inode is None:
            continue
        looked_at = socket.socket(fileno=descriptor)
        try:
            if looked_at.family == own.family and (looked_at.getsockname(), looked_at.getpeername()) == ends:
                return descriptor, inode
        except OSError:  # it listens, or is not connected any more
            continue
        finally:
            looked_at.detach()
    return None
