"""The client's side of one stream: its head, its bytes, its end."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp import HttpVersion11, web

from gateway.core.framing import LAST_CHUNK, chunk
from gateway.splice import DownstreamConnection, RawStreamResponse


class Downstream(Protocol):
    """A client that gets a stream."""

    @property
    def begun(self) -> bool:
        """Whether the head has gone."""

    @property
    def response(self) -> web.StreamResponse:
        """What aiohttp is told of the answer. Only once the head has gone."""

    async def begin(self, headers: Mapping[str, str], first: bytes) -> None:
        """Send a 200 and the first payload bytes, in one write."""

    async def send(self, payload: bytes) -> None:
        """Send payload bytes and wait while the client is slow. Raises ConnectionError when it is gone."""

    async def end(self) -> None:
        """End the body as HTTP says; nothing more can be said after it."""

    def abort(self) -> None:
        """Break the connection: the client must see that something is missing."""


class _Begun:
    """What both kinds keep of the response."""

    _response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        return self._response is not None

    @property
    def response(self) -> web.StreamResponse:
        if self._response is None:
            raise ValueError("the head has not gone yet")
        return self._response


class RawDownstream(_Begun):
    """A client that takes chunks as they are: HTTP/1.1, on a connection of ours."""

    def __init__(
        self, request: web.BaseRequest, connection: DownstreamConnection, transport: asyncio.Transport
    ) -> None:
        self.connection = connection
        self.transport = transport
        self._request = request

    async def begin(self, headers: Mapping[str, str], first: bytes) -> None:
        self._response = response = RawStreamResponse(headers=headers)
        await response.begin(self._request, chunk(first))

    async def send(self, payload: bytes) -> None:
        self.transport.write(chunk(payload))
        if self.connection.congested:
            await self.connection.drained()

    async def drained(self) -> None:
        await self.connection.drained()

    async def end(self) -> None:
        self.transport.write(LAST_CHUNK)

    def abort(self) -> None:
        self.transport.abort()


class PlainDownstream(_Begun):
    """A client behind aiohttp's own response: HTTP/1.0, or an aiohttp that failed the self-check."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request

    async def begin(self, headers: Mapping[str, str], first: bytes) -> None:
        self._response = response = web.StreamResponse(headers=dict(headers))
        await response.prepare(self._request)
        if first:
            await response.write(first)

    async def send(self, payload: bytes) -> None:
        await self.response.write(payload)

    async def end(self) -> None:
        await self.response.write_eof()

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


def downstream_of(request: web.BaseRequest, *, spliced: bool) -> RawDownstream | PlainDownstream:
    """The client of `request`; raw where its HTTP version and the self-check allow it."""
    connection, transport = request.protocol, request.transport
    if (
        spliced
        and request.version >= HttpVersion11
        and isinstance(connection, DownstreamConnection)
        and transport is not None
    ):
        return RawDownstream(request, connection, transport)
    return PlainDownstream(request)
