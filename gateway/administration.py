"""The admin API in a running gateway: on the main port, or on one of its own."""

import asyncio
import errno
import logging
from collections.abc import Iterable

from gateway import splice
from gateway.admin.api import PATH, Admin
from gateway.listening import Listener, listen
from gateway.proxy.routes import Page, Routes

TRY_AGAIN_S = 0.5
"""How often a port is tried that the process before this one has not given up yet."""

LAST_WORDS_S = 0.25
"""How long answers that are being given may take when it closes."""

MAX_BODY_BYTES = 1024 * 1024

log = logging.getLogger("gateway")


class Administration:
    """Puts the admin API where `admin.port` says.

    Args:
        port: `admin.port`; None: the main one.

    Attributes:
        url: of its own port; empty where it has none, or has not got it yet.
    """

    def __init__(self, admin: Admin, port: int | None) -> None:
        self.url = ""
        self._admin = admin
        self._port = port
        self._server: splice.DownstreamServer | None = None
        self._listener: Listener | None = None
        self._trying: asyncio.Task[None] | None = None

    @property
    def page(self) -> Page | None:
        """What the main port does with its paths; None: it knows none of them."""
        return self._admin if self._port is None else None

    @property
    def connections(self) -> Iterable[object]:
        """Those of its own port, for the sweep."""
        return self._server.connections if self._server is not None else ()

    async def open(self, host: str, routes: Routes, *, succeeds: bool) -> None:
        """Listen on its own port, if it has one.

        Args:
            routes: says what is answered to what is not HTTP.
            succeeds: another process has the port still and will give it up: it is tried until it does.

        Raises:
            OSError: the address cannot be listened on.
        """
        if self._port is None:
            return
        self._server = splice.DownstreamServer(
            self._admin, max_body_bytes=MAX_BODY_BYTES, logger=logging.getLogger("gateway.http")
        )
        factory = splice.connection_factory(self._server, routes.bad_request)
        try:
            self._listen(await listen(factory, host, self._port))
        except OSError as trouble:
            if not (succeeds and trouble.errno == errno.EADDRINUSE):
                raise
            self._trying = asyncio.create_task(self._keep_trying(factory, host, self._port), name="admin port")

    async def _keep_trying(self, factory: object, host: str, port: int) -> None:
        while not self.url:
            await asyncio.sleep(TRY_AGAIN_S)
            try:
                self._listen(await listen(factory, host, port))
            except OSError as trouble:
                if trouble.errno != errno.EADDRINUSE:
                    log.exception("the admin API cannot be served on port %d", port)
                    return

    def _listen(self, listener: Listener) -> None:
        self._listener, self.url = listener, listener.url
        log.info("the admin API listens on %s%s", self.url, PATH)

    def give_up(self) -> None:
        """Accept nobody any more, so that another process can."""
        if self._trying is not None:
            self._trying.cancel()
        if self._listener is not None:
            self._listener.close()

    async def close(self) -> None:
        """Give up the port and end what is under way."""
        self.give_up()
        if self._trying is not None:
            await asyncio.wait([self._trying])
        if self._server is not None:
            self._server.retire(0.0)
            if not await self._server.emptied(LAST_WORDS_S):
                self._server.abort()
                await self._server.emptied(LAST_WORDS_S)
