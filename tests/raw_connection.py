"""One TCP or TLS connection of a test: bytes in and out with the boundaries of reads and writes kept."""

import asyncio
import socket
import struct
import time
from typing import Literal, cast

from tests.peer_socket import PeerSocket
from tests.raw_http import Chunk, MessageHead, parse_chunk, parse_head

Ending = Literal["fin", "reset", "local"]
"""How a connection ended: the peer's FIN, the peer's RST (or a TLS failure), or this side."""

_LOOP_TURNS = 3
"""From a read to what is written because of it: a task wakes up, writes; TLS adds one."""

_SOON_TURNS = 5
"""Within so many turns most is read; then the processor is left to others for a moment, the kernel's threads too."""

_MOMENT_S = 0.001

_PAUSED_TURNS = 60
"""A reader of this process that takes nothing of what lies ready in so many turns has paused."""

_LOST_S = 10.0
"""Nothing is on its way for so long."""

_LOOKS = 3
"""How often a peer is looked for: a connection stands before it is accepted, and most are accepted at once."""


class EndedEarly(Exception):
    """The peer closed in the middle of a message; ``partial`` is what had come of the part being read."""

    def __init__(self, partial: bytes) -> None:
        super().__init__(f"the peer closed early, after {partial[-80:]!r}")
        self.partial = partial


class RawConnection(asyncio.Protocol):
    """A protocol that keeps what it reads until a test parses it; bytes before a reset are never lost.

    ``read_sizes`` holds the size in bytes of every read, ``written_bytes`` what was handed to the transport,
    ``lost`` is set when the socket is gone. Times are those of ``time.monotonic``.

    Args:
        held_bytes: unread bytes above which reading pauses (so that the kernel's buffers fill up).
        half_open: whether writing goes on after the peer's FIN (plain TCP only).
    """

    def __init__(self, *, held_bytes: int = 65536, half_open: bool = False) -> None:
        self.transport: asyncio.Transport
        self.ending: Ending | None = None
        self.ended_at_s: float | None = None
        self.lost = asyncio.Event()
        self.read_sizes: list[int] = []
        self.written_bytes = 0
        self._held = bytearray()
        self._held_limit_bytes = held_bytes
        self._half_open = half_open
        self._paused = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._peer: PeerSocket | None = None
        self._looks = _LOOKS
        self._peer_rests = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # not 0: TLS transports pause at "size >= high" and would never resume from an empty buffer
        self.transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data: bytes) -> None:
        self.read_sizes.append(len(data))
        self._held += data
        if len(self._held) > self._held_limit_bytes and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        self._end("fin")
        return self._half_open and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("fin" if exc is None else "reset")
        self.lost.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Reading

    async def more(self) -> bool:
        """Waits for the next read; False once the connection ended.

        Raises:
            ConnectionResetError: the peer reset the connection.
        """
        seen = len(self.read_sizes)
        if self._paused and self.ending is None:
            self._paused = False
            self.transport.resume_reading()
        while len(self.read_sizes) == seen and self.ending is None:
            self._readable.clear()
            await self._readable.wait()
        if len(self.read_sizes) > seen:
            return True
        if self.ending == "reset":
            raise ConnectionResetError("the peer reset the connection")
        return False

    async def head(self) -> MessageHead | None:
        """Reads a head; None if the peer closed before its first byte."""
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if not await self.more():
                if self._held:
                    raise EndedEarly(bytes(self._held))
                return None
        return parse_head(self._take(end + 4))

    async def exactly(self, size_bytes: int) -> bytes:
        """Reads so many bytes; raises :class:`EndedEarly` if fewer come."""
        while len(self._held) < size_bytes:
            if not await self.more():
                raise EndedEarly(bytes(self._held))
        return self._take(size_bytes)

    async def chunk(self) -> Chunk:
        """Reads one chunk with its boundaries as sent."""
        while (parsed := parse_chunk(self._held)) is None:
            if not await self.more():
                raise EndedEarly(bytes(self._held))
        chunk, end = parsed
        del self._held[:end]
        return chunk

    async def chunks(self) -> list[Chunk]:
        """Reads a whole chunked body, the last chunk included."""
        chunks = [await self.chunk()]
        while not chunks[-1].last:
            chunks.append(await self.chunk())
        return chunks

    async def to_end(self) -> bytes:
        """Reads until the connection ends, in whichever way; ``ending`` then says how."""
        try:
            while await self.more():
                pass
        except ConnectionResetError:
            assert self.ending == "reset"
        return self._take(len(self._held))

    # Writing

    async def write_apart(self, *pieces: bytes) -> None:
        """Writes each piece so that a reader on this loop sees it as a read of its own, and has read it then.

        A reader that has paused is not waited for, nor one in another process.

        Raises:
            ConnectionResetError: the connection is gone.
        """
        for piece in pieces:
            self.transport.write(piece)
            self.written_bytes += len(piece)
            await self._writable.wait()
            if self.lost.is_set():
                raise ConnectionResetError("the connection is gone")
            await self._taken()
            await read_boundary()

    @property
    def held_bytes(self) -> int:
        """How much was read and not parsed yet."""
        return len(self._held)

    @property
    def taken_bytes(self) -> int:
        """How much of what was written the kernel has taken (approximate under TLS)."""
        return self.written_bytes - (0 if self.lost.is_set() else self.transport.get_write_buffer_size())

    async def _taken(self) -> None:
        """Waits until the peer has read all of it."""
        least, turns, since_s = sum(self._unread()), 0, time.monotonic()
        if not least:
            self._peer_rests = False
        while least and not self._peer_rests:
            await asyncio.sleep(0 if turns < _SOON_TURNS else _MOMENT_S)  # timed: that a peer reads is told by no event
            ready, coming = self._unread()
            turns += 1
            if ready + coming < least or (coming and not ready):
                turns = min(turns, _SOON_TURNS)
            if ready + coming < least:
                least, since_s = ready + coming, time.monotonic()
            self._peer_rests = turns > _PAUSED_TURNS or time.monotonic() - since_s > _LOST_S

    def _unread(self) -> tuple[int, int]:
        """What the peer has not read, as far as that can be known: ready for it, and on the way."""
        if self.lost.is_set():
            return 0, 0
        if self._peer is None and self._looks:
            self._looks -= 1
            self._peer = PeerSocket.of(self.transport.get_extra_info("socket"))
        return (0, 0) if self._peer is None else self._peer.unread()

    async def close(self) -> None:
        """Closes with FIN after what was written (with unread bytes it becomes RST: RFC 2525 §2.17)."""
        self._end("local")
        self.transport.close()
        await self.lost.wait()

    async def reset(self) -> None:
        """Closes with RST: no linger, and what was not sent yet is dropped (socket(7), SO_LINGER)."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.abort()

    async def abort(self) -> None:
        """Drops the connection at once."""
        self._end("local")
        self.transport.abort()
        await self.lost.wait()

    def _end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.ended_at_s = time.monotonic()
        self._readable.set()

    def _take(self, size_bytes: int) -> bytes:
        taken = bytes(self._held[:size_bytes])
        del self._held[:size_bytes]
        return taken


async def read_boundary() -> None:
    """Lets every reader on this loop take what has been written: what is written next is its next read."""
    for _ in range(_LOOP_TURNS):
        await asyncio.sleep(0)  # timed: turns of the loop, no time passes
