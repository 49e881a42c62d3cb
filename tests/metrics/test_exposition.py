"""The scrape as Prometheus sees it: promtool accepts it, and stock aioprometheus prints the same series."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from aioprometheus.collectors import Counter as StockCounter
from aioprometheus.collectors import Registry
from aioprometheus.renderer import render as stock_render

from gateway.core.outcome import Outcome
from gateway.metrics import Metrics
from gateway.metrics.collectors import BoundHistogram
from gateway.metrics.exposition import ReadyTextFormatter
from tests.metrics.text_format import read_exposition

ATTACK = 'gpt"} 1\nforged_metric{y="z\\'


@pytest.fixture
def busy() -> Metrics:
    """A gateway that has seen traffic, with names as hostile as a configuration could make them."""
    metrics = Metrics('i"1', "1.0\n", ["acme", ATTACK], ["gpt-4o", ATTACK], ["openai", ATTACK])
    for tenant in ("acme", ATTACK, "stranger"):
        for provider in ("openai", ATTACK, "none"):
            route = metrics.route(tenant, provider, ATTACK)
            for status in Outcome:
                route.requests(status).inc()
            route.duration.observe(2.0)
            route.tokens_input.inc(10)
            route.cost.inc(123_456_789_012_345)
            target = metrics.target(provider, "gpt-4o")
            target.ttft.observe(0.2)
            target.inter_chunk.observe(0.01)
            metrics.provider(provider).active_streams.inc()
    metrics.declared.overhead.labels("request").observe(0.0001)
    metrics.declared.pool_connections.labels("openai", "idle").read_from(lambda: 7.5)
    return metrics


def test_promtool_has_nothing_to_say(busy: Metrics) -> None:
    """The reference parser and linter accept every line, hostile names included."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH (Debian package prometheus)")
    body, _ = busy.render()
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_nothing_is_forged(busy: Metrics) -> None:
    """Every sample belongs to a metric that was declared."""
    seen = read_exposition(busy.render()[0])
    assert seen.types.keys() == seen.helps.keys() == busy.registry.collectors.keys()
    suffixes = ("", "_bucket", "_count", "_sum")
    allowed = {
        name + suffix
        for name, kind in seen.types.items()
        for suffix in (suffixes[1:] if kind == "histogram" else suffixes[:1])
    }
    assert {name for name, _ in seen.samples} <= allowed


def test_stock_renderer_prints_the_same_series(busy: Metrics) -> None:
    """The registry is aioprometheus's: its own `render` gives what ours gives, as floats."""
    ours, stock = (
        read_exposition(busy.render()[0]),
        read_exposition(stock_render(busy.registry, [])[0]),
    )
    assert (ours.types, ours.helps) == (stock.types, stock.helps)
    assert ours.samples.keys() == stock.samples.keys()
    # the kernel's facts move between two readings
    same = {series for series in ours.samples if not series[0].startswith("process_")}
    assert len(same) > 500
    assert {s: float(ours.samples[s]) for s in same} == {s: float(stock.samples[s]) for s in same}


@pytest.mark.parametrize("accept", [(), ("application/openmetrics-text; version=1.0.0",), ("*/*",)])
def test_content_type_is_the_one_prometheus_wants(busy: Metrics, accept: tuple[str, ...]) -> None:
    """Prometheus 3 refuses a scrape without a valid one."""
    _, headers = busy.render(accept)
    assert headers == {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


def without_process(body: bytes) -> list[bytes]:
    """The lines that do not move by themselves."""
    return [line for line in body.split(b"\n") if not line.startswith(b"process_")]


def test_slices_are_the_same_body(busy: Metrics) -> None:
    """Cut small or not at all, the scrape is one and the same."""
    whole = without_process(busy.render()[0])
    pieces = list(ReadyTextFormatter().slices(busy.registry, 50))
    assert len(pieces) > 10
    assert without_process(b"".join(pieces)) == whole
    assert without_process(b"".join(busy.slices())) == whole


def test_slices_are_bounded_and_keep_a_series_whole() -> None:
    """No piece is longer than asked, and no histogram is divided between two."""
    registry = Registry()
    seconds = BoundHistogram(registry, "x_seconds", "X.", ("a",), bounds=range(10))
    for n in range(100):
        seconds.labels(str(n)).observe(n)
    pieces: Iterator[bytes] = ReadyTextFormatter().slices(registry, 30)
    for piece in pieces:
        lines = piece.decode().splitlines()
        assert len(lines) <= 30
        read_exposition(piece)
        samples = [line for line in lines if not line.startswith("#")]
        assert len(samples) % seconds.lines_per_cell == 0


def test_foreign_collector_is_left_to_the_stock_formatter() -> None:
    """A collector of somebody else in the registry is shown as well."""
    registry = Registry()
    StockCounter("foreign_total", "Foreign.", registry=registry).inc({"a": "b"})
    assert read_exposition(ReadyTextFormatter().marshall(registry)).value("foreign_total", a="b") == 1
    assert read_exposition(b"".join(ReadyTextFormatter().slices(registry))).value("foreign_total", a="b") == 1
