"""An upstream on a real socket that plays a script for each request and records what it saw."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from tests.upstream_connection import SeenRequest, UpstreamConnection
from tests.upstream_script import Script, ScriptError, Step, check


class NotAsScripted(Exception):
    """Something happened that no script foresaw; raised when the upstream stops, so that the test fails."""


class ScriptedUpstream:
    """Plays scripts on 127.0.0.1.

    A request is answered by the first of: :meth:`next` in order, :meth:`by`, :meth:`for_model`,
    :meth:`always`. One that nothing answers is a mistake, and :meth:`stop` raises it.

    Args:
        tls: a server context; plain TCP without.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[SeenRequest] = []
        self.mistakes: list[str] = []
        self.unfinished_requests = 0
        """Requests whose peer closed or reset before they were complete."""
        self._tls = tls
        self._port = 0
        self._server: asyncio.Server | None = None
        self._connections: list[UpstreamConnection] = []
        self._unseen: asyncio.Queue[SeenRequest] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._queued: deque[list[Step]] = deque()
        self._by: Callable[[SeenRequest], Script] | None = None
        self._models: dict[str, list[Step]] = {}
        self._always: list[Step] | None = None

    # Scripts

    def next(self, *scripts: Script) -> None:
        """Answers the next requests, one script each, in order."""
        self._queued.extend(check(script) for script in scripts)

    def by(self, choose: Callable[[SeenRequest], Script]) -> None:
        """Answers each request with the script that the function returns."""
        self._by = choose

    def for_model(self, model: str, script: Script) -> None:
        """Answers every request that names the model."""
        self._models[model] = check(script)

    def always(self, script: Script) -> None:
        """Answers whatever nothing else answers."""
        self._always = check(script)

    def script_for(self, request: SeenRequest) -> list[Step]:
        """Chooses the steps for a request; raises :class:`ScriptError` where there are none."""
        if self._queued:
            return self._queued.popleft()
        if self._by is not None:
            return check(self._by(request))
        if (request.model or "") in self._models:
            return self._models[request.model or ""]
        if self._always is None:
            asked = f"{request.method} {request.path}"
            raise ScriptError(f"no script answers {asked}: say next(), by() or always()")
        return self._always

    # Life

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port`` or ``https://…``, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def openai_base(self) -> str:
        return f"{self.url}/v1"

    @property
    def anthropic_base(self) -> str:
        return self.url

    async def start(self) -> None:
        """Listens; after :meth:`refuse` on the same port as before."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: UpstreamConnection(self),
            "127.0.0.1",
            self._port,
            ssl=self._tls,
            backlog=1024,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Stops listening: further connections are refused, those that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close_idle(self) -> None:
        """Closes every connection that waits for a request, as providers do with kept-alive ones.

        A connection waits again once its last request is ``answered``, a few loop turns after its last byte.
        """
        for connection in [c for c in self._connections if c.idle and c.ending is None]:
            await connection.close()

    async def stop(self) -> None:
        """Drops everything.

        Raises:
            NotAsScripted: a request came that no script answered, was malformed, or a script was impossible.
        """
        await self.refuse()
        for connection in self._connections:
            await connection.drop()
        if self.mistakes:
            raise NotAsScripted("; ".join(self.mistakes))

    # What tests wait for

    async def request(self) -> SeenRequest:
        """Waits for the next request that was not returned yet; its body is complete."""
        return await self._unseen.get()

    async def closed(self, connection: int) -> float:
        """Waits until the connection came and ended, whoever ended it; returns the moment (``time.monotonic``)."""
        while len(self._connections) <= connection:
            self._changed.clear()
            await self._changed.wait()
        found = self._connections[connection]
        await found.ended.wait()
        assert found.ended_at_s is not None
        return found.ended_at_s

    async def until_open(self, count: int) -> None:
        """Waits until exactly so many connections stand."""
        while self.open_connections != count:
            self._changed.clear()
            await self._changed.wait()

    def ending(self, connection: int) -> str | None:
        """How it ended: ``fin`` or ``reset`` by the peer, ``local`` by the script; None while it stands."""
        return self._connections[connection].ending

    def taken_bytes(self, connection: int) -> int:
        """How many bytes the kernel has taken for the peer on this connection, heads and framing included."""
        return self._connections[connection].taken_bytes

    @property
    def open_connections(self) -> int:
        return sum(not connection.lost.is_set() for connection in self._connections)

    @property
    def accepted_connections(self) -> int:
        return len(self._connections)

    # What connections tell

    def joined(self, connection: UpstreamConnection) -> int:
        """Takes a new connection in; returns its number."""
        self._connections.append(connection)
        self._changed.set()
        return len(self._connections) - 1

    def left(self) -> None:
        """A connection is gone."""
        self._changed.set()

    def saw(self, request: SeenRequest) -> None:
        """Records a complete request."""
        self.requests.append(request)
        self._unseen.put_nowait(request)
