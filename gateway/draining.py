"""Draining: how a gateway stops. It says goodbye, then it listens no more, and at last it ends what still runs."""

import asyncio
import logging
from collections.abc import Collection

from gateway.listening import Listener
from gateway.proxy.live import LiveStreams
from gateway.splice import DownstreamServer

log = logging.getLogger("gateway")

LINGER_S = 0.5
"""Between two requests of one client on one connection: a connection that it was promised stays for so long."""

LAST_WORDS_S = 1.0
"""How long clients may take to read what they are told at the end of the time."""

AT_ONCE_S = 0.25
"""The same where there is no time: enough for all who are waiting for it."""


class Drain:
    """Ends the connections of a gateway.

    Args:
        background: work that goes on without a client; waited for as long as clients are.
    """

    def __init__(
        self,
        server: DownstreamServer,
        listener: Listener,
        live: LiveStreams,
        background: Collection[asyncio.Task[None]],
    ) -> None:
        self._server = server
        self._listener = listener
        self._live = live
        self._background = background

    async def in_order(self, grace_s: float, drain_s: float, *, handed_over: bool) -> None:
        """Let everything come to its own end, within a time.

        Args:
            grace_s: how long new connections are accepted and idle ones are kept: load balancers have to see that
                this gateway leaves, and every answer tells its client to use another connection.
            drain_s: until whatever still runs is ended; both times begin now.
            handed_over: another process accepts from now on, so this one does not.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + drain_s
        self._server.draining = True
        if handed_over:
            self._listener.close()
        log.info(
            "%s connections are served for %g s more, running requests for %g s",
            "open" if handed_over else "new and open",
            grace_s,
            drain_s,
        )
        if handed_over:
            await self._server.emptied(grace_s)
        else:
            await asyncio.sleep(grace_s)
        await self._end(until - loop.time(), LINGER_S, LAST_WORDS_S)

    async def at_once(self, patience_s: float = 0.0) -> None:
        """End everything that does not end by itself within `patience_s` seconds; no request is accepted any more."""
        await self._end(patience_s, 0.0, AT_ONCE_S)

    async def _end(self, patience_s: float, linger_s: float, last_words_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        self._listener.close()
        self._server.retire(linger_s)
        if not await self._server.emptied(patience_s):
            ended = self._live.drain()
            if ended:
                log.warning("%d requests were still running and have been told that the gateway leaves", ended)
            if not await self._server.emptied(last_words_s):
                self._server.abort()
                await self._server.emptied(last_words_s)
        if self._background and loop.time() < until:
            await asyncio.wait(self._background, timeout=until - loop.time())
