"""The way of spans to a collector: in batches, within bounds, with one word in the log when it does not work."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.core.outcome import Outcome
from gateway.proxy.exchange import Exchange
from gateway.tracing.export import BoundedQueue, Reasons, Traces, WatchedExporter
from gateway.tracing.settings import TelemetrySettings
from tests.otlp_collector import Collector
from tests.surface.exchanges import NOW_S, begun

FINE, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
PATIENCE_S = 50.0


class HandExporter(SpanExporter):
    """Returns what it is told to; with `open` cleared, only later."""

    def __init__(self, *results: SpanExportResult) -> None:
        self.results = list(results)
        self.came = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.spans = self.ends = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        self.came.set()
        assert self.open.wait(PATIENCE_S)
        result = self.results.pop(0) if self.results else FINE
        if result is FAILED:
            logging.getLogger("opentelemetry.test").error("because of %s", "reasons")
        return result

    def shutdown(self) -> None:
        self.ends += 1

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


@pytest.fixture
def reasons() -> Iterator[Reasons]:
    """Listening to the SDK."""
    handler = Reasons()
    logging.getLogger("opentelemetry").addHandler(handler)
    yield handler
    logging.getLogger("opentelemetry").removeHandler(handler)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the gateway's own log has."""
    return [record.getMessage() for record in caplog.records if record.name == "gateway"]


def refused() -> Exchange:
    """An exchange that nobody was asked for."""
    exchange = begun("/v1/chat/completions")
    exchange.outcome = Outcome.OVERLOADED
    return exchange


def test_each_change_is_said_once(reasons: Reasons, caplog: pytest.LogCaptureFixture) -> None:
    """That they do not arrive, with the SDK's reason, and that they do again; not what has not changed."""
    caplog.set_level("INFO", "gateway")
    watched = WatchedExporter(HandExporter(FINE, FAILED, FAILED, FINE, FINE, FAILED), "http://c/v1/traces", reasons)
    results = [watched.export([]) for _ in range(6)]
    assert results == [FINE, FAILED, FAILED, FINE, FINE, FAILED]
    lost = (
        "traces do not reach http://c/v1/traces and are lost until they do; requests do not suffer: because of reasons"
    )
    assert said(caplog) == [lost, "traces reach http://c/v1/traces again", lost]


def test_what_does_not_fit_is_dropped(reasons: Reasons, caplog: pytest.LogCaptureFixture) -> None:
    """As many wait as may while a collector hangs; the rest is lost, which is said once; then it goes on."""
    inner = HandExporter()
    watched = WatchedExporter(inner, "http://c/v1/traces", reasons)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BoundedQueue(watched, 3, 1, 0.001))
    tracer = provider.get_tracer("test")
    inner.open.clear()
    tracer.start_span("taken").end()
    assert inner.came.wait(PATIENCE_S)
    for _ in range(10):
        tracer.start_span("waiting").end()
    inner.open.set()
    provider.shutdown()
    assert inner.spans == 4
    (sentence,) = said(caplog)
    assert "some are lost; lower telemetry.sample" in sentence


def test_the_end_comes_once(reasons: Reasons) -> None:
    """After it nothing is tried any more."""
    inner = HandExporter()
    watched = WatchedExporter(inner, "c", reasons)
    assert watched.force_flush()
    watched.shutdown()
    watched.shutdown()
    assert watched.export([]) is FAILED
    assert (inner.ends, inner.spans) == (1, 0)


async def test_resource_and_last_spans(collector: Collector) -> None:
    """What waits at the end is sent; it says whose it is."""
    settings = TelemetrySettings.model_validate({"otlp_endpoint": collector.url, "service_name": "edge"})
    traces = Traces(settings, collector.url, "instance-7")
    traces.spans.end(refused(), NOW_S)
    await traces.aclose(PATIENCE_S)
    request, _ = await collector.trace(1)
    assert request.resource["service.name"] == "edge"
    assert request.resource["service.instance.id"] == "instance-7"
    assert request.resource["service.version"]


async def test_the_end_does_not_wait_for_ever(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that takes and does not answer holds it up for so long and no longer; the log says what is lost."""
    traces = Traces(TelemetrySettings(), collector.url, "instance-7")
    collector.answers.clear()
    traces.spans.end(refused(), NOW_S)
    await collector.until_asked(1)
    async with asyncio.timeout(PATIENCE_S):
        await traces.aclose(0.01)
    assert said(caplog) == [f"the last traces are lost: {collector.url}/v1/traces has not taken them within 0.01 s"]
    collector.answers.set()
    for thread in threading.enumerate():
        if thread.name == "traces-end":
            await asyncio.to_thread(thread.join, PATIENCE_S)


async def test_the_sdk_is_itself_again_afterwards(collector: Collector) -> None:
    """Its log is ours only while there are traces."""
    sdk = logging.getLogger("opentelemetry")
    before = sdk.propagate, list(sdk.handlers)
    traces = Traces(TelemetrySettings(), collector.url, "instance-7")
    assert sdk.propagate is False
    await traces.aclose(PATIENCE_S)
    assert (sdk.propagate, list(sdk.handlers)) == before
