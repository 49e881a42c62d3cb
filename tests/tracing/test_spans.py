"""Spans by the real SDK, of exchanges without a network."""

import pytest
from multidict import CIMultiDict
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.proxy.answers import WholeAnswer
from gateway.proxy.exchange import Exchange
from gateway.tracing.spans import OtelSpans
from tests.surface.exchanges import NOW_S, WALL_S, attempt, begun, order_of, tried

WALL_NS = int(WALL_S * 4) * 10**9 // 4
CHAT = "/v1/chat/completions"
ASKED = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}
PARENT = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "v=1"}


class Traced:
    """Spans of exchanges, and those that have ended."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._ended = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._ended))
        self.spans = OtelSpans(provider.get_tracer("test"))

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self._ended.get_finished_spans())

    def end(self, exchange: Exchange, outcome: Outcome, after_s: float = 2.0) -> None:
        exchange.outcome = outcome
        self.spans.end(exchange, NOW_S + after_s)


def test_times_are_those_of_the_exchange() -> None:
    """From when it came to when it was settled, on the wall; the attempt's own times within."""
    traced, exchange = Traced(), tried(CHAT, ASKED)
    (only,) = exchange.attempts
    only.started_at = NOW_S + 0.5
    traced.spans.attempt(exchange, order_of(exchange), only)
    only.end(Outcome.SUCCESS, NOW_S + 1.5)
    traced.end(exchange, Outcome.SUCCESS)
    child, request = traced.ended
    unix_ns = WALL_NS
    assert (request.start_time, request.end_time) == (unix_ns, unix_ns + 2 * 10**9)
    assert (child.start_time, child.end_time) == (unix_ns + 5 * 10**8, unix_ns + 15 * 10**8)
    assert (request.kind, child.kind) == (SpanKind.SERVER, SpanKind.CLIENT)


def test_who_is_asked_for_nobody_has_a_span_all_the_same() -> None:
    """Begun when it is settled, with the time at which it came; the sentence is the client's."""
    traced, exchange = Traced(), begun(CHAT, PARENT)
    exchange.error = GatewayError("overloaded", "Too many.")
    traced.end(exchange, Outcome.OVERLOADED)
    (request,) = traced.ended
    assert request.parent is not None
    assert f"{request.parent.trace_id:032x}" == "a" * 32
    assert (request.status.status_code, request.status.description) == (StatusCode.ERROR, "Too many.")
    assert request.start_time == WALL_NS


def test_what_belongs_to_no_operation_has_none() -> None:
    """Pages, and what leads nowhere."""
    traced = Traced()
    traced.end(begun(), Outcome.SUCCESS)
    assert traced.ended == []


def test_attempts_share_the_span_of_their_request() -> None:
    """Each has a context of its own, which replaces the client's among the client's headers."""
    traced, exchange = Traced(), tried(CHAT, ASKED)
    exchange.attempts.append(attempt())
    sent = []
    for one in exchange.attempts:
        traced.spans.attempt(exchange, order_of(exchange), one)
        assert one.trace is not None
        sent.append(one.trace.headers["Traceparent"])
        one.end(Outcome.PROVIDER_ERROR, NOW_S + 1)
    traced.end(exchange, Outcome.PROVIDER_ERROR)
    *children, request = traced.ended
    assert request.context is not None
    assert [child.parent and child.parent.span_id for child in children] == [request.context.span_id] * 2
    assert [header.split("-")[2] for header in sent] == [
        f"{child.context.span_id:016x}" for child in children if child.context
    ]


def test_what_is_not_recorded_costs_no_attributes() -> None:
    """It has a context, and nothing is said of it."""
    traced, exchange = Traced(ALWAYS_OFF), tried(CHAT, ASKED)
    (only,) = exchange.attempts
    traced.spans.attempt(exchange, order_of(exchange), only)
    assert only.trace is not None
    assert only.trace.headers["traceparent"][-2:] in {"00", "02"}  # 02: the trace id is random, and that is all
    traced.spans.answered(only, WholeAnswer(b"{}", {}, "application/json", {}))
    only.end(Outcome.SUCCESS, NOW_S + 1)
    traced.end(exchange, Outcome.SUCCESS)
    assert traced.ended == []


def test_an_attempt_that_was_never_asked_has_no_span() -> None:
    """A hedge may be cancelled before its task begins."""
    traced, exchange = Traced(), tried(CHAT, ASKED)
    traced.end(exchange, Outcome.CLIENT_CLOSED)
    assert [span.name for span in traced.ended] == ["chat gpt"]


class Broken(Tracer):
    """Fails whatever it is asked."""

    def start_span(self, *_: object, **__: object) -> object:  # type: ignore[override]
        raise RuntimeError

    def start_as_current_span(self, *_: object, **__: object) -> object:  # type: ignore[override]
        raise RuntimeError


def test_a_mistake_in_here_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    """The request goes on with the client's own headers; the log tells of it."""
    exchange = tried(CHAT, ASKED)
    (only,) = exchange.attempts
    spans = OtelSpans(Broken())
    spans.attempt(exchange, order_of(exchange), only)
    assert only.trace is None
    spans.end(exchange, NOW_S)
    assert [record.getMessage() for record in caplog.records] == [
        f"a trace of request {exchange.id} failed; the request goes on"
    ] * 2


def test_names_of_headers_are_any_case() -> None:
    """As clients send them."""
    traced, exchange = Traced(), begun(CHAT, CIMultiDict({"TraceParent": PARENT["traceparent"]}))
    traced.end(exchange, Outcome.UNAUTHORIZED)
    (request,) = traced.ended
    assert request.parent is not None
    assert request.status.status_code is StatusCode.UNSET
