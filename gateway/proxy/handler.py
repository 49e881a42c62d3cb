"""The line: begin, admit, dispatch, relay, settle. One method per phase, in this order, for every request."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import web

from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.dialects import ANTHROPIC, OPENAI, Dialect, Operation
from gateway.metrics import Metrics
from gateway.proxy.admission import Admission
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Exchange, Opening
from gateway.proxy.live import LiveStreams
from gateway.proxy.relay import Relay
from gateway.proxy.settlement import Settlement
from gateway.proxy.unfinished import Unfinished
from gateway.upstream.gate import Gate

log = logging.getLogger("gateway")

RETRY_AFTER_S = 1.0
"""Whoever takes over listens by then."""


def dialect_of(request: web.BaseRequest, operation: Operation | None) -> Dialect:
    """Whose words a client understands: its route's, else Anthropic's where it names their API version."""
    if operation is not None:
        return operation.dialect
    anthropic = "anthropic-version" in request.headers or request.path.startswith("/v1/messages")
    return ANTHROPIC if anthropic else OPENAI


def _left(exchange: Exchange) -> Outcome:
    """What it was when the client left: once the closing event was here, a success all the same."""
    whole = exchange.stream is not None and exchange.stream.outcome is Outcome.SUCCESS
    return Outcome.SUCCESS if whole else Outcome.CLIENT_CLOSED


def _is_drained(exchange: Exchange) -> bool:
    """Whether the gateway itself has cancelled the work on an exchange: streams end in another way."""
    return exchange.outcome is Outcome.DRAINING and exchange.stream is None


def _this_task() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())


class KeyPage(Protocol):
    """A page that belongs to whoever has a key: which models there are, what was used."""

    async def answer(self, exchange: Exchange) -> web.Response:
        """Authenticate, and answer with the exchange's status set.

        Raises:
            GatewayError: no key, or nothing to show.
        """


class Line:
    """Takes requests through the phases."""

    def __init__(
        self,
        opening: Opening,
        admission: Admission,
        dispatch: Dispatch,
        relay: Relay,
        settlement: Settlement,
        live: LiveStreams,
        unfinished: Unfinished,
        gate: Gate,
        metrics: Metrics,
    ) -> None:
        self._opening = opening
        self._clock = opening.clock
        self._admission = admission
        self._dispatch = dispatch
        self._relay = relay
        self._settlement = settlement
        self._live = live
        self._unfinished = unfinished
        self._gate = gate
        self._request_overhead = metrics.declared.overhead.labels("request")
        self._running = 0
        self._when_empty: Callable[[], None] | None = None

    async def serve(self, request: web.BaseRequest, operation: Operation) -> web.StreamResponse:
        """Answer one request for an operation. Every way out of here is settled exactly once."""
        exchange = self.begin(request, operation)
        self._live.add(exchange, _this_task())
        self._running += 1
        has_place = False
        try:
            await self._gate.enter(exchange.deadline - exchange.started_at)
            has_place = True
            order = await self._admission.admit(exchange, operation)
            self._request_overhead.observe(self._clock() - exchange.started_at)
            answer = await self._dispatch.open(exchange, order)
            return await self._relay.send(exchange, answer)
        except GatewayError as error:
            return await self._relay.refuse(exchange, error)
        except (asyncio.CancelledError, ConnectionError) as cause:
            if isinstance(cause, asyncio.CancelledError) and _is_drained(exchange):
                return await self._say_draining(exchange)
            exchange.outcome = exchange.outcome or _left(exchange)
            raise
        except Exception:
            log.exception("request %s failed", exchange.id)
            failure = GatewayError("internal", "The gateway failed. The request id is in x-request-id.")
            return await self._relay.refuse(exchange, failure)
        finally:
            if has_place:
                self._gate.leave()
            if not self._unfinished.take(exchange, self.end):
                self.end(exchange)

    def end(self, exchange: Exchange) -> None:
        """Let go of what an exchange holds and book it."""
        if exchange.stream is not None:
            exchange.stream.abort()
        self._live.discard(exchange)
        self._settlement.settle(exchange)
        self._running -= 1
        self._tell_if_empty()

    def retire(self, when_empty: Callable[[], None]) -> None:
        """Another line takes the requests from now on; have it told, once, when the last exchange of this one ends."""
        self._when_empty = when_empty
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self._when_empty is not None and not self._running:
            when_empty, self._when_empty = self._when_empty, None
            when_empty()

    async def _say_draining(self, exchange: Exchange) -> web.StreamResponse:
        """End an exchange that was cancelled because the gateway leaves: where it stands decides how.

        Raises:
            ConnectionError: part of a whole answer has gone, so its connection was broken.
        """
        _this_task().uncancel()
        streams = exchange.downstream is not None and exchange.downstream.begun
        if exchange.status and not streams:
            if exchange.request.transport is not None:
                exchange.request.transport.abort()
            raise ConnectionAbortedError
        error = GatewayError(
            "draining",
            "The gateway is shutting down. Try again.",
            retry_after_s=RETRY_AFTER_S,
            headers={"Connection": "close"},
        )
        return await self._relay.refuse(exchange, error)

    async def refuse(self, request: web.BaseRequest, error: GatewayError) -> web.StreamResponse:
        """Answer a request that belongs to no operation: an unknown route, a wrong method."""
        exchange = self.begin(request, None)
        try:
            return await self._relay.refuse(exchange, error)
        finally:
            self._settlement.settle(exchange)

    async def show(self, request: web.BaseRequest, page: KeyPage) -> web.StreamResponse:
        """Answer a page for whoever has a key; what it refuses is told in the caller's dialect."""
        exchange = self.begin(request, None)
        try:
            response = await page.answer(exchange)
            exchange.outcome = Outcome.SUCCESS
        except GatewayError as error:
            return await self._relay.refuse(exchange, error)
        except asyncio.CancelledError:
            exchange.outcome = Outcome.CLIENT_CLOSED
            raise
        else:
            return response
        finally:
            self._settlement.settle(exchange)

    def reject(self, request: web.BaseRequest, error: GatewayError, cause: BaseException | None) -> web.Response:
        """Answer what never became a request. The cause's text may hold a credential, so only its kind is logged."""
        log.info("refused a connection: %s", type(cause).__name__ if cause is not None else error.code)
        exchange = self.begin(request, None)
        response = self._relay.refusal(exchange, error)
        self._settlement.settle(exchange)
        return response

    def new_id(self) -> str:
        """A request id, for pages that are no exchange."""
        return self._opening.new_id()

    def begin(self, request: web.BaseRequest, operation: Operation | None) -> Exchange:
        return self._opening.begin(request, dialect_of(request, operation), operation)
