"""Whether the installed aiohttp behaves as this package needs: one response taken apart and put together again."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import TCPConnector

from gateway.core.framing import LAST_CHUNK
from gateway.splice.downstream import serialize_head
from gateway.splice.upstream import UpstreamProtocol


class SpliceUnavailable(RuntimeError):
    """The installed aiohttp does not behave as this module needs; the message says in what."""


class _Wire(asyncio.Transport):
    """A transport without a socket, for the self-check."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


async def self_check() -> None:
    """Take one response apart and put it together again.

    Raises:
        SpliceUnavailable: something is not as needed.
    """
    try:
        await _try_out()
    except SpliceUnavailable:
        raise
    except Exception as error:
        raise SpliceUnavailable(f"aiohttp {aiohttp.__version__}: {type(error).__name__}: {error}") from error


async def _try_out() -> None:
    loop = asyncio.get_running_loop()
    wire = _Wire()
    protocol = UpstreamProtocol(loop)
    # The handler's own connection_made sets a socket option, and there is no socket here.
    protocol.transport = wire
    wire.protocol = protocol
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"6\r\n: hi\n\n\r\n"
    protocol.data_received(head[:40])
    protocol.data_received(head[40:] + body)
    message, payload = await asyncio.wait_for(protocol.read(), 1)
    if message.code != 200 or protocol.surplus != bytearray(body) or payload.is_eof():
        raise SpliceUnavailable("the body does not stay behind the head")
    sink = _Sink()
    surplus, protocol.surplus = protocol.surplus, None
    wire.set_protocol(sink)
    sink.data_received(bytes(surplus))
    wire.set_protocol(protocol)
    protocol.data_received(LAST_CHUNK)
    if sink.data != body or not payload.is_eof() or protocol.should_close:
        raise SpliceUnavailable("the connection cannot be given back")
    connector = TCPConnector()
    if not hasattr(protocol, "_paused") or not hasattr(connector, "_factory"):
        raise SpliceUnavailable("flow control or the connector's factory has another name")
    await connector.close()
    if serialize_head("HTTP/1.1 200 OK", {"a": "b"}) != b"HTTP/1.1 200 OK\r\na: b\r\n\r\n":
        raise SpliceUnavailable("heads are serialised in another way")
