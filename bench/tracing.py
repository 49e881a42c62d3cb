"""What traces cost a request: on the loop, and on the thread that exports, in process and without a collector.

    python -m bench.tracing

One request with one attempt, as the line tells of it: its context, its headers for the provider, its two spans ended
with all that they say. Not sampled, it has the context only. CPU time, best of the rounds, in microseconds.
"""

import time
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from gateway.core.outcome import Outcome
from gateway.core.tokens import Source, Usage
from gateway.proxy.exchange import Attempt, Exchange
from gateway.tracing.export import BATCH_SPANS
from gateway.tracing.spans import OtelSpans
from tests.surface.exchanges import NOW_S, TARGET, order_of, tried

REQUESTS = 4_000
ROUNDS = 7
ASKED = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}


class Kept(SpanProcessor):
    """Keeps what has ended, as a queue would."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def begun() -> Exchange:
    exchange = tried("/v1/chat/completions", ASKED)
    exchange.outcome, exchange.status = Outcome.SUCCESS, 200
    exchange.usage = Usage(11, output=3, source=Source.REPORTED)
    return exchange


def best_us(calls: int, call: Callable[[], object]) -> float:
    """CPU of one of so many calls."""
    rounds = []
    for _ in range(ROUNDS):
        since = time.process_time()
        for _ in range(calls):
            call()
        rounds.append((time.process_time() - since) / calls * 1e6)
    return min(rounds)


def on_the_loop(sample: float) -> tuple[float, Sequence[ReadableSpan]]:
    """Microseconds for each request, and the spans of the last round."""
    kept = Kept()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(sample)), shutdown_on_exit=False)
    provider.add_span_processor(kept)
    spans, exchange = OtelSpans(provider.get_tracer("bench")), begun()
    order = order_of(exchange)
    turn = exchange.attempts[0].turn

    def one() -> None:
        only = Attempt(TARGET, NOW_S, turn, outcome=Outcome.SUCCESS, ended_at=NOW_S + 1)
        exchange.attempts = [only]
        exchange.served = only
        spans.attempt(exchange, order, only)
        spans.end(exchange, NOW_S + 1)

    return best_us(REQUESTS, one), kept.spans[-BATCH_SPANS:]


def main() -> None:
    (sampled_us, batch), (passed_us, _) = on_the_loop(1.0), on_the_loop(0.0)
    encode_us = best_us(10, lambda: encode_spans(batch).SerializePartialToString())
    print(f"on the loop, each request: sampled {sampled_us:.1f} us, not sampled {passed_us:.1f} us")
    print(f"on the thread, each request: {encode_us / BATCH_SPANS * 2:.1f} us; a batch {encode_us / 1000:.2f} ms")


if __name__ == "__main__":
    main()
