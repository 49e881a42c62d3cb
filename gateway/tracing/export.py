"""Where spans go: a bounded queue, the SDK's own thread, OTLP over HTTP; and what is said when nobody takes them."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from gateway import __version__
from gateway.tracing.settings import TelemetrySettings
from gateway.tracing.spans import OtelSpans

log = logging.getLogger("gateway")

QUEUE_SPANS: Final = 4096
"""What may wait (about 4 KB each); what comes beyond it is dropped."""

BATCH_SPANS: Final = 64
"""Encoding a batch holds the interpreter's lock: small ones let chunks of streams through in between."""

EVERY_S: Final = 1.0
"""How long a span waits for others at most."""

EXPORT_S: Final = 10.0
"""How long one batch may take, with what is tried again."""

CLOSE_S: Final = 2.0
"""How long the end may wait for the last spans to be taken."""

_SDK: Final = logging.getLogger("opentelemetry")


class Reasons(logging.Handler):
    """Keeps the SDK's words to itself, and the last of each thread for those who ask: it says the same every second."""

    def __init__(self) -> None:
        super().__init__()
        self._said = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self._said.last = record.getMessage()

    def last(self) -> str:
        """What the SDK has said last on the calling thread."""
        return getattr(self._said, "last", "no reason is known")


class WatchedExporter(SpanExporter):
    """Hands spans to another exporter, and says in the log when they begin not to arrive, and when they do again.

    Attributes:
        taken: spans that have left the queue, delivered or not.
    """

    def __init__(self, inner: SpanExporter, where: str, reasons: Reasons) -> None:
        self._inner = inner
        self._where = where
        self._reasons = reasons
        self._failing = self._overflowed = self._given_up = False
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        if self._given_up:
            return SpanExportResult.FAILURE
        result = self._inner.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            why = self._reasons.last()
            log.warning(
                "traces do not reach %s and are lost until they do; requests do not suffer: %s", self._where, why
            )
        elif self._failing and not failing:
            log.info("traces reach %s again", self._where)
        self._failing = failing
        return result

    def overflowed(self) -> None:
        """A span was dropped because too many wait; said once."""
        if not self._overflowed:
            self._overflowed = True
            log.warning("%s takes fewer traces than there are: some are lost; lower telemetry.sample", self._where)

    def shutdown(self) -> None:
        """Take nothing more, and try nothing again."""
        if not self._given_up:
            self._given_up = True
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


class BoundedQueue(BatchSpanProcessor):
    """The SDK's queue and thread; what does not fit is dropped here, so that somebody hears of it.

    Args:
        exporter: must be the one that takes from this queue.
    """

    def __init__(self, exporter: WatchedExporter, queue_spans: int, batch_spans: int, every_s: float) -> None:
        super().__init__(exporter, queue_spans, every_s * 1000, batch_spans)
        self._exporter = exporter
        self._queue_spans = queue_spans
        self._put = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._put - self._exporter.taken >= self._queue_spans:
            self._exporter.overflowed()
            return
        self._put += 1
        super().on_end(span)


class Traces:
    """All of tracing that lasts as long as the gateway. Starts a thread.

    Args:
        endpoint: ``telemetry.otlp_endpoint``.

    Attributes:
        spans: what the line is traced by.
    """

    def __init__(self, settings: TelemetrySettings, endpoint: str, instance_id: str) -> None:
        self._where = f"{endpoint}/v1/traces"
        self._reasons = Reasons()
        _SDK.propagate = False
        _SDK.addHandler(self._reasons)
        session = requests.Session()
        session.trust_env = False  # no proxy and no .netrc of the environment, as towards providers
        otlp = OTLPSpanExporter(
            endpoint=self._where,
            headers={name: value.get_secret_value() for name, value in settings.headers.items()},
            timeout=EXPORT_S,
            session=session,
        )
        self._exporter = WatchedExporter(otlp, self._where, self._reasons)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=Resource.create(
                {
                    "service.name": settings.service_name,
                    "service.version": __version__,
                    "service.instance.id": instance_id,
                }
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BoundedQueue(self._exporter, QUEUE_SPANS, BATCH_SPANS, EVERY_S))
        self.spans = OtelSpans(self._provider.get_tracer("aigateway", __version__))

    async def aclose(self, within_s: float = CLOSE_S) -> None:
        """Send what waits, and end; what has not gone after `within_s` seconds is lost.

        The SDK waits on threads. The one that waits for it here is nobody's to join: a collector that does not answer
        must not hold up the end of the process.
        """
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            _SDK.removeHandler(self._reasons)
            _SDK.propagate = not _SDK.handlers
            with suppress(RuntimeError):  # the loop did not wait for it
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end, name="traces-end", daemon=True).start()
        try:
            async with asyncio.timeout(within_s):
                await ended.wait()
        except TimeoutError:
            log.warning("the last traces are lost: %s has not taken them within %g s", self._where, within_s)
            self._exporter.shutdown()
