"""One attempt: ask one target, and come back with its first content or with the reason why not."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from gateway import splice
from gateway.core.body import splice as splice_body
from gateway.core.clock import Clock, WallClock
from gateway.core.errors import GatewayError
from gateway.core.flow import EventFlow
from gateway.core.outcome import Outcome
from gateway.core.routing import Target
from gateway.core.timeouts import Timeouts, merged
from gateway.metrics import Metrics
from gateway.proxy.answers import Answer, ProviderFailure, Rests, StreamAnswer, WholeAnswer
from gateway.proxy.downstream import RawDownstream
from gateway.proxy.exchange import Attempt, Exchange, Order, Phase
from gateway.proxy.verdicts import ERROR_BODY_LIMIT_BYTES, judge
from gateway.upstream.plain import PlainStream
from gateway.upstream.pool import Response
from gateway.upstream.provider import Provider, crossing_headers
from gateway.upstream.stream import StreamLimits, UpstreamStream
from gateway.upstream.tap import TappedStream
from gateway.upstream.targets import MAX_REST_S

UNARY_COMMIT_BYTES = 1024 * 1024
"""A whole answer up to this size is read before anything of it leaves; a larger one is relayed as it comes."""

_BROKEN = {
    Outcome.STALLED: "fell silent before its first token",
    Outcome.TRUNCATED: "ended its stream before any content",
    Outcome.STREAM_ERROR: "answered with an error event",
    Outcome.PROVIDER_ERROR: "sent a stream that is not framed as HTTP says",
}


@dataclass(frozen=True, slots=True)
class _Call:
    """What one attempt works with."""

    exchange: Exchange
    order: Order
    attempt: Attempt
    provider: Provider
    timeouts: Timeouts


class Upstreams:
    """The providers, as the line asks them.

    Args:
        providers: by name.
        spliced: the self-check passed.
        write_timeout_s: patience with a client that takes nothing.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        metrics: Metrics,
        *,
        spliced: bool,
        write_timeout_s: float,
        clock: Clock,
        wall_clock: WallClock,
    ) -> None:
        self._providers = providers
        self._merged: dict[tuple[str, str], Timeouts] = {}
        self._metrics = metrics
        self._spliced = spliced
        self._write_timeout_s = write_timeout_s
        self._clock = clock
        self._wall_clock = wall_clock

    async def ask(self, exchange: Exchange, order: Order, attempt: Attempt, pinned_key: int | None = None) -> Answer:
        """Send the request to the attempt's target and wait for its first content, or its whole answer.

        Raises:
            GatewayError: what went wrong; nothing of it has reached the client, and nothing is left open.
        """
        provider = attempt.turn.state.provider
        timeouts = self._timeouts(order, attempt.target)
        call = _Call(exchange, order, attempt, provider, timeouts)
        attempt.key_index, key = provider.keys.pick(pinned_key)
        attempt.patience_s = timeouts.first_token_s if order.view.stream else timeouts.unary_s
        bound, late = self._bound(call)
        try:
            async with asyncio.timeout(bound):
                headers = exchange.request.headers if attempt.trace is None else attempt.trace.headers
                response = await provider.post(order.operation, _body(call), headers, key)
                try:
                    answer = await self._answer(call, response)
                except BaseException:
                    response.close()
                    raise
        except TimeoutError:
            raise late from None
        except ProviderFailure as failure:
            _leave_alone(attempt, failure)
            raise
        provider.keys.accepted(attempt.key_index)
        return answer

    def left_s(self, exchange: Exchange, order: Order, target: Target) -> float:
        """Seconds that all attempts together have left: a stream up to its first content, a whole answer to its end."""
        if order.view.stream:
            return exchange.deadline - self._clock()
        return exchange.started_at + _unary_s(exchange, self._timeouts(order, target)) - self._clock()

    def patience_s(self, exchange: Exchange, order: Order, target: Target) -> float:
        """Seconds that one attempt at the target may take from now."""
        left_s = self.left_s(exchange, order, target)
        return min(left_s, self._timeouts(order, target).first_token_s) if order.view.stream else left_s

    def _timeouts(self, order: Order, target: Target) -> Timeouts:
        """The provider's with what the model changes."""
        where = target.provider, order.route.label
        timeouts = self._merged.get(where)
        if timeouts is None:
            base = self._providers[target.provider].settings.timeouts
            timeouts = self._merged[where] = merged(base, order.route.timeouts)
        return timeouts

    def _bound(self, call: _Call) -> tuple[float, GatewayError]:
        """Seconds this attempt may take up to its content, and the error when they have passed."""
        exchange, timeouts = call.exchange, call.timeouts
        left_s = self.left_s(exchange, call.order, call.attempt.target)
        if not call.order.view.stream:
            allowed_s = _unary_s(exchange, timeouts)
            return left_s, GatewayError("deadline_exceeded", f"No whole answer within {allowed_s:g} s.")
        if timeouts.first_token_s < left_s:
            return timeouts.first_token_s, GatewayError(
                "first_token_timeout", f"The provider sent no token within {timeouts.first_token_s:g} s."
            )
        allowed_s = exchange.deadline - exchange.started_at
        return left_s, GatewayError("deadline_exceeded", f"No token within {allowed_s:g} s.")

    async def _answer(self, call: _Call, response: Response) -> Answer:
        status, headers, provider = response.status, response.headers, call.provider
        downstream = call.exchange.downstream
        if status == 200 and downstream is not None and response.content_type == "text/event-stream":
            call.attempt.phase = Phase.BEFORE_CONTENT
            stream = self._stream(call, response)
            try:
                await stream.first()
                _check(stream, provider.name)
            except BaseException:
                stream.abort()
                raise
            call.attempt.phase = Phase.STREAMING
            return StreamAnswer(stream, downstream, crossing_headers(headers))
        _decline(response)
        if status == 200:
            call.attempt.phase = Phase.UNARY
            return await _whole(call, response)
        body = await provider.pool.read(response, ERROR_BODY_LIMIT_BYTES)
        raise judge(provider, call.attempt.target, call.order.route, (status, headers, body), self._wall_clock())

    def _stream(self, call: _Call, response: Response) -> UpstreamStream:
        order, settings, timeouts = call.order, call.provider.settings, call.timeouts
        injected = settings.usage == "inject" and not order.view.usage_asked
        flow = EventFlow(order.operation.reader(hide_usage=injected))
        gaps = self._metrics.target(call.provider.name, order.route.label).inter_chunk
        limits = StreamLimits(timeouts.stall_s, self._write_timeout_s, timeouts.total_s)
        if isinstance(response, splice.SplicedResponse) and isinstance(call.exchange.downstream, RawDownstream):
            spliced = splice.claim(response)
            if spliced is not None:
                return TappedStream(spliced, flow, gaps, limits, self._clock)
        _decline(response)
        return PlainStream(response, flow, gaps, limits, self._clock)


def _unary_s(exchange: Exchange, timeouts: Timeouts) -> float:
    """Seconds for a whole answer: the provider's, or less where the client wishes less."""
    unary_s, wished_s = timeouts.unary_s, exchange.wished_s
    return unary_s if wished_s is None else min(unary_s, wished_s)


def _leave_alone(attempt: Attempt, failure: ProviderFailure) -> None:
    """Let the key or the target rest, as the provider asks."""
    state, wait_s = attempt.turn.state, min(failure.retry_after_s or 0.0, MAX_REST_S)
    keys = state.provider.keys
    if failure.rests is Rests.KEY:
        keys.throttled(attempt.key_index, wait_s)
    elif failure.rests in (Rests.KEY_REFUSED, Rests.KEY_EXHAUSTED):
        keys.refused(attempt.key_index)
    elif failure.rests is Rests.TARGET:
        state.rest(wait_s)


def _decline(response: Response) -> None:
    """The body is to be read in the ordinary way."""
    if isinstance(response, splice.SplicedResponse):
        splice.decline(response)


def _body(call: _Call) -> bytes:
    """The client's own bytes, changed only where they must: the model's name, the wish for usage, what is paid for."""
    order, target, holding = call.order, call.attempt.target, call.exchange.holding
    changes: dict[str, bytes] = {}
    if target.model != order.view.model:
        changes["model"] = orjson.dumps(target.model)
    if order.view.stream and call.provider.settings.usage == "inject":
        changes.update(order.operation.asks_usage(order.document))
    most, field = order.route.max_output, order.operation.output_limit
    is_held = holding is not None and holding.nanousd is not None
    if is_held and most is not None and field is not None and order.view.max_output is None:
        changes[field] = b"%d" % most
    return splice_body(order.body, order.document, changes) if changes else order.body


def _check(stream: UpstreamStream, provider: str) -> None:
    if stream.outcome is not None and stream.outcome is not Outcome.SUCCESS:
        raise GatewayError(stream.outcome.value, f"The provider {provider} {_BROKEN[stream.outcome]}.")


async def _whole(call: _Call, response: Response) -> WholeAnswer:
    name = call.provider.name
    if call.exchange.downstream is not None and call.exchange.downstream.begun:
        raise GatewayError("provider_error", f"The provider {name} did not stream its answer.")
    if response.content_type != "application/json" and not response.content_type.endswith("+json"):
        raise GatewayError("provider_error", f"The provider {name} answered with something else than JSON.")
    body = await call.provider.pool.read(response, UNARY_COMMIT_BYTES)
    headers = crossing_headers(response.headers)
    content_type = response.headers.get("Content-Type", "application/json")
    if len(body) >= UNARY_COMMIT_BYTES and not response.content.at_eof():
        deadline = call.exchange.started_at + _unary_s(call.exchange, call.timeouts)
        return WholeAnswer(body, None, content_type, headers, rest=response, deadline=deadline)
    return WholeAnswer(body, _read(call.provider, body), content_type, headers)


def _read(provider: Provider, body: bytes) -> Mapping[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or provider.dialect.is_error(document):
        raise GatewayError("provider_error", f"The provider {provider.name} answered 200 with no answer in it.")
    return document
