"""HTTP/1.1 by hand: heads and chunk framing as bytes, for both ends of a test.

No HTTP library: what a library would repair or refuse silently must stay visible. What RFC 9112
does not allow is :class:`Malformed`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]
"""Header or trailer fields, in the order and the spelling of the wire."""

BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body (RFC 9112 §6.3); 1xx are handled as heads of their own."""

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Malformed(Exception):
    """The peer sent bytes that are not HTTP/1.1 (RFC 9112)."""


@dataclass(frozen=True, slots=True)
class MessageHead:
    """The head of a request or an answer; ``raw`` is all of it, the empty line included."""

    start_line: str
    headers: Pairs
    raw: bytes

    def all(self, name: str) -> list[str]:
        """Returns every value of a field, in order; several fields are not joined."""
        return [value for field, value in self.headers if field.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Returns the only value of a field, or None.

        Raises:
            Malformed: the field is there more than once.
        """
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} is there {len(values)} times")
        return values[0] if values else None

    @property
    def status(self) -> int:
        """The status code of an answer."""
        return int(self.start_line.split(" ")[1])

    @property
    def chunked(self) -> bool:
        return (self.get("transfer-encoding") or "").lower() == "chunked"

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may serve another exchange (RFC 9112 §9.3)."""
        options = {word.strip().lower() for value in self.all("connection") for word in value.split(",")}
        return "close" not in options and ("HTTP/1.1" in self.start_line or "keep-alive" in options)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as framed; the last one (size 0) carries the trailers."""

    payload: bytes
    extension: bytes = b""
    trailers: Pairs = ()

    @property
    def last(self) -> bool:
        return not self.payload


@dataclass(frozen=True, slots=True)
class Body:
    """What a correct reader makes of chunked bytes: the payload so far, and what lies behind the end."""

    payload: bytes
    complete: bool
    rest: bytes


def parse_head(raw: bytes) -> MessageHead:
    """Parses a head that ends with an empty line.

    Raises:
        Malformed: no start line of three words, or a line that is no field.
    """
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if len(first.split(b" ", 2)) < 2:
        raise Malformed(f"no start line: {first!r}")
    return MessageHead(first.decode("latin-1"), _parse_fields(lines), raw)


def parse_chunk(held: bytes | bytearray, start: int = 0) -> tuple[Chunk, int] | None:
    """Parses one chunk at ``start`` (RFC 9112 §7.1).

    Returns:
        The chunk and the offset behind it, or None while bytes of it are missing.

    Raises:
        Malformed: the framing is broken, as far as the bytes show it.
    """
    line_end = held.find(b"\r\n", start)
    if line_end < 0:
        return None
    size_word, _, extension = bytes(held[start:line_end]).partition(b";")
    if not _SIZE.fullmatch(size_word):
        raise Malformed(f"no chunk size: {size_word!r}")
    payload_start, size_bytes = line_end + 2, int(size_word, 16)
    if size_bytes == 0:
        if held[payload_start : payload_start + 2] == b"\r\n":
            return Chunk(b"", extension), payload_start + 2
        section_end = held.find(b"\r\n\r\n", payload_start)
        if section_end < 0:
            return None
        trailers = _parse_fields(bytes(held[payload_start:section_end]).split(b"\r\n"))
        return Chunk(b"", extension, trailers), section_end + 4
    payload_end = payload_start + size_bytes
    if len(held) < payload_end + 2:
        return None
    if held[payload_end : payload_end + 2] != b"\r\n":
        raise Malformed(f"a chunk of {size_bytes} bytes does not end with CRLF")
    return Chunk(bytes(held[payload_start:payload_end]), extension), payload_end + 2


def dechunk(wire: bytes) -> Body:
    """Takes the chunk framing off; raises :class:`Malformed` where it is broken."""
    payload, offset = bytearray(), 0
    while (parsed := parse_chunk(wire, offset)) is not None:
        chunk, offset = parsed
        payload += chunk.payload
        if chunk.last:
            return Body(bytes(payload), True, wire[offset:])
    return Body(bytes(payload), False, wire[offset:])


def fields_wire(fields: Iterable[tuple[str, str]]) -> bytes:
    """Returns header or trailer lines, each with its CRLF, spelled as given."""
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields)


def _parse_fields(lines: Iterable[bytes]) -> Pairs:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Malformed(f"no header field: {line!r}")
        fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
    return tuple(fields)
