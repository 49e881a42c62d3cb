"""A collector that speaks OTLP over HTTP, and shows the spans that it was sent."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.closing import close_in_time

SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
UNSET, ERROR = 0, 2
"""Status codes (opentelemetry-proto, trace.v1.Status.StatusCode)."""

Value = str | int | float | bool


def _values(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@dataclass(frozen=True)
class SeenSpan:
    """A span as it came; ids as W3C writes them, times in nanoseconds since the epoch."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    start_ns: int
    end_ns: int
    status: int
    message: str
    attributes: dict[str, Value]
    resource: dict[str, Value]


@dataclass
class Collector:
    """Answers exports on a free port of loopback.

    Attributes:
        status: what it answers from now on.
        answers: cleared, it answers nothing.
        headers: of the last export.
        wire: all that came, as it came.
    """

    status: int = 200
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    headers: dict[str, str] = field(default_factory=dict)
    wire: bytes = b""
    asked: int = 0
    spans: list[SeenSpan] = field(default_factory=list)
    url: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self) -> None:
        self.answers.set()
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        self.answers.set()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers, self.wire = dict(request.headers), self.wire + body
        async with self._changed:
            self.asked += 1
            if self.status == 200:
                self.spans += _spans(body)
            self._changed.notify_all()
        await self.answers.wait()
        return web.Response(status=self.status)

    async def until_asked(self, times: int) -> None:
        """Wait until so many exports have come, taken or not."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.asked >= times)

    async def trace(self, spans: int) -> tuple[SeenSpan, list[SeenSpan]]:
        """Wait for so many spans and no more; return the request's, and those of its attempts in their order."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.spans) >= spans)
        assert len(self.spans) == spans
        (request,) = [span for span in self.spans if span.kind == SERVER]
        return request, sorted((s for s in self.spans if s.kind == CLIENT), key=lambda span: span.start_ns)


def _spans(body: bytes) -> list[SeenSpan]:
    return [
        SeenSpan(
            span.name,
            span.kind,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.trace_state,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code,
            span.status.message,
            _values(span.attributes),
            _values(resource.resource.attributes),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector, listening; stopped in the end."""
    collector = Collector()
    await collector.start()
    yield collector
    await close_in_time("the collector", collector.stop)
