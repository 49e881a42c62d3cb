"""Operations: health and metrics. They say how the process is, and nothing about tenants or keys."""

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from gateway.metrics import Metrics
from gateway.proxy.relay import SERVER
from gateway.proxy.routes import Page
from gateway.proxy.settings import OpsSettings


class Ops:
    """The pages for people and machines that watch the gateway.

    Args:
        circuits: the part of `/health` that tells of each provider's circuits.

    Attributes:
        ready: whether new requests are welcome; load balancers ask.
    """

    def __init__(self, settings: OpsSettings, metrics: Metrics, circuits: Callable[[], Mapping[str, object]]) -> None:
        self._metrics = metrics
        self._circuits = circuits
        self.ready = False
        self.configure(settings)

    def configure(self, settings: OpsSettings) -> None:
        """Go by these settings from now on."""
        token = settings.metrics_token
        self._token = token.get_secret_value().encode() if token is not None else None

    @property
    def pages(self) -> dict[str, Page]:
        return {
            "/health": self.health,
            "/health/live": self.live,
            "/health/ready": self.readiness,
            "/metrics": self.metrics,
        }

    async def live(self, request: web.BaseRequest) -> web.Response:
        """The process runs and its loop turns."""
        return _json({"status": "ok"})

    async def readiness(self, request: web.BaseRequest) -> web.Response:
        """Send requests here, or do not."""
        return _json({"status": "ok"} if self.ready else {"status": "not ready"}, 200 if self.ready else 503)

    async def health(self, request: web.BaseRequest) -> web.Response:
        """Both in one, and the circuits of the providers. A provider's outage does not make the gateway unready.

        Names of providers and models are for those who may read the metrics; others hear the status alone.
        """
        page: dict[str, object] = {"status": "ok" if self.ready else "not ready"}
        if self._may_look(request):
            page["providers"] = self._circuits()
        return _json(page, 200 if self.ready else 503)

    def _may_look(self, request: web.BaseRequest) -> bool:
        """Whether the metrics token is given, or none is set."""
        if self._token is None:
            return True
        scheme, _, given = ", ".join(request.headers.getall("Authorization", ())).partition(" ")
        # aiohttp hands over bytes that are not UTF-8 as lone surrogates, which encode() alone refuses
        token = given.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(token, self._token)

    async def metrics(self, request: web.BaseRequest) -> web.Response:
        """Prometheus' text format, rendered and written in slices so that streams run on in between."""
        if not self._may_look(request):
            refusal = _json({"error": "Send the metrics token: Authorization: Bearer TOKEN."}, 401)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        pieces = []
        for piece in self._metrics.slices():
            pieces.append(piece)
            await asyncio.sleep(0)
        headers = {"Server": SERVER, "Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=Pieces(pieces), headers=headers)


class Pieces(Payload):
    """A body in pieces, each written in a turn of the loop of its own: 5 MB at once are a system call of 5 ms."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces)
        self._pieces = pieces
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of it, as text."""
        return b"".join(self._pieces).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it; waits where the reader is behind.

        Behind the last piece there is no turn: its reader has all then, and what it asks next would find the
        connection at work still.
        """
        for number, piece in enumerate(self._pieces):
            if number:
                await asyncio.sleep(0)
            await writer.write(piece)


def _json(document: dict[str, object], status: int = 200) -> web.Response:
    headers = {
        "Server": SERVER,
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(status=status, body=orjson.dumps(document), headers=headers)
