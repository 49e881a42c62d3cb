"""The downstream half: answers that are written as they are, and connections that aiohttp leaves less open."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import _serialize_headers

serialize_head: Callable[[str, Mapping[str, str]], bytes] = _serialize_headers  # type: ignore[assignment]
"""aiohttp's own: it refuses control characters, and takes any mapping."""

LOOK_AGAIN_S = 0.05
"""Until more can be told of a connection that is to close: bytes have come that nobody has read, a request is being
taken up, or the rest of a body that nobody wants is being read."""


class RawStreamResponse(web.StreamResponse):
    """A 200 that is written to the transport as it is, chunk framing included (HTTP/1.1 only).

    aiohttp gets to see it once all of it has gone: there is nothing left to prepare, and nothing to end.
    """

    def __init__(self, *, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._head = headers

    async def begin(self, request: web.BaseRequest, first: bytes) -> None:
        """Send the head and the first bytes of the body, which may be none, in one write.

        Raises:
            ConnectionError: the client is gone.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionError("the client is gone")
        self._keep_alive = request.keep_alive if self._keep_alive is None else self._keep_alive
        head = {**self._head, "Transfer-Encoding": "chunked", "Date": rfc822_formatted_time()}
        if not self._keep_alive:
            head["Connection"] = "close"
        data = serialize_head("HTTP/1.1 200 OK", head) + first
        # Whoever looks whether an answer has begun looks here.
        request.writer.output_size += len(data)
        transport.write(data)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the head has gone."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the end has gone."""


class DownstreamConnection(web.RequestHandler):
    """aiohttp's server protocol, with what it leaves open closed.

    * ``congested``: the client has not taken what was written to it, since ``congested_since`` (loop time);
      ``on_congested`` is called when that begins.
    * ``half_head_since``: when the first bytes of a head that is not complete yet came (0: there is none), so that a
      sweep can end slow heads.
    * No pipelining: a request that comes while another is answered closes the connection after that answer. Queued
      requests would pause reading and so hide the client's exit.
    * Parser errors answer a fixed JSON error; aiohttp would log and echo the raw request, credentials included.
    * :meth:`retire` ends it without dropping a request.
    """

    __slots__ = (
        "_on_bad_request",
        "_payload",
        "congested",
        "congested_since",
        "connected_at",
        "half_head_since",
        "on_congested",
    )

    def __init__(self, server: web.Server, *, on_bad_request: Any, **options: Any) -> None:
        super().__init__(server, **options)
        self._on_bad_request = on_bad_request
        self._payload: Any = None
        self.half_head_since = 0.0
        self.connected_at = self._loop.time()
        self.congested = False
        self.congested_since = 0.0
        self.on_congested: Callable[[], None] | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.congested = True
        self.congested_since = self._loop.time()
        if self.on_congested is not None:
            self.on_congested()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.congested = False

    @property
    def awaits_first_request(self) -> bool:
        return self._request_count == 0

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        in_body = self._payload is not None and not self._payload.is_eof()
        super().data_received(data)
        if self._request_count > before:
            self.half_head_since = 0.0
            self._keep_one_request()
        elif data and not (in_body or self._request_in_progress or self._messages):
            # (aiohttp calls this without data when a body is read on.)
            self.half_head_since = self.half_head_since or self._loop.time()

    def _keep_one_request(self) -> None:
        """Forget what was pipelined: a full queue, or a body that nobody reads, would pause reading."""
        allowed = 0 if self._request_in_progress else 1
        if allowed and self._messages:
            self._payload = self._messages[0][1]
        if len(self._messages) <= allowed:
            return
        while len(self._messages) > allowed:
            self._messages.pop()
        self.close()
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        self.resume_reading()

    def retire(self, linger_s: float) -> None:
        """Close the connection as soon as no answer runs on it and no request is on its way.

        The server must be draining: then an answer that begins from now on is the connection's last by itself, so
        there are two cases to wait for: an answer that began before, and a request that is arriving.

        Args:
            linger_s: how long the connection stays after it was accepted, and after an answer whose head did not say
                that it would be the last: its client may be sending a request at this very moment.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._request_in_progress:
            self._once_answered(linger_s)
        elif self._messages or self.half_head_since:
            return
        elif self._waiter is None or _has_unread(transport):
            self._loop.call_later(max(linger_s, LOOK_AGAIN_S), self.retire, 0.0)
        elif self.awaits_first_request and self._loop.time() - self.connected_at < linger_s:
            self._loop.call_later(linger_s, self.retire, 0.0)
        else:
            self.force_close()

    def _once_answered(self, linger_s: float) -> None:
        def answered(_: object) -> None:
            self._handler_waiter = None
            self._loop.call_later(linger_s, self.retire, 0.0)

        if self._handler_waiter is None:
            self._handler_waiter = self._loop.create_future()
            self._handler_waiter.add_done_callback(answered)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """aiohttp's traceback may quote the request; its kind is enough."""
        self.logger.info("a connection failed: %s", type(kw.get("exc_info")).__name__)

    async def drained(self) -> None:
        """Wait until the client has taken what was written. Raises ConnectionError if it left."""
        await self._drain_helper()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun already.")
        response: web.StreamResponse = self._on_bad_request(request, status, exc)
        response.force_close()
        return response


def _has_unread(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel has bytes that the loop has not come to (ioctl_tty(2), FIONREAD; sockets too)."""
    descriptor = transport.get_extra_info("socket").fileno()
    (unread_bytes,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, struct.pack("i", 0)))
    return bool(unread_bytes)


def connection_factory(server: web.Server, on_bad_request: Any) -> Any:
    """A protocol factory for `loop.create_server` in the place of aiohttp's own."""

    def connect() -> DownstreamConnection:
        # looked up for each connection: the options may have changed since the last one
        return DownstreamConnection(server, on_bad_request=on_bad_request, loop=server._loop, **server._kwargs)

    return connect
