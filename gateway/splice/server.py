"""aiohttp's server with an end in order: last answers first, then idle connections, then nobody is left."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from gateway.splice.downstream import DownstreamConnection

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class DownstreamRequest(web.BaseRequest):
    """A request to a :class:`DownstreamServer`."""

    @property
    def keep_alive(self) -> bool:
        """Whether the connection goes on after the answer; asked when the answer's head is written."""
        server = self.protocol._manager
        return not (self._message.should_close or server is None or getattr(server, "draining", False))


class DownstreamServer(web.Server):
    """The connections of one listener.

    Args:
        handler: answers requests.
        max_body_bytes: what :meth:`aiohttp.web.BaseRequest.read` takes.
        options: aiohttp's for connections (``keepalive_timeout``, say).

    Attributes:
        draining: an answer whose head is written while it is set is the last one on its connection and says so.
    """

    def __init__(self, handler: Handler, *, max_body_bytes: int, **options: Any) -> None:
        super().__init__(handler, handler_cancellation=True, access_log=None, **options)
        self.configure(max_body_bytes)
        self.draining = False
        self._linger_s: float | None = None
        self._emptied: asyncio.Future[None] | None = None

    def configure(self, max_body_bytes: int, **options: Any) -> None:
        """Treat connections that come from now on so; arguments are those of the constructor."""
        make_request: Any = partial(DownstreamRequest, loop=self._loop, client_max_size=max_body_bytes)
        self.request_factory = make_request
        self._kwargs.update(options)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if self._linger_s is not None:
            # accepted just before the listener was closed
            self._loop.call_soon(handler.retire, self._linger_s)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if handler._task_handler is not None:
            # aiohttp forgets the connection in an earlier callback of the same task
            handler._task_handler.add_done_callback(self._left)
        else:
            self._left()

    def _left(self, _: object = None) -> None:
        if self._emptied is not None and not self._emptied.done() and not self._connections:
            self._emptied.set_result(None)

    async def emptied(self, patience_s: float) -> bool:
        """Wait until no connection stands and the work for the last one is done; False if that takes longer."""
        if self._connections and patience_s > 0:
            self._emptied = self._loop.create_future()
            await asyncio.wait([self._emptied], timeout=patience_s)
        return not self._connections

    def retire(self, linger_s: float) -> None:
        """Close every connection as soon as that fails no request: :meth:`DownstreamConnection.retire`."""
        self.draining = True
        self._linger_s = linger_s
        for connection in self.connections:
            if isinstance(connection, DownstreamConnection):
                connection.retire(linger_s)

    def abort(self) -> None:
        """Break every connection that still stands; what was written and not taken yet is dropped."""
        for transport in tuple(self._connections.values()):
            transport.abort()
