"""The one place that leans on aiohttp's internals, so that streams can go from transport to transport.

aiohttp does connect, TLS, pool, accept and the parsing of every head. For an event stream the two transports are then
joined: :class:`UpstreamProtocol` notices the end of the response head and keeps the body's bytes away from aiohttp's
parser, :class:`Splice` gives them to a protocol of ours and returns the connection afterwards, and
:class:`RawStreamResponse` lets us write chunks that are already framed. Requests go out through :func:`send`, which
takes a connection from aiohttp's pool and writes a head that is mostly ready: a third of the cost of its client.

:func:`self_check` tries all of it on the installed aiohttp without a socket. If it fails, the gateway warns once and
relays through aiohttp's public interfaces instead: slower, same bytes.
"""

from gateway.splice.downstream import DownstreamConnection, RawStreamResponse, connection_factory
from gateway.splice.selfcheck import SpliceUnavailable, self_check
from gateway.splice.server import DownstreamRequest, DownstreamServer
from gateway.splice.upstream import (
    Splice,
    SplicedResponse,
    SplicingConnector,
    claim,
    decline,
    destination,
    pool_counts,
    send,
    unread,
    warm,
)

__all__ = [
    "DownstreamConnection",
    "DownstreamRequest",
    "DownstreamServer",
    "RawStreamResponse",
    "Splice",
    "SpliceUnavailable",
    "SplicedResponse",
    "SplicingConnector",
    "claim",
    "connection_factory",
    "decline",
    "destination",
    "pool_counts",
    "self_check",
    "send",
    "unread",
    "warm",
]
