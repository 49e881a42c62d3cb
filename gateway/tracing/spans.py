"""Spans of requests and attempts, by the OpenTelemetry API: begun when a context is needed, ended at settlement.

What has no attempt gets its span when it is settled, with the time at which it came; so a request that nobody is asked
for, and one that is not sampled, cost little. Only requests for a model are traced, and no others.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.dialects import Operation
from gateway.proxy.answers import Answer, StreamAnswer
from gateway.proxy.exchange import Attempt, Exchange, Order
from gateway.tracing import naming

log = logging.getLogger("gateway")

_W3C = TraceContextTextMapPropagator()

_FAILED = "a trace of request %s failed; the request goes on"


class _Fields(Getter[CIMultiDictProxy[str]]):
    def get(self, carrier: CIMultiDictProxy[str], key: str) -> list[str] | None:
        return carrier.getall(key, None)

    def keys(self, carrier: CIMultiDictProxy[str]) -> list[str]:
        return list(carrier)


_FIELDS = _Fields()


@dataclass(frozen=True, slots=True)
class AttemptTrace:
    """The span of an attempt, that of its request, and what goes upstream instead of the client's headers."""

    span: Span
    request: Span
    headers: Mapping[str, str]
    said: naming.Attributes = field(default_factory=dict)


class OtelSpans:
    """A :class:`gateway.tracing.upstreams.Spans`. A mistake in here is logged, and stays here."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def attempt(self, exchange: Exchange, order: Order, attempt: Attempt) -> None:
        """Begin the span of an attempt, and before the first that of its request."""
        try:
            request = _request_of(exchange) or self._begin(exchange, order.operation)
            span = self._tracer.start_span(
                naming.attempt_name(order, attempt),
                set_span_in_context(request, Context()),
                SpanKind.CLIENT,
                naming.of_attempt(order, attempt) if request.is_recording() else None,
                start_time=_unix_ns(exchange, attempt.started_at),
            )
            attempt.trace = AttemptTrace(span, request, _with_context(exchange.request.headers, span))
        except Exception:
            log.exception(_FAILED, exchange.id)

    def answered(self, attempt: Attempt, answer: Answer) -> None:
        """Note what a stream's first event says of itself."""
        trace = attempt.trace
        if isinstance(trace, AttemptTrace) and trace.span.is_recording() and isinstance(answer, StreamAnswer):
            trace.said.update(naming.of_first_event(answer.stream.peek()))

    def end(self, exchange: Exchange, now: float) -> None:
        """End all spans of a settled exchange; `now` is a reading of the clock that started it."""
        if exchange.operation is None:
            return
        try:
            request = _request_of(exchange) or self._begin(exchange, exchange.operation)
            for attempt in exchange.attempts:
                if isinstance(attempt.trace, AttemptTrace) and attempt.trace.span.is_recording():
                    _end_attempt(exchange, attempt, attempt.trace, now)
            if request.is_recording():
                request.set_attributes(naming.of_request_ended(exchange))
                if naming.request_failed(exchange):
                    request.set_status(Status(StatusCode.ERROR, exchange.error.message if exchange.error else None))
                request.end(_unix_ns(exchange, now))
        except Exception:
            log.exception(_FAILED, exchange.id)

    def _begin(self, exchange: Exchange, operation: Operation) -> Span:
        return self._tracer.start_span(
            naming.request_name(exchange, operation),
            _parent(exchange.request.headers),
            SpanKind.SERVER,
            naming.of_request(exchange, operation),
            start_time=_unix_ns(exchange, exchange.started_at),
        )


def _request_of(exchange: Exchange) -> Span | None:
    """The span that the first traced attempt of an exchange began."""
    traces = (attempt.trace for attempt in exchange.attempts)
    return next((trace.request for trace in traces if isinstance(trace, AttemptTrace)), None)


def _end_attempt(exchange: Exchange, attempt: Attempt, trace: AttemptTrace, now: float) -> None:
    trace.span.set_attributes(naming.of_attempt_ended(exchange, attempt, trace.said))
    if naming.attempt_failed(attempt):
        trace.span.set_status(Status(StatusCode.ERROR))
    trace.span.end(_unix_ns(exchange, now if attempt.ended_at is None else attempt.ended_at))


def _parent(headers: CIMultiDictProxy[str]) -> Context:
    """The caller's context; none where there is not exactly one (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    if len(headers.getall("traceparent", ())) != 1:
        return Context()
    return _W3C.extract(headers, Context(), _FIELDS)


def _with_context(headers: CIMultiDictProxy[str], span: Span) -> Mapping[str, str]:
    """The client's headers with this span's context instead of theirs."""
    sent = CIMultiDict(headers)
    for name in _W3C.fields:
        sent.popall(name, None)
    _W3C.inject(sent, set_span_in_context(span, Context()))
    return sent


def _unix_ns(exchange: Exchange, at: float) -> int:
    """A reading of the exchange's clock as a Unix time, to the microsecond."""
    return int((exchange.received_at + (at - exchange.started_at)) * 1_000_000) * 1000
