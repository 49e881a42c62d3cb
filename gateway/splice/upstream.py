"""The upstream half: connections whose response bodies can be taken over, and requests that cost little to send.

Long because a connection, the request on it and the body of its answer lean on the same internals of aiohttp.
"""

import asyncio
import re
from functools import partial
from typing import Any

import aiohttp
from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.core.framing import LAST_CHUNK

HEAD_LIMIT_BYTES = 64 * 1024
SURPLUS_LIMIT_BYTES = 256 * 1024
"""Body bytes kept before the line has taken the stream over; above it, reading pauses."""

_BLANK_LINES = (b"\n\n", b"\n\r\n")
_SPLICEABLE = (
    re.compile(rb"\Ahttp/1\.1 200 "),
    re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n"),
    re.compile(rb"\r\ncontent-type:[ \t]*text/event-stream[ \t]*[;\r]"),
)
_NOT_SPLICEABLE = re.compile(rb"\r\n(?:content-encoding:[ \t]*+(?!identity[ \t]*\r\n)|content-length:|upgrade:)")


def _is_spliceable(head: bytes) -> bool:
    head = head.lower()
    return all(pattern.search(head) for pattern in _SPLICEABLE) and not _NOT_SPLICEABLE.search(head)


class StaleConnection(aiohttp.ClientConnectionError):
    """A connection of the pool, no fresh one, ended before a byte of the answer to this request had come."""


class UpstreamProtocol(ResponseHandler):
    """aiohttp's client protocol, which keeps the body of an event stream for whoever claims it.

    ``kept``: the connection was in the pool before. ``heard``: bytes came since the last request was written.
    ``lost``: it is gone, and the cause if there was one.

    Bytes that nobody asked for, behind a body's end or on an idle connection, close the connection: aiohttp would keep
    them and take them for the answer to the next request, which may be another tenant's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._head: bytes | None = None
        self._answered = True
        self.kept = self.heard = False
        self.surplus: bytearray | None = None
        self.lost: tuple[Exception | None] | None = None

    def set_response_params(self, **params: Any) -> None:
        self._head = b""
        self._answered = self.heard = False
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take one parsed head: of the answers to one request only the last is final (RFC 9110 §15.2)."""
        if self._answered:
            self._distrust()
            return
        self._answered = data[0].code >= 200 or data[0].code == 101
        super().feed_data(data, size)

    def _distrust(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._head is not None and data:
            self.heard = True
            self._head_received(self._head + data)
        elif self.surplus is None:
            if data and self._answered and (self._payload is None or self._payload.is_eof()):
                self._distrust()
            else:
                super().data_received(data)
        else:
            self.surplus += data
            if len(self.surplus) > SURPLUS_LIMIT_BYTES and self.transport is not None:
                self.transport.pause_reading()

    def _head_received(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) <= HEAD_LIMIT_BYTES and not any(blank in data for blank in _BLANK_LINES):
                self._head = data
                return
            self._head = None
            super().data_received(data)
        elif data.startswith(b"HTTP/1.1 1") and not data.startswith(b"HTTP/1.1 101"):
            super().data_received(data[:end])
            self._head = b""
            if data[end:]:
                self.data_received(data[end:])
        elif _is_spliceable(data[:end]):
            self._head = None
            self.surplus = bytearray(data[end:])
            super().data_received(data[:end])
        else:
            self._head = None
            super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Tell whoever reads the body too: what is wrong with its framing aiohttp tells only who waits for a head."""
        payload = self._payload
        super().set_exception(exc, *cause)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError("the body is not framed as HTTP says"), *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head = None
        self.lost = (exc if isinstance(exc, Exception) else None,)
        super().connection_lost(exc)


class SplicedResponse:
    """A response whose head is here: the part of aiohttp's `ClientResponse` that the gateway uses.

    The connection goes back to the pool when the body's end was read, or is closed by :meth:`close`.
    """

    __slots__ = ("_connection", "content", "headers", "protocol", "status")

    def __init__(self, message: Any, payload: aiohttp.StreamReader, connection: Any) -> None:
        self.status: int = message.code
        self.headers: CIMultiDictProxy[str] = message.headers
        self.content = payload
        self.protocol: UpstreamProtocol = connection.protocol
        self._connection = connection
        payload.on_eof(self._release)

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int | None:
        """Bytes declared, None if none are."""
        length = self.headers.get("Content-Length")
        return int(length) if length is not None and length.isascii() and length.isdigit() else None

    @property
    def closed(self) -> bool:
        """Whether the connection is no longer ours."""
        return self._connection is None

    async def read(self) -> bytes:
        """The rest of the body. Raises aiohttp.ClientError if it breaks off."""
        return await self.content.read()

    def close(self) -> None:
        """Close the connection, unless the body's end was read."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


class Splice:
    """An upstream connection whose body bytes are ours until they end.

    Exactly one of :meth:`give_back` and :meth:`abort` ends it, or the connection's own loss does.
    """

    __slots__ = ("_protocol", "_response", "_transport")

    def __init__(self, response: SplicedResponse) -> None:
        self._response = response
        self._protocol = response.protocol
        self._transport = response.protocol.transport

    def start(self, reader: asyncio.Protocol) -> None:
        """Send all bytes of the body to `reader`, first those that came already; then the loss, if that came too."""
        protocol, transport = self._protocol, self._transport
        surplus, protocol.surplus = protocol.surplus, None
        if transport is not None:
            transport.set_protocol(reader)
        if surplus:
            reader.data_received(bytes(surplus))
        if protocol.lost is not None:
            reader.connection_lost(protocol.lost[0])
        elif surplus and len(surplus) > SURPLUS_LIMIT_BYTES:
            self.resume_reading()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def give_back(self) -> None:
        """The body was read to its last byte: aiohttp's parser hears of its end and the connection is free again."""
        if self._transport is None or self._transport.is_closing():
            self._response.close()
            return
        self._transport.set_protocol(self._protocol)
        self._protocol.data_received(LAST_CHUNK)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell aiohttp, whose protocol does not hear it any more."""
        if self._protocol.lost is None:
            self._protocol.connection_lost(exc)
        self._response.close()

    def abort(self) -> None:
        """Close the connection at once; the provider stops generating."""
        if self._transport is not None:
            self._transport.set_protocol(self._protocol)
            self._transport.abort()
        self._response.close()


def claim(response: SplicedResponse) -> Splice | None:
    """Take over the body of a response; None if it is no event stream that could be spliced."""
    return Splice(response) if response.protocol.surplus is not None else None


def decline(response: SplicedResponse) -> None:
    """Leave the body to aiohttp's stream after all."""
    protocol = response.protocol
    surplus, protocol.surplus = protocol.surplus, None
    if surplus and protocol.transport is not None:
        ResponseHandler.data_received(protocol, bytes(surplus))
        if len(surplus) > SURPLUS_LIMIT_BYTES:
            protocol.transport.resume_reading()


def unread(body: aiohttp.StreamReader) -> bytes:
    """What came of a body before it broke, and nobody has read: aiohttp's reader then raises and keeps it."""
    read = getattr(body, "_read_nowait", None)
    return bytes(read(-1)) if read is not None else b""


class SplicingConnector(TCPConnector):
    """aiohttp's connector, making connections that can be spliced."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = partial(UpstreamProtocol, loop=self._loop)


def destination(session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientRequest:
    """What aiohttp's connector needs to know of a request: where it goes. One serves all requests to a provider."""
    return aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop(), session=session)


async def send(session: aiohttp.ClientSession, where: aiohttp.ClientRequest, request: bytes) -> SplicedResponse:
    """Send the bytes of a whole request on a connection of the pool; return when the response head is here.

    Raises:
        StaleConnection: the connection had been closed, most likely, before the request came to it.
        aiohttp.ClientError, OSError: the connection cannot be had, or breaks, or answers no HTTP.
    """
    connector = session.connector
    if connector is None:
        raise aiohttp.ClientConnectionError("the session is closed")
    try:
        connection = await connector.connect(where, [], session.timeout)
    except TimeoutError as error:
        # aiohttp's client does the same: the caller's own deadline must not be taken for that of connecting
        raise aiohttp.ConnectionTimeoutError from error
    protocol: Any = connection.protocol
    kept, protocol.kept = protocol.kept, True
    try:
        message, payload = await _head(protocol, request)
    except BaseException as error:
        connection.close()
        if kept and not protocol.heard and isinstance(error, (aiohttp.ClientConnectionError, OSError)):
            raise StaleConnection from error
        raise
    return SplicedResponse(message, payload, connection)


def pool_counts(connector: TCPConnector) -> tuple[int, int]:
    """Connections in use and idle."""
    return len(connector._acquired), sum(len(idle) for idle in connector._conns.values())


async def _head(protocol: Any, request: bytes) -> tuple[Any, aiohttp.StreamReader]:
    """Write a request and wait for the head of its final response (RFC 9110 §15.2: others may come before)."""
    if protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True, read_bufsize=2**16)
    protocol.transport.write(request)
    while True:
        message, payload = await protocol.read()
        if message.code >= 200 or message.code == 101:
            return message, payload


async def warm(session: aiohttp.ClientSession, where: aiohttp.ClientRequest, connections: int) -> int:
    """Open connections and leave them in the pool; return how many stand. Never raises."""
    connector = session.connector
    if connector is None:
        return 0
    opened = await asyncio.gather(
        *(connector.connect(where, [], session.timeout) for _ in range(connections)), return_exceptions=True
    )
    standing = [connection for connection in opened if not isinstance(connection, BaseException)]
    for connection in standing:
        if isinstance(connection.protocol, UpstreamProtocol):
            connection.protocol.kept = True
        connection.release()
    return len(standing)
