"""The plain path's kept connections: whether an answer begins on them, told by public interfaces alone."""

import asyncio
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp import ClientRequest, ClientResponse, ClientTimeout, TCPConnector
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from gateway.splice.upstream import StaleConnection


class _FirstByte(asyncio.Protocol):
    """Stands before a connection's protocol until the first bytes come, then leaves."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self.heard = False
        self._transport = transport
        self._protocol = protocol

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._transport.set_protocol(self._protocol)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class WatchingConnector(TCPConnector):
    """aiohttp's connector; it watches for the first bytes on a connection that it hands out again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known: WeakSet[asyncio.Protocol] = WeakSet()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 (aiohttp's signature)
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        transport, protocol = connection.transport, connection.protocol
        if transport is not None and protocol is not None:
            if protocol in self._known:
                transport.set_protocol(_FirstByte(transport, protocol))
            self._known.add(protocol)
        return connection


class WatchedResponse(ClientResponse):
    """aiohttp's response, which tells a connection that had died before from an answer that broke off."""

    async def start(self, connection: Connection) -> ClientResponse:
        """Wait for the head.

        Raises:
            StaleConnection: a kept connection ended before a byte of the answer had come.
            aiohttp.ClientError, OSError: whatever else went wrong.
        """
        transport = connection.transport
        watch = transport.get_protocol() if transport is not None else None
        try:
            return await super().start(connection)
        except (aiohttp.ClientConnectionError, OSError) as error:
            if isinstance(watch, _FirstByte) and not watch.heard:
                raise StaleConnection from error
            raise
