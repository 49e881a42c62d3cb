"""Chunked transfer coding (RFC 9112 §7.1), as a decoder that survives any split of reads, and its inverse."""

import re
from enum import Enum
from functools import lru_cache

MAX_LINE_BYTES = 4096
"""A size line with its extensions, or a trailer line; RFC 9112 §7.1.1 asks recipients to bound them."""

MAX_TRAILER_BYTES = 16384

LAST_CHUNK = b"0\r\n\r\n"

# Bytes of a size line before any extension: hexadecimal digits only. int(…, 16) alone would also take
# "0x1f", " 1f" and "1_f", and a client that reads those otherwise would see other chunks than we did.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class FramingError(ValueError):
    """The peer broke the chunked coding; the connection cannot be used any more.

    Attributes:
        payload: what the same call had decoded before the fault.
    """

    payload = b""


def parse_chunk_size(line: bytes) -> int:
    """Read a size line (without its CRLF) and return the payload's length in bytes.

    Raises:
        FramingError: the line is not hexadecimal digits with optional extensions.
    """
    match = _SIZE_LINE.fullmatch(line)
    if match is None:
        raise FramingError("malformed chunk size")
    return int(match[1], 16)


chunk_size = lru_cache(maxsize=8192)(parse_chunk_size)
"""The same, remembered: streams repeat a few sizes for ever, and a look-up costs less than parsing. For lines of at
most :data:`SHORT_LINE_BYTES` only, so that nobody can fill the memory with extensions."""

SHORT_LINE_BYTES = 18


def chunk(payload: bytes) -> bytes:
    """Frame a payload as one chunk. An empty payload has no chunk of its own: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def is_whole_events(data: bytes) -> bool:
    """Whether `data`, starting at a chunk boundary, is nothing but complete chunks of complete events.

    Each chunk's payload must end with LF LF: then no marker can be cut in two by the framing.

    Raises:
        FramingError: a size line is malformed.
    """
    at, length = 0, len(data)
    while at < length:
        end = data.find(b"\r\n", at, at + SHORT_LINE_BYTES + 2)
        if end < 0:
            return False
        size = chunk_size(data[at:end])
        at = end + 4 + size
        if size < 2 or at > length or data[at - 4 : at] != b"\n\n\r\n":
            return False
    return True


class _State(Enum):
    SIZE = "size"
    PAYLOAD = "payload"
    PAYLOAD_END = "payload end"
    TRAILER = "trailer"
    DONE = "done"


class ChunkDecoder:
    """Takes the bytes of a chunked body, gives its payload. Chunks that are all there are taken in one step.

    Extensions and trailers are read over and dropped. After the last CRLF of the trailer section :attr:`done` is
    true and :attr:`excess` holds what came behind it: a connection with excess must not be reused.
    """

    __slots__ = ("_line", "_need", "_state", "_trailer_bytes", "excess")

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._need = 0
        self._line = b""
        self._trailer_bytes = 0
        self.excess = b""

    @property
    def done(self) -> bool:
        return self._state is _State.DONE

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte starts a chunk."""
        return self._state is _State.SIZE and not self._line

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return the payload in them.

        Raises:
            FramingError: the coding is broken; it has the payload before the fault, and the decoder must not be fed
                again.
        """
        payload: list[bytes] = []
        try:
            self._feed(data, payload)
        except FramingError as fault:
            fault.payload = b"".join(payload)
            raise
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _feed(self, data: bytes, payload: list[bytes]) -> None:
        at, length = 0, len(data)
        while at < length:
            if self._state is _State.SIZE and not self._line:
                end = data.find(b"\r\n", at, at + SHORT_LINE_BYTES + 2)
                stop = end + 2 + chunk_size(data[at:end]) if end > at else 0
                if stop > end + 2 and data[stop : stop + 2] == b"\r\n":
                    payload.append(data[end + 2 : stop])
                    at = stop + 2
                    continue
            if self._state is _State.PAYLOAD:
                piece = data[at : at + self._need]
                payload.append(piece)
                at += len(piece)
                self._need -= len(piece)
                if not self._need:
                    self._state, self._need = _State.PAYLOAD_END, 2
            elif self._state is _State.PAYLOAD_END:
                if data[at] != b"\r\n"[2 - self._need]:
                    raise FramingError("chunk longer than its size says")
                at += 1
                self._need -= 1
                if not self._need:
                    self._state = _State.SIZE
            elif self._state is _State.DONE:
                self.excess += data[at:]
                break
            else:
                at = self._feed_line(data, at)

    def _feed_line(self, data: bytes, at: int) -> int:
        """Take bytes up to the end of a size or trailer line; return where the next state begins."""
        end = data.find(b"\n", at, at + MAX_LINE_BYTES)
        stop = end + 1 if end >= 0 else min(len(data), at + MAX_LINE_BYTES)
        self._line += data[at:stop]
        if len(self._line) > MAX_LINE_BYTES:
            raise FramingError("chunk size or trailer line too long")
        if end < 0:
            if stop < len(data):
                raise FramingError("chunk size or trailer line too long")
            return stop
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise FramingError("bare line feed in the chunked coding")
        self._end_of_line(line[:-2])
        return stop

    def _end_of_line(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            self._need = parse_chunk_size(line)
            self._state = _State.PAYLOAD if self._need else _State.TRAILER
        elif line:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MAX_TRAILER_BYTES:
                raise FramingError("trailer section too long")
        else:
            self._state = _State.DONE
