"""Every query of the dashboards, asked of a real Prometheus: it parses, and it answers what the panel says."""

import math
import re
import shutil
from collections.abc import Iterator, Mapping

import pytest

from tests.deploy.grafana import as_grafana_asks
from tests.deploy.grafana.as_grafana_asks import ALL, choice, dashboard, labels_of, targets
from tests.deploy.grafana.lint import queries_of
from tests.deploy.grafana.real_prometheus import Prometheus, Sample, running
from tests.deploy.grafana.samples import (
    ADDRESSES,
    BUSY,
    EVERY_S,
    FRESH,
    LATER,
    MODELS,
    NOWHERE,
    PROVIDERS,
    SPAN_S,
    STEP,
    TENANTS,
    openmetrics,
)

TWO = {
    "instance": choice(ADDRESSES),
    "tenant": choice(TENANTS),
    "provider": choice(PROVIDERS),
    "model": choice(MODELS),
}
WINDOW_S = 4 * EVERY_S
"""What ``$__rate_interval`` is at least."""
BUSY_END, LATER_END = BUSY + SPAN_S, LATER + SPAN_S


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus over the samples."""
    if missing := [name for name in ("prometheus", "promtool") if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not on PATH (Debian package prometheus)")
    with running(tmp_path_factory.mktemp("prometheus"), openmetrics()) as server:
        yield server


def substituted(text: str, chosen: Mapping[str, str]) -> str:
    """A query as Grafana sends it while it shows the time of the samples."""
    return as_grafana_asks.substituted(text, chosen, WINDOW_S, SPAN_S)


def query_of(title: str, number: int = 0) -> str:
    """One query of the panel of that title."""
    (panel,) = [each for each in dashboard()["panels"] if each["title"] == title]
    expression: str = panel["targets"][number]["expr"]
    return expression


def is_quiet(samples: list[Sample]) -> bool:
    """Nothing but 0 and NaN."""
    return all(sample.value == 0 or math.isnan(sample.value) for sample in samples)


@pytest.mark.parametrize("chosen", [ALL, TWO], ids=["all", "two"])
@pytest.mark.parametrize("at_s", [BUSY_END, LATER_END], ids=["today", "later"])
def test_every_panel_shows_data_while_gateways_work(prometheus: Prometheus, chosen: dict[str, str], at_s: int) -> None:
    """Each query answers, not only NaN, and with every label that its legend names."""
    wrong = []
    for title, expression, legend in targets():
        samples = prometheus.ask(substituted(expression, chosen), at_s)
        if not any(not math.isnan(sample.value) for sample in samples):
            wrong.append(f"{title}: {samples[:3]} from {expression}")
        labels = labels_of(legend)
        if any(labels - sample.labels.keys() for sample in samples):
            wrong.append(f"{title}: no {labels} in {samples[:3]}")
    assert wrong == []


def test_nothing_is_empty_after_the_first_scrape(prometheus: Prometheus) -> None:
    """Rates are 0 at once; only histograms have nothing to say yet, and service levels, which say "No traffic"."""
    wrong = []
    for title, expression, _ in targets():
        samples = prometheus.ask(substituted(expression, ALL), FRESH + 1)
        silent = any(word in expression for word in ("_bucket", "aigateway_slo:", "ALERTS", "deriv("))
        if not samples and not silent:
            wrong.append(f"{title}: empty, from {expression}")
        if ("rate(" in expression or "increase(" in expression) and not is_quiet(samples):
            wrong.append(f"{title}: {samples[:3]} from {expression}")
    assert wrong == []


def test_no_gateway_is_not_shown_as_0(prometheus: Prometheus) -> None:
    """Where nothing is scraped nothing is claimed."""
    assert [
        title for title, expression, _ in targets() if prometheus.ask(substituted(expression, ALL), NOWHERE) != []
    ] == []


def test_rates_are_what_was_counted(prometheus: Prometheus) -> None:
    """Each series grew by the same amount between scrapes: the sum tells how many series were counted."""
    series = prometheus.ask("count(aigateway_requests_total)", BUSY_END)[0].value
    (total,) = prometheus.ask(substituted(query_of("Request Rate"), ALL), BUSY_END)
    assert total.value == pytest.approx(series * STEP / EVERY_S)
    (cost,) = prometheus.ask(substituted(query_of("Total Cost"), ALL), BUSY_END)
    costs = prometheus.ask("count(aigateway_cost_usd_total)", BUSY_END)[0].value
    assert cost.value == pytest.approx(costs * STEP * 1e-9 * SPAN_S / EVERY_S)


@pytest.mark.parametrize(
    ("choice", "title", "label", "left"),
    [
        ({"tenant": "acme"}, "Cost per Hour by Tenant", "tenant_id", {"acme"}),
        ({"provider": "openai"}, "Circuit Breaker State", "provider", {"openai"}),
        ({"provider": "(openai|backup)"}, "Request Rate by Provider", "provider", {"openai", "backup"}),
        ({"model": r"llama-\\*"}, "First Token by Model (P50/P95)", "model", {"llama-*"}),
        ({"instance": r"10\\.0\\.0\\.2:8080"}, "Memory", "instance", {"10.0.0.2:8080"}),
    ],
    ids=["tenant", "provider", "two providers", "model", "instance"],
)
def test_choices_leave_only_what_was_chosen(
    prometheus: Prometheus, choice: dict[str, str], title: str, label: str, left: set[str]
) -> None:
    """A pattern as a model's name is taken literally."""
    samples = prometheus.ask(substituted(query_of(title), {**ALL, **choice}), BUSY_END)
    assert {sample.labels[label] for sample in samples} == left


def test_a_choice_does_not_empty_what_it_says_nothing_about(prometheus: Prometheus) -> None:
    """Streams are not counted by tenant: choosing one leaves them all."""

    def ask(choice: dict[str, str]) -> list[Sample]:
        return prometheus.ask(substituted(query_of("Client Connections"), {**ALL, **choice}), BUSY_END)

    assert ask({"tenant": "acme", "model": "none"}) == ask({})


def test_other_processes_are_left_out(prometheus: Prometheus) -> None:
    """Prometheus exports the same ``process_*`` names of itself."""
    for title in ("CPU", "Memory"):
        samples = prometheus.ask(substituted(query_of(title), ALL), BUSY_END)
        assert {sample.labels["instance"] for sample in samples} == set(ADDRESSES)


def test_marks_stand_where_something_happened(prometheus: Prometheus) -> None:
    """The firing alert, the start of each gateway in milliseconds, and reloads only where there were some."""
    marks = {a["name"]: substituted(a["expr"], ALL) for a in dashboard()["annotations"]["list"]}
    (alert,) = prometheus.ask(marks["Alerts"], BUSY_END)
    assert alert.labels["alertname"] == "CircuitOpen"
    starts = prometheus.ask(marks["Restarts"], BUSY_END)
    assert {sample.labels["instance"] for sample in starts} == set(ADDRESSES)
    assert all(sample.value > 1e12 for sample in starts)
    assert {s.labels["result"] for s in prometheus.ask(marks["Configuration reloads"], BUSY_END)} == {
        "applied",
        "refused",
    }
    assert prometheus.ask(marks["Configuration reloads"], FRESH + 1) == []


def test_variables_offer_what_there_is(prometheus: Prometheus) -> None:
    """From the first scrape on; a choice narrows what the next variable offers."""
    offered: dict[str, list[str]] = {}
    for variable in dashboard()["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.+\}), (\w+)\)", variable["query"]["query"])
        assert match is not None
        selector = substituted(match[1], {**ALL, "tenant": "acme"})
        offered[variable["name"]] = prometheus.label_values(match[2], selector, FRESH, FRESH + 1)
    assert offered == {
        "instance": list(ADDRESSES),
        "tenant": [*TENANTS, "none"],
        "provider": ["backup", "none", "openai"],
        "model": ["gpt-4o-mini", "llama-*", "other"],
    }


def test_the_forecast_goes_on_as_the_time_shown_went(prometheus: Prometheus) -> None:
    """Spent so far, and as much per second as in the time shown until the budget begins again."""
    (forecast,) = prometheus.ask(substituted(query_of("Budget Forecast at Reset"), ALL), BUSY_END)
    (used,) = prometheus.ask('max(aigateway_budget_usage_ratio{tenant_id="acme"})', BUSY_END)
    (left_s,) = prometheus.ask(f"max(aigateway_budget_reset_timestamp_seconds) - {BUSY_END}", BUSY_END)
    assert forecast.labels == {"tenant_id": "acme"}
    assert forecast.value == pytest.approx(used.value + left_s.value / 3600, rel=0.02)


def test_a_broken_query_is_refused(prometheus: Prometheus) -> None:
    """The tests above could otherwise pass on anything."""
    assert queries_of(dashboard())
    with pytest.raises(Exception, match="parse error"):
        prometheus.ask("sum(rate(x[5m])", BUSY_END)
