"""What a scripted upstream is told to do: steps, and the bytes that they put on the wire.

A script is a list of steps (lists in it are flattened), for one request::

    [head(200, SSE, CHUNKED), event({"choices": []}), reached(seen), wait(go), event("[DONE]"), end()]

Every step is written apart, so that the reader sees it as a read of its own; :func:`together` is the
opposite.
"""

import asyncio
import http
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.raw_connection import RawConnection, read_boundary
from tests.raw_http import BODILESS, Body, Malformed, MessageHead, dechunk, fields_wire, parse_head

SSE = ("Content-Type", "text/event-stream; charset=utf-8")
JSON = ("Content-Type", "application/json")
CHUNKED = ("Transfer-Encoding", "chunked")


class ScriptError(Exception):
    """A script cannot be played as it is written; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for the wire, each piece apart; ``status`` is set where they are a head."""

    pieces: tuple[bytes, ...]
    status: int | None = None

    @property
    def wire(self) -> bytes:
        return b"".join(self.pieces)

    async def play(self, connection: RawConnection) -> None:
        await connection.write_apart(*self.pieces)


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on when the test says so."""

    event: asyncio.Event

    async def play(self, connection: RawConnection) -> None:
        await self.event.wait()


@dataclass(frozen=True, slots=True)
class Reached:
    """Tells the test that everything before this step was written and could be read."""

    event: asyncio.Event

    async def play(self, connection: RawConnection) -> None:
        await read_boundary()
        self.event.set()


@dataclass(frozen=True, slots=True)
class Leave:
    """Ends the connection, or never again does anything on it."""

    how: Literal["close", "reset", "stall"]

    async def play(self, connection: RawConnection) -> None:
        if self.how == "stall":
            await connection.lost.wait()
        elif self.how == "reset":
            await read_boundary()
            await connection.reset()
        else:
            await connection.close()


Step = Write | Wait | Reached | Leave
Script = Sequence["Step | Script"]


def head(status: int = 200, *headers: tuple[str, str], reason: str | None = None, version: str = "HTTP/1.1") -> Write:
    """A response head with exactly these headers; a 1xx head may stand before the final one."""
    phrase = http.HTTPStatus(status).phrase if reason is None else reason
    wire = f"{version} {status} {phrase}\r\n".encode("latin-1") + fields_wire(headers) + b"\r\n"
    return Write((wire,), status)


def raw(data: bytes) -> Write:
    """Bytes as they are: a body with ``Content-Length``, or anything malformed."""
    return Write((data,))


def chunk(payload: bytes, extension: bytes = b"") -> Write:
    """One HTTP chunk (RFC 9112 §7.1).

    Raises:
        ScriptError: an empty payload, which would end the body: say :func:`end`.
    """
    if not payload:
        raise ScriptError("an empty chunk ends the body: write end() or trailers()")
    size_line = b"%x" % len(payload) + (b";" + extension if extension else b"")
    return Write((size_line + b"\r\n" + payload + b"\r\n",))


def chunks(payloads: Iterable[bytes]) -> list[Step]:
    """An HTTP chunk for each payload, each written apart."""
    return [chunk(payload) for payload in payloads]


def sse(data: object, name: str | None = None) -> bytes:
    """Returns one server-sent event: text as it is (one line), anything else as compact JSON."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def event(data: object, name: str | None = None) -> Write:
    """One server-sent event in an HTTP chunk of its own."""
    return chunk(sse(data, name))


def split(step: Write | bytes, sizes: Iterable[int]) -> Write:
    """The same bytes in pieces of these sizes, each a read of its own; what is left is the last piece.

    Raises:
        ScriptError: a size that is not positive, or more bytes than there are.
    """
    data, pieces, offset = step.wire if isinstance(step, Write) else step, [], 0
    for size_bytes in sizes:
        if size_bytes < 1 or offset + size_bytes > len(data):
            raise ScriptError(f"cannot cut {size_bytes} bytes at {offset} of {len(data)}")
        pieces.append(data[offset : offset + size_bytes])
        offset += size_bytes
    if offset < len(data):
        pieces.append(data[offset:])
    return Write(tuple(pieces), step.status if isinstance(step, Write) else None)


def together(*steps: Write) -> Write:
    """Several steps in one write, so that the reader sees them as one read. A head can only be the first."""
    if any(step.status is not None for step in steps[1:]):
        raise ScriptError("together() takes a head only as its first step")
    return Write((b"".join(step.wire for step in steps),), steps[0].status)


def end() -> Write:
    """The terminal chunk."""
    return Write((b"0\r\n\r\n",))


def trailers(*fields: tuple[str, str]) -> Write:
    """The terminal chunk with trailers (RFC 9112 §7.1.2)."""
    return Write((b"0\r\n" + fields_wire(fields) + b"\r\n",))


def wait(event: asyncio.Event) -> Wait:
    """Waits until the test sets the event."""
    return Wait(event)


def reached(event: asyncio.Event) -> Reached:
    """Sets the event once everything before it was written."""
    return Reached(event)


def stall() -> Leave:
    """Does nothing more until the peer leaves or the test ends."""
    return Leave("stall")


def reset() -> Leave:
    """Resets the connection (RST), after the peer could read what was written before."""
    return Leave("reset")


def close() -> Leave:
    """Closes the connection (FIN)."""
    return Leave("close")


def flat(script: Script) -> list[Step]:
    """Returns the steps of a script in order, nested lists opened."""
    steps: list[Step] = []
    for part in script:
        if isinstance(part, Write | Wait | Reached | Leave):
            steps.append(part)
        else:
            steps += flat(part)
    return steps


def wire_of(script: Script) -> bytes:
    """Returns the bytes behind the final head, as framed; all bytes where no step is a head."""
    wire = b""
    for step in flat(script):
        if isinstance(step, Write):
            wire = b"" if step.status is not None else wire + step.wire
    first = _final_head(script)
    return (first.wire[first.wire.index(b"\r\n\r\n") + 4 :] if first else b"") + wire


def body_of(script: Script) -> bytes:
    """Returns the body that a correct client reads: without the chunk framing, as far as it goes.

    Raises:
        Malformed: the framing is broken; compare with :func:`wire_of` instead.
    """
    return _body(script).payload


def is_complete(script: Script) -> bool:
    """Whether the script plays one whole answer whose end a client knows without the connection closing."""
    final = _final_head(script)
    if final is None:
        return False
    try:
        body = _body(script)
    except Malformed:
        return False
    return body.complete and not body.rest


def says_close(script: Script) -> bool:
    """Whether the answer's own head ends the connection (``Connection: close``, or HTTP/1.0)."""
    final = _final_head(script)
    return final is not None and not _parsed(final).keeps_alive


def check(script: Script) -> list[Step]:
    """Returns the steps of a script that can be played.

    Raises:
        ScriptError: steps that are never reached, or an unfinished answer that nothing ends.
    """
    steps = flat(script)
    leaving = [index for index, step in enumerate(steps) if isinstance(step, Leave)]
    if leaving and leaving[0] != len(steps) - 1:
        raise ScriptError(f"steps after {steps[leaving[0]]} are never played: remove them")
    if not leaving and not is_complete(script):
        raise ScriptError("the answer is not whole: finish it, or say stall(), close() or reset() at its end")
    return steps


def _final_head(script: Script) -> Write | None:
    heads = [step for step in flat(script) if isinstance(step, Write) and step.status is not None]
    return heads[-1] if heads and (heads[-1].status or 0) >= 200 else None


def _parsed(final: Write) -> MessageHead:
    return parse_head(final.wire[: final.wire.index(b"\r\n\r\n") + 4])


def _body(script: Script) -> Body:
    final, wire = _final_head(script), wire_of(script)
    if final is None:
        return Body(wire, False, b"")
    parsed = _parsed(final)
    if final.status in BODILESS:
        return Body(b"", not wire, wire)
    if parsed.chunked:
        return dechunk(wire)
    length = parsed.get("content-length")
    if length is None:
        return Body(wire, False, b"")
    return Body(wire[: int(length)], len(wire) >= int(length), wire[int(length) :])
