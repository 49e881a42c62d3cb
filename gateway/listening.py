"""The sockets on which a gateway accepts: bound here, or open already when the process began."""

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from gateway.config import ConfigError, Mistake

log = logging.getLogger("gateway")

BACKLOG = 4096
"""Connections that may wait to be accepted: a reconnecting crowd must not be refused."""


class Listener:
    """Accepts connections until it is closed.

    Attributes:
        url: where clients reach it; of several addresses, the first.
        descriptors: those of its sockets, for a process that inherits them.
    """

    def __init__(self, servers: Sequence[asyncio.Server]) -> None:
        self._servers = tuple(servers)
        sockets = [sock for server in servers for sock in server.sockets]
        self.descriptors = tuple(sock.fileno() for sock in sockets)
        name = sockets[0].getsockname()
        shown = f"[{name[0]}]" if ":" in name[0] else name[0]
        self.url = f"http://{shown}:{name[1]}"

    def close(self) -> None:
        """Stop accepting. Only our descriptors are closed: a process that has copies of them goes on accepting."""
        for server in self._servers:
            server.close()


async def listen(factory: Any, host: str, port: int, inherited: Sequence[socket.socket] = ()) -> Listener:
    """Accept connections on an address, or on sockets that listen already; then the address is not used.

    Args:
        factory: makes the protocol of a connection.
        port: 0 takes any free one.

    Raises:
        OSError: the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    if not inherited:
        return Listener([await loop.create_server(factory, host, port, backlog=BACKLOG)])
    ports = {sock.getsockname()[1] for sock in inherited}
    if port and port not in ports:
        log.warning(
            "this process was given sockets that listen on port %s, so port %d of the configuration is not used",
            ", ".join(map(str, sorted(ports))),
            port,
        )
    return Listener([await loop.create_server(factory, sock=sock, backlog=BACKLOG) for sock in inherited])


def adopt(descriptors: Sequence[int], variable: str) -> tuple[socket.socket, ...]:
    """Take over descriptors on which this process is to accept; processes that it starts do not get them.

    Args:
        variable: the environment variable that names them.

    Raises:
        ConfigError: one of them is no listening TCP socket.
    """
    mistakes = [Mistake(variable, wrong) for one in descriptors if (wrong := _what_is_wrong(one)) is not None]
    if mistakes:
        raise ConfigError("the environment", mistakes)
    for one in descriptors:
        os.set_inheritable(one, False)
    return tuple(socket.socket(fileno=one) for one in descriptors)


def _what_is_wrong(descriptor: int) -> str | None:
    try:
        looked_at = socket.socket(fileno=descriptor)
    except OSError as error:
        return f"names descriptor {descriptor}, which is no socket ({error.strerror})"
    try:
        if looked_at.family not in (socket.AF_INET, socket.AF_INET6) or looked_at.type != socket.SOCK_STREAM:
            return f"names descriptor {descriptor}, which is no TCP socket: pass one of TCP (ListenStream=PORT)"
        if not looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return f"names descriptor {descriptor}, a socket that does not listen: pass it after listen() (Accept=no)"
    finally:
        looked_at.detach()
    return None
