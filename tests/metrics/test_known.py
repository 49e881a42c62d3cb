"""Series at 0 from the first scrape: all that a configuration makes possible, up to a bound."""

from aioprometheus.collectors import Registry

from gateway.metrics import Metrics
from gateway.metrics.collectors import BoundGauge
from gateway.metrics.declarations import (
    FALLBACK_REASONS,
    PROVIDER_ERRORS,
    REQUEST_STATUSES,
    STORE_OPS,
    TRANSITIONS,
    Declarations,
)
from gateway.metrics.known import MAX_KNOWN_SERIES, Configured, bind_known_series
from tests.metrics.text_format import Exposition, read_exposition

BUDGETS = [family.name for family in Declarations(Registry()).budgets]


def first_scrape(tenants: int = 2, models: int = 2, providers: int = 2) -> Exposition:
    """What Prometheus sees before any request."""
    names = (
        [f"{kind}{n}" for n in range(count)] for kind, count in zip("tmp", (tenants, models, providers), strict=True)
    )
    return read_exposition(Metrics("i", "v", *names).render()[0])


def test_every_metric_has_a_series_at_zero() -> None:
    """No panel of a small gateway is empty, and `rate()` sees the first event; budgets appear when they are read."""
    seen = first_scrape()
    assert set(BUDGETS) < seen.types.keys()
    for name, kind in seen.types.items():
        if name in BUDGETS:
            assert not seen.series(name), name
            continue
        series = seen.series(f"{name}_count" if kind == "histogram" else name)
        assert series, name
    ours = {series: value for series, value in seen.samples.items() if series[0].startswith("aigateway_")}
    assert {series[0] for series, value in ours.items() if value} == {"aigateway_instance_info"}


def test_every_status_exists_where_it_can_happen() -> None:
    """Refusals name no provider, endings of attempts name one, and every status is somewhere."""
    series = first_scrape().series("aigateway_requests_total")
    assert {labels["status"] for labels in series} == set(map(str, REQUEST_STATUSES))
    by_provider = {
        provider: {labels["status"] for labels in series if labels["provider"] == provider}
        for provider in ("none", "p0")
    }
    assert "success" in by_provider["p0"] and "success" not in by_provider["none"]
    assert "circuit_open" in by_provider["none"] and "circuit_open" not in by_provider["p0"]
    assert {labels["tenant_id"] for labels in series if labels["status"] == "unauthorized"} == {"none"}


def test_every_error_of_every_provider_exists() -> None:
    """The alert on provider errors must see the first one."""
    series = first_scrape().series("aigateway_provider_errors_total")
    assert {(labels["provider"], labels["error_type"]) for labels in series} == {
        (provider, str(error)) for provider in ("p0", "p1") for error in PROVIDER_ERRORS
    }


def test_only_pairs_that_are_routed_exist() -> None:
    """A model that a provider does not serve has no series there."""
    metrics = Metrics("i", "v", ["t"], ["a", "b"], ["p", "q"], targets=[("p", "a"), ("q", "b"), ("p", "a")])
    series = read_exposition(metrics.render()[0]).series("aigateway_cost_usd_total")
    assert sorted((labels["provider"], labels["model"]) for labels in series) == [("p", "a"), ("q", "b")]


def test_every_change_of_a_circuit_exists() -> None:
    """Of every provider, the legal ones and no others."""
    series = first_scrape().series("aigateway_circuit_breaker_transitions_total")
    assert {(labels["provider"], labels["to"], labels["reason"]) for labels in series} == {
        (provider, *change) for provider in ("p0", "p1") for change in TRANSITIONS
    }


def test_only_moves_between_providers_of_one_model_exist() -> None:
    """Both ways, for every reason; a provider that has a model for itself has nobody to turn to."""
    pairs = [("p", "a"), ("q", "a"), ("q", "b"), ("r", "b"), ("p", "a"), ("s", "c")]
    assert set(Configured(("t",), ("a", "b", "c"), ("p", "q", "r", "s"), tuple(pairs)).moves) == {
        ("p", "q"),
        ("q", "p"),
        ("q", "r"),
        ("r", "q"),
    }
    metrics = Metrics("i", "v", ["t"], ["a", "b", "c"], ["p", "q", "r", "s"], targets=pairs)
    series = read_exposition(metrics.render()[0]).series("aigateway_fallbacks_total")
    assert len(series) == 4 * len(FALLBACK_REASONS)
    assert {(labels["from"], labels["to"]) for labels in series} == {("p", "q"), ("q", "p"), ("q", "r"), ("r", "q")}


def test_only_what_a_store_is_asked_exists() -> None:
    """Each store with its own operations; of those that may be up the one that is always there."""
    seen = first_scrape()
    series = seen.series("aigateway_store_seconds_count")
    assert {(labels["store"], labels["op"]) for labels in series} == set(STORE_OPS)
    assert seen.series("aigateway_store_up") == [{"store": "database"}]


def test_known_series_are_bounded() -> None:
    """A large configuration starts with the bound's number of lines, gauges and the smaller sets first."""
    seen = first_scrape(tenants=100, models=40, providers=4)
    gauges = sum(name in seen.types and seen.types[name] == "gauge" for name, _ in seen.samples)
    others = len(seen.samples) - gauges - 1  # the process's CPU time
    assert MAX_KNOWN_SERIES - 1 <= others <= MAX_KNOWN_SERIES
    assert len(seen.series("aigateway_active_streams")) == 4
    assert len(seen.series("aigateway_pool_connections")) == 8
    assert len(seen.series("aigateway_attempts_total")) > 4
    assert len(seen.series("aigateway_token_details_total")) == 40 * 4 * 3


def test_metric_without_a_known_label_set_has_no_series() -> None:
    """Neither configuration nor vocabulary says which instances there are: nothing is invented."""
    declared = Declarations(Registry())
    bind_known_series(declared, Configured(("t",), ("m",), ("p",), (("p", "m"),)))
    assert not declared.instance_info.cells()


def test_newly_declared_metric_needs_no_second_line() -> None:
    """Its series follow from its labels and words alone."""
    registry = Registry()
    declared = Declarations(registry)
    later = BoundGauge(registry, "later", "Later.", ("tenant_id", "state"), words={"state": ("on", "off")})
    by_model = BoundGauge(registry, "by_model", "By model.", ("model",))
    vars(declared).update(later=later, by_model=by_model)
    bind_known_series(declared, Configured(("t", "u"), ("m",), ("p",), (("p", "m"),)))
    assert set(later.cells()) == {("t", "on"), ("t", "off"), ("u", "on"), ("u", "off")}
    assert set(by_model.cells()) == {("m",)}
