"""The routes of the simulator and the life of one request."""

import asyncio
import logging
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from random import Random
from traceback import format_tb
from typing import Any

import orjson
from aiohttp import web

from gateway.core.clock import Clock, WallClock
from gateway.simulator.answers import Answer, answer
from gateway.simulator.asked import TEXT_REQUESTS, Asked, Json, count_request, model_of, read_body
from gateway.simulator.catalogue import catalogue, model_card
from gateway.simulator.chat import ChatCompletion, TextCompletion
from gateway.simulator.embeddings import embeddings
from gateway.simulator.journal import Ended, Entry, Journal
from gateway.simulator.messages import Message
from gateway.simulator.models import Behaviour, UsagePlace, behaviour_of
from gateway.simulator.playback import Metronome, Played, Player
from gateway.simulator.refusals import REFUSALS, Refused, invalid, unknown_model
from gateway.simulator.rendering import Rendering, Stamp
from gateway.simulator.responses import Response
from gateway.simulator.settings import SimulatorSettings

_RENDERINGS: dict[str, Callable[[Asked, Answer, UsagePlace, Stamp], Rendering]] = {
    "/v1/chat/completions": ChatCompletion,
    "/v1/completions": TextCompletion,
    "/v1/responses": Response,
    "/v1/messages": Message,
}
_EMBEDDINGS = "/v1/embeddings"
_COUNT_TOKENS = "/v1/messages/count_tokens"
_SHOWN_CHARACTERS = 128
"""Of a model's name in the journal: it is whatever a client wrote."""
_logger = logging.getLogger(__name__)


class Provider:
    """The state and the handlers of one simulator.

    Args:
        settings: speed, seed, limits.
        clock: monotonic seconds, for the journal.
        wall: Unix seconds, for ``created``.
    """

    def __init__(self, settings: SimulatorSettings, clock: Clock, wall: WallClock) -> None:
        self._settings = settings
        self._wall = wall
        self._rng = Random(settings.seed)  # noqa: S311 (identifiers and jitter of a simulation)
        self._asked_of: dict[str, int] = {}
        self._live: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.journal = Journal(settings.log_size, clock)

    def application(self) -> web.Application:
        """Returns the application with every route."""
        app = web.Application(client_max_size=self._settings.max_body_mb * 2**20)
        for path in (*TEXT_REQUESTS, _EMBEDDINGS, _COUNT_TOKENS):
            app.router.add_post(path, self._serve)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{id}", self._model)
        app.router.add_get("/__simulator/log", self._log)
        app.router.add_route("*", "/{path:.*}", self._nowhere)
        app.on_shutdown.append(self._abandon)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """One request: read, refuse or answer, and write down how it ended."""
        entry = self.journal.begin(self._new_id("req_"), request.path)
        task = asyncio.current_task()
        if task is not None:
            self._live.add(task)
        ended = Ended.FAULT
        try:
            response, ended = await self._answer(request, entry)
        except Refused as refused:
            entry.status, ended = refused.status, Ended.REFUSED
            return self._refusal(request, refused, entry.id)
        except (asyncio.CancelledError, ConnectionError):
            ended = Ended.CLOSED if self._closing else Ended.CLIENT_LEFT
            raise
        except Exception as error:
            trace = f"{type(error).__name__}\n{''.join(format_tb(error.__traceback__))}"
            # without the error's message, which may quote the request
            _logger.error("The simulator failed on %s: %s", request.path, trace)  # noqa: TRY400
            raise
        else:
            return response
        finally:
            self.journal.end(entry, ended)
            if task is not None:
                self._live.discard(task)

    async def _answer(self, request: web.Request, entry: Entry) -> Played:
        body = read_body(await self._body(request))
        path, anthropic = request.path, _is_anthropic(request)
        model = model_of(body)
        entry.model = model[:_SHOWN_CHARACTERS]
        behaviour = behaviour_of(model, anthropic=anthropic, other=self._settings.other_models)
        if behaviour is None:
            raise unknown_model(model)
        self._maybe_refuse(model, behaviour)
        metronome = Metronome(behaviour.pace, behaviour.think_s, self._settings.speed, self._rng)
        player = Player(request, behaviour, _headers(entry.id, anthropic=anthropic), metronome, entry)
        if path not in TEXT_REQUESTS:
            return await player.document(self._without_text(path, body, entry), 0)
        asked = TEXT_REQUESTS[path](body)
        entry.stream, entry.prompt_tokens = asked.stream, asked.prompt_tokens
        said = answer(asked, behaviour, self._settings.seed)
        stamp = Stamp(int(self._wall()), entry.id, self._new_id)
        rendering = _RENDERINGS[path](asked, said, behaviour.usage, stamp)
        # a live stream keeps what it has yet to say, not what it was asked
        del body, asked
        if entry.stream:
            return await player.stream(rendering, said.pieces)
        return await player.document(rendering.document(), said.pieces)

    def _without_text(self, path: str, body: Json, entry: Entry) -> bytes:
        if path == _EMBEDDINGS:
            document, entry.prompt_tokens = embeddings(body, self._settings.seed)
            return document
        entry.prompt_tokens = count_request(body).prompt_tokens
        return orjson.dumps({"input_tokens": entry.prompt_tokens})

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as too_large:
            raise invalid("Request body is too large.", status=413) from too_large

    def _maybe_refuse(self, model: str, behaviour: Behaviour) -> None:
        if behaviour.refusal is None:
            return
        if behaviour.fail_first is not None:
            asked = self._asked_of[model] = self._asked_of.get(model, 0) + 1
            if asked > behaviour.fail_first:
                return
        elif self._rng.random() >= behaviour.failure_ratio:
            return
        raise Refused(REFUSALS[behaviour.refusal], model)

    def _refusal(self, request: web.Request, refused: Refused, request_id: str) -> web.Response:
        anthropic = _is_anthropic(request)
        headers = _headers(request_id, anthropic=anthropic) | refused.headers(anthropic=anthropic)
        body = refused.body(anthropic=anthropic, request_id=request_id)
        return web.Response(status=refused.status, body=body, content_type="application/json", headers=headers)

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{self._rng.getrandbits(96):024x}"

    async def _models(self, request: web.Request) -> web.Response:
        return _json(catalogue(anthropic=_is_anthropic(request)))

    async def _model(self, request: web.Request) -> web.Response:
        name, anthropic = request.match_info["id"], _is_anthropic(request)
        if behaviour_of(name, anthropic=anthropic, other=None) is None:
            return self._refusal(request, unknown_model(name), self._new_id("req_"))
        return _json(model_card(name, anthropic=anthropic))

    async def _log(self, request: web.Request) -> web.Response:
        """The journal, for whoever asks from this machine; to others it does not exist."""
        if not _is_loopback(request.remote):
            return await self._nowhere(request)
        return _json(self.journal.document())

    async def _nowhere(self, request: web.Request) -> web.Response:
        message = f"Unknown request URL: {request.method} {request.path}."
        return self._refusal(request, invalid(message, status=404, code="unknown_url"), self._new_id("req_"))

    async def _abandon(self, _app: web.Application) -> None:
        """Ends what still runs when the simulator closes: a stalled answer would wait for ever."""
        self._closing = True
        for task in list(self._live):
            task.cancel()


def _is_anthropic(request: web.Request) -> bool:
    """The dialect of the route; only where a route has both, or there is none, of the headers."""
    if request.path.startswith("/v1/messages"):
        return True
    has_dialect = request.path in TEXT_REQUESTS or request.path == _EMBEDDINGS
    return not has_dialect and "anthropic-version" in request.headers


def _is_loopback(address: str | None) -> bool:
    """Whether the peer is this machine, told over IPv4, IPv6, or IPv4 inside IPv6."""
    if address is None:
        return False
    peer = ip_address(address)
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        return peer.ipv4_mapped.is_loopback
    return peer.is_loopback


def _headers(request_id: str, *, anthropic: bool) -> dict[str, str]:
    """The headers that the real providers send with every answer, rate limits among them."""
    headers = {"Server": "gateway-simulator", "Cache-Control": "no-cache"}
    if anthropic:
        return headers | {
            "request-id": request_id,
            "anthropic-organization-id": "org-simulator",
            "anthropic-ratelimit-requests-limit": "500",
            "anthropic-ratelimit-requests-remaining": "499",
        }
    return headers | {
        "x-request-id": request_id,
        "openai-organization": "org-simulator",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
    }


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
