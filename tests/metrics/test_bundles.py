"""Bundles of cells: each attribute moves the series that its name says, under the labels that were given once."""

from decimal import Decimal

import pytest
from aioprometheus.collectors import Registry

from gateway.core.outcome import Outcome
from gateway.metrics.bundles import ProviderCells, RouteCells, TargetCells
from gateway.metrics.declarations import ATTEMPT_RESULTS, PROVIDER_ERRORS, REQUEST_STATUSES, Declarations
from gateway.metrics.exposition import ReadyTextFormatter
from tests.metrics.text_format import Exposition, read_exposition


@pytest.fixture
def registry() -> Registry:
    """An empty one: what a test sees there, it has declared."""
    return Registry()


def scrape(registry: Registry) -> Exposition:
    """Render and read back."""
    return read_exposition(ReadyTextFormatter().marshall(registry))


def test_route_moves_what_a_request_of_a_tenant_moves(registry: Registry) -> None:
    """Ending, duration, tokens and cost land on the four labels."""
    route = RouteCells(Declarations(registry), "acme", "openai", "gpt-4o")
    route.requests(Outcome.SUCCESS).inc()
    route.requests(Outcome.SUCCESS).inc()
    route.duration.observe(2.5)
    route.tokens_input.inc(100)
    route.tokens_output.settle(40, 0)
    route.cost.inc(39_000)
    seen = scrape(registry)
    labels = {"tenant_id": "acme", "provider": "openai", "model": "gpt-4o"}
    assert seen.value("aigateway_requests_total", **labels, status="success") == 2
    assert seen.value("aigateway_request_duration_seconds_bucket", **labels, le="1.0") == 0
    assert seen.value("aigateway_request_duration_seconds_bucket", **labels, le="2.5") == 1
    assert seen.value("aigateway_request_duration_seconds_sum", **labels) == Decimal("2.5")
    assert seen.value("aigateway_tokens_total", **labels, type="input") == 100
    assert seen.value("aigateway_tokens_total", **labels, type="output") == 40
    assert seen.value("aigateway_cost_usd_total", **labels) == Decimal("0.000039")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("ttft", "aigateway_time_to_first_token_seconds"),
        ("inter_chunk", "aigateway_inter_chunk_seconds"),
        ("stream_duration", "aigateway_stream_duration_seconds"),
        ("tokens_per_second", "aigateway_output_tokens_per_second"),
    ],
)
def test_target_observes_streams(registry: Registry, field: str, name: str) -> None:
    """Each histogram of a target is the one its name says."""
    getattr(TargetCells(Declarations(registry), "openai", "gpt-4o"), field).observe(1.5)
    seen = scrape(registry)
    moved = {sample for (sample, _), value in seen.samples.items() if sample.endswith("_sum") and value}
    assert moved == {f"{name}_sum"}
    assert seen.value(f"{name}_sum", provider="openai", model="gpt-4o") == Decimal("1.5")


@pytest.mark.parametrize("detail", ["cached_input", "cache_write", "reasoning"])
def test_target_counts_special_tokens(registry: Registry, detail: str) -> None:
    """Each detail has its own series."""
    getattr(TargetCells(Declarations(registry), "openai", "gpt-4o"), detail).inc(9)
    labels = {"provider": "openai", "model": "gpt-4o"}
    seen = scrape(registry)
    details = {
        series["detail"]: seen.value("aigateway_token_details_total", **series)
        for series in seen.series("aigateway_token_details_total")
        if series.items() >= labels.items()
    }
    assert details == {"cached_input": 0, "cache_write": 0, "reasoning": 0, detail: 9}


def test_provider_moves_what_concerns_the_provider(registry: Registry) -> None:
    """Streams, errors, attempts, stalls and settlements."""
    declared = Declarations(registry)
    provider, other = ProviderCells(declared, "openai"), ProviderCells(declared, "demo")
    other.stalls.inc(0)
    provider.active_streams.inc()
    provider.errors(Outcome.STALLED).inc()
    provider.attempts(Outcome.CONNECT_FAILED).inc()
    provider.stalls.inc()
    provider.settlements("estimated").inc()
    seen = scrape(registry)
    assert seen.value("aigateway_active_streams", provider="openai") == 1
    assert seen.value("aigateway_provider_errors_total", provider="openai", error_type="stalled") == 1
    assert seen.value("aigateway_attempts_total", provider="openai", result="connect_failed") == 1
    assert seen.value("aigateway_stalls_total", provider="openai") == 1
    assert seen.value("aigateway_stream_settlements_total", provider="openai", source="estimated") == 1
    assert seen.value("aigateway_stalls_total", provider="demo") == 0


def test_every_ending_of_a_request_has_a_cell_of_its_own(registry: Registry) -> None:
    """Bound when it first happens, and the same from then on; none falls on another's series."""
    route = RouteCells(Declarations(registry), "acme", "openai", "gpt-4o")
    assert not scrape(registry).series("aigateway_requests_total")
    cells = {status: route.requests(status) for status in REQUEST_STATUSES}
    assert len(set(map(id, cells.values()))) == len(REQUEST_STATUSES)
    for amount, (status, cell) in enumerate(cells.items(), 1):
        assert route.requests(status) is cell
        cell.inc(amount)
    seen = scrape(registry)
    labels = {"tenant_id": "acme", "provider": "openai", "model": "gpt-4o"}
    for amount, status in enumerate(REQUEST_STATUSES, 1):
        assert seen.value("aigateway_requests_total", **labels, status=status) == amount


def test_every_ending_of_an_attempt_has_a_series(registry: Registry) -> None:
    """Errors and attempts are counted apart, each by its own words."""
    provider = ProviderCells(Declarations(registry), "openai")
    for result in ATTEMPT_RESULTS:
        provider.attempts(result).inc()
    for error in PROVIDER_ERRORS:
        provider.errors(error).inc(2)
    seen = scrape(registry)
    for result in ATTEMPT_RESULTS:
        assert seen.value("aigateway_attempts_total", provider="openai", result=result) == 1
    for error in PROVIDER_ERRORS:
        assert seen.value("aigateway_provider_errors_total", provider="openai", error_type=error) == 2
