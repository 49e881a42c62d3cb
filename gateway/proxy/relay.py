"""Phase 3, relay: bytes to the client, and the truth about how they ended."""

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp import web

from gateway import __version__
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.metrics import Metrics
from gateway.proxy.answers import ProviderRefusal, StreamAnswer, WholeAnswer
from gateway.proxy.books import Books
from gateway.proxy.downstream import Downstream
from gateway.proxy.exchange import Exchange
from gateway.proxy.grants import Grants
from gateway.proxy.settlement import Settlement
from gateway.tenancy.refusals import rate_limit_headers
from gateway.upstream.pool import Response
from gateway.upstream.stream import UpstreamStream

SERVER = f"aigateway/{__version__}"

TAIL_BYTES = 64 * 1024
"""Of an answer too large to be read whole, as much is kept: usage stands at the end."""

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}

_ENDINGS = {
    Outcome.STALLED: "The provider fell silent; the answer is incomplete.",
    Outcome.TRUNCATED: "The provider broke off; the answer is incomplete.",
    Outcome.STREAM_ERROR: "The provider reported an error; the answer is incomplete.",
    Outcome.PROVIDER_ERROR: "The provider sent something that cannot be relayed; the answer is incomplete.",
    Outcome.BUDGET_CUT: "The budget is used up; the answer is incomplete.",
    Outcome.DEADLINE_EXCEEDED: "The stream reached its time limit; the answer is incomplete.",
    Outcome.DRAINING: "The gateway is shutting down; the answer is incomplete. Try again.",
    Outcome.INTERNAL: "The gateway failed; the answer is incomplete.",
}


def head_of(exchange: Exchange, provider: str | None = None) -> dict[str, str]:
    """The headers that every answer carries. `provider` overrides who is named as having served."""
    headers = {"Server": SERVER, "x-request-id": exchange.id, "X-Content-Type-Options": "nosniff"}
    if exchange.dialect.name == "anthropic":
        headers["request-id"] = exchange.id
    if exchange.holding is not None:
        headers.update(rate_limit_headers(exchange.holding.grant))
    target = exchange.target
    if target is not None:
        headers["x-gateway-provider"] = provider or target.provider
        headers["x-gateway-model"] = target.model
        headers["x-gateway-attempts"] = str(len(exchange.attempts))
        headers["x-gateway-cache"] = "bypass"
    return headers


class Relay:
    """Sends answers and refusals.

    Nothing of an answer leaves before its opening row is committed, and its end not before the closing one, or not
    before `ledger.end_wait_s` has passed.
    """

    def __init__(self, books: Books, grants: Grants, settlement: Settlement, metrics: Metrics, clock: Clock) -> None:
        self._books = books
        self._grants = grants
        self._settlement = settlement
        self._first_byte = metrics.declared.overhead.labels("first_byte")
        self._clock = clock

    async def send(self, exchange: Exchange, answer: StreamAnswer | WholeAnswer) -> web.StreamResponse:
        """Send an answer; returns when the client has it, or when it cannot have more of it.

        Raises:
            GatewayError: it cannot be written down that there is one.
        """
        try:
            await self._books.opened(exchange)
        except BaseException:
            answer.drop()
            raise
        if isinstance(answer, StreamAnswer):
            return await self._stream(exchange, answer)
        headers = {**answer.headers, **head_of(exchange), "Content-Type": answer.content_type}
        exchange.status = 200
        if answer.rest is not None:
            return await self._large(exchange, answer, answer.rest, headers)
        exchange.answer, exchange.outcome = answer.document, Outcome.SUCCESS
        await self._settlement.close(exchange)
        return web.Response(body=answer.body, headers=headers)

    async def _stream(self, exchange: Exchange, answer: StreamAnswer) -> web.StreamResponse:
        downstream, stream = answer.downstream, answer.stream
        exchange.stream = stream
        self._grants.allow(exchange, stream)
        first = stream.take()
        if not downstream.begun:
            exchange.status = 200
            await downstream.begin({**STREAM_HEADERS, **answer.headers, **head_of(exchange)}, first)
        elif first:
            await downstream.send(first)
        stream.begin(downstream)
        if stream.first_at is not None:
            self._first_byte.observe(self._clock() - stream.first_at)
        outcome = await stream.ended()
        if outcome is Outcome.SUCCESS:
            await self._close(exchange, stream)
        else:
            await self._break_off(exchange, GatewayError(outcome.value, _ENDINGS.get(outcome, "")), downstream)
        return downstream.response

    async def _close(self, exchange: Exchange, stream: UpstreamStream) -> None:
        """The closing event is here and nothing of it has gone: what must be durable first, is awaited here."""
        exchange.outcome = Outcome.SUCCESS
        await self._settlement.close(exchange)
        await stream.finish()

    async def _break_off(self, exchange: Exchange, error: GatewayError, downstream: Downstream) -> None:
        """End a stream whose head has gone: with a typed error event, or where none can stand, by breaking it.

        A provider's own error event has gone already, so nothing is added to it.
        """
        exchange.outcome = error.outcome
        stream = exchange.stream
        if error.outcome is Outcome.CLIENT_CLOSED or (stream is not None and not stream.at_event_boundary):
            downstream.abort()
            return
        downstream.response.force_close()
        if stream is None or error.outcome is not Outcome.STREAM_ERROR:
            await downstream.send(exchange.error_event(error))
        await downstream.end()

    async def _large(
        self, exchange: Exchange, answer: WholeAnswer, rest: Response, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Relay a large answer as it comes, its last byte when it is written down; a broken one breaks off."""
        response = web.StreamResponse(headers=dict(headers))
        response.content_length = rest.content_length
        exchange.status = 200
        tail, last = answer.body, answer.body[-1:]
        try:
            async with asyncio.timeout(answer.deadline - self._clock()):
                await response.prepare(exchange.request)
                await response.write(answer.body[:-1])
                while data := await _more(rest):
                    tail = tail[-TAIL_BYTES:] + data
                    await response.write(last + data[:-1])
                    last = data[-1:]
            exchange.outcome = Outcome.TRUNCATED if data is None else Outcome.SUCCESS
        except TimeoutError:
            exchange.outcome = Outcome.DEADLINE_EXCEEDED
        finally:
            rest.close()
            exchange.answer_tail = tail[-TAIL_BYTES:]
        if exchange.outcome is Outcome.SUCCESS:
            await self._settlement.close(exchange)
            await response.write(last)
        elif exchange.request.transport is not None:
            exchange.request.transport.abort()
        return response

    async def refuse(self, exchange: Exchange, error: GatewayError) -> web.StreamResponse:
        """Tell the client what went wrong, in its dialect and where the exchange stands."""
        exchange.error = error
        if exchange.stream is not None:
            exchange.stream.abort()
        if exchange.downstream is not None and exchange.downstream.begun:
            await self._break_off(exchange, error, exchange.downstream)
            return exchange.downstream.response
        return self.refusal(exchange, error)

    def refusal(self, exchange: Exchange, error: GatewayError) -> web.Response:
        """The answer to an exchange of which the client has nothing yet."""
        exchange.error, exchange.outcome = error, error.outcome
        exchange.status = error.status
        headers = {**head_of(exchange), **error.headers, "Content-Type": "application/json"}
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, -int(-error.retry_after_s // 1)))
        if len(exchange.attempts) > 1 and error.outcome is not Outcome.DRAINING:
            headers["x-should-retry"] = "false"
        body = error.body if isinstance(error, ProviderRefusal) else exchange.dialect.error_body(error, exchange.id)
        response = web.Response(status=error.status, body=body, headers=headers)
        if error.headers.get("Connection") == "close":
            response.force_close()
        return response


async def _more(rest: Response) -> bytes | None:
    """The next piece of a body: empty at its end, None where it broke. A client that breaks raises elsewhere."""
    try:
        return await rest.content.readany()
    except aiohttp.ClientError:
        return None
