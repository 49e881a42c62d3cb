"""The committed dashboards: the promised rows and panels, no fault that their JSON shows, every metric on a panel."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.generate import FOLDER
from tests.deploy.grafana.lint import complaints, metric_names, panels_of, queries_of, truth

Json = dict[str, Any]

RULES = Path(__file__).parents[3] / "deploy/prometheus/rules"
PROMISED = {
    "Overview": ["Request Rate", "P95 Latency", "Total Cost", "Active Streams"],
    "Performance": ["Request Rate by Provider", "Latency by Provider (P50/P95/P99)"],
    "Usage": ["Token Rate (input/output)", "Cost per Hour by Tenant"],
    "Health": ["Cache Hit Ratio", "Rate Limit Hits", "Circuit Breaker State"],
    "Errors": ["Provider Errors", "Budget Usage"],
    "Streams": ["Time to First Token", "Time between Chunks"],
    "Saturation": ["Pool Connections"],
    "SLO": ["Error Budget Left (30 d)"],
}
"""Rows in their order, and the panels with which each begins."""
UNPLOTTED: dict[str, str] = {}
"""Metrics on no panel, each with its reason."""


def load(name: str) -> Json:
    """A committed dashboard."""
    loaded: Json = json.loads((FOLDER / name).read_text("utf-8"))
    return loaded


@pytest.fixture
def main() -> Json:
    """The main dashboard."""
    return load("aigateway.json")


def panel(dashboard: Json, title: str) -> Json:
    """The panel of that title."""
    (found,) = [each for each in dashboard["panels"] if each["title"] == title]
    assert isinstance(found, dict)
    return found


def test_rows_begin_with_the_promised_panels(main: Json) -> None:
    """By exactly these names, in this order."""
    rows: dict[str, list[str]] = {}
    for each in main["panels"]:
        if each["type"] == "row":
            rows[each["title"]] = []
        else:
            rows[list(rows)[-1]].append(each["title"])
    assert list(rows) == list(PROMISED)
    assert {row: titles[: len(PROMISED[row])] for row, titles in rows.items()} == PROMISED


@pytest.mark.parametrize("name", ["aigateway.json", "aigateway-runbook.json"])
def test_lint_finds_nothing(name: str) -> None:
    """See tests/deploy/grafana/lint.py for what it looks for."""
    assert complaints(load(name), truth()) == []


def test_the_variables_are_there_and_narrow_each_other(main: Json) -> None:
    """Each offers only what the ones before it leave."""
    queries = {v["name"]: v["query"] for v in main["templating"]["list"]}
    assert list(queries) == ["datasource", "instance", "tenant", "provider", "model"]
    narrowed = {n: re.findall(r"\$(\w+)", q["query"]) for n, q in queries.items() if isinstance(q, dict)}
    assert narrowed == {
        "instance": [],
        "tenant": ["instance"],
        "provider": ["instance", "tenant"],
        "model": ["instance", "tenant", "provider"],
    }


def test_circuits_are_words_and_colours_on_a_time_line(main: Json) -> None:
    """Closed is green, half-open yellow, open red."""
    circuits = panel(main, "Circuit Breaker State")
    assert circuits["type"] == "state-timeline"
    options = circuits["fieldConfig"]["defaults"]["mappings"][0]["options"]
    assert {value: (shown["text"], shown["color"]) for value, shown in options.items()} == {
        "0": ("Closed", "green"),
        "1": ("Half-Open", "yellow"),
        "2": ("Open", "red"),
    }


def test_alerts_restarts_and_reloads_are_marked(main: Json) -> None:
    """On the time axis of every panel."""
    marks = {a["name"]: metric_names(a["expr"], truth().metrics) for a in main["annotations"]["list"]}
    assert list(marks) == ["Alerts", "Restarts", "Configuration reloads"]
    assert "process_start_time_seconds" in marks["Restarts"]
    assert marks["Configuration reloads"] == {"aigateway_config_reloads_total"}


def test_every_metric_is_on_a_panel(main: Json) -> None:
    """Or is listed here as left out, for a reason."""
    metrics = truth().metrics
    plotted = set().union(*(metric_names(expression, metrics) for _, expression in queries_of(main)))
    assert sorted(metrics.keys() - plotted) == sorted(UNPLOTTED)


def test_links_lead_to_dashboards_that_exist() -> None:
    """A link names the other dashboard by its uid."""
    loaded = [load(path.name) for path in FOLDER.iterdir()]
    linked = {uid for each in loaded for uid in re.findall(r"/d/([\w-]+)", json.dumps(each))}
    assert linked
    assert linked <= {each["uid"] for each in loaded}
    assert len({each["uid"] for each in loaded}) == len(loaded)


def test_the_runbook_has_a_panel_for_every_alert() -> None:
    """It is there when the rest of the documentation is out of reach."""
    rules = [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    titles = {each["title"] for each in panels_of(load("aigateway-runbook.json"))}
    assert len(alerts) > 10
    assert sorted(alerts - titles) == []


def _query(title: str, old: str, new: str) -> Callable[[Json], None]:
    """A fault: something else in the first query of a panel."""

    def break_it(dashboard: Json) -> None:
        target = panel(dashboard, title)["targets"][0]
        assert old in target["expr"]
        target["expr"] = target["expr"].replace(old, new)

    return break_it


def _remove(title: str, key: str) -> Callable[[Json], None]:
    """A fault: something that a panel lacks."""

    def break_it(dashboard: Json) -> None:
        broken = panel(dashboard, title)
        if key in broken:
            del broken[key]
        else:
            del broken["fieldConfig"]["defaults"][key]

    return break_it


def _move(title: str, **grid: int) -> Callable[[Json], None]:
    """A fault: a panel that stands elsewhere."""
    return lambda dashboard: panel(dashboard, title)["gridPos"].update(grid)


FAULTS: dict[str, tuple[Callable[[Json], None], str]] = {
    "metric": (_query("Stalls", "stalls_total", "stall_total"), "aigateway_stall_total is no metric"),
    "label": (_query("Stalls", "by (provider)", "by (supplier)"), "supplier is no label"),
    "matcher": (_query("Stalls", "provider=~", "supplier=~"), "aigateway_stalls_total has no label supplier"),
    "word": (_query("Unsuccessful Requests", "success", "ok"), "status of aigateway_requests_total is never ok"),
    "bound": (_query("First Token within 2 s", 'le="2.0"', 'le="2"'), "has no bound 2"),
    "ending": (_query("Time between Chunks", "_bucket{", "{"), "is a histogram"),
    "of a counter": (_query("Stalls", "stalls_total{", "stalls_total_bucket{"), "is no metric"),
    "variable": (_query("Stalls", "$provider", "$supplier"), "$supplier is no variable"),
    "unfollowed": (_query("Stalls", ',provider=~"$provider"', ""), "does not follow the variable provider"),
    "bare": (_query("Active Streams", '{instance=~"$instance"}', ""), "aigateway_instance_info is no recorded series"),
    "window": (_query("Stalls", "$__rate_interval", "5m"), "looks through a fixed window"),
    "unrated": (_query("Stalls", "rate(", "delta("), "only ever grows"),
    "legend": (
        lambda d: panel(d, "Stalls")["targets"][0].update(legendFormat="{{model}}"),
        "the legend names ['model']",
    ),
    "overlap": (_move("P95 Latency", x=2), "P95 Latency: lies on Request Rate"),
    "edge": (_move("P95 Time to First Token", x=22), "lies beyond the edge"),
    "id": (lambda d: panel(d, "Stalls").update(id=1), "an id is used twice"),
    "same title": (lambda d: panel(d, "Stalls").update(title="Memory"), "the title 'Memory' is used twice"),
    "no title": (lambda d: panel(d, "Stalls").update(title=""), "has no title"),
    "description": (lambda d: panel(d, "Stalls").update(description="Stalls."), "has no description"),
    "unit": (_remove("Stalls", "unit"), "has no unit"),
    "no value": (_remove("Stalls", "noValue"), "does not say what nothing means"),
    "nan": (lambda d: panel(d, "Stalls")["fieldConfig"]["defaults"].update(mappings=[]), "shows NaN as it is"),
    "datasource": (
        lambda d: panel(d, "Stalls")["targets"][0].update(datasource={"type": "prometheus", "uid": "prometheus"}),
        "does not use the datasource variable",
    ),
    "thresholds": (
        lambda d: panel(d, "Stalls")["fieldConfig"]["defaults"]["thresholds"].update(steps=[]),
        "has no threshold",
    ),
    "single": (lambda d: d["templating"]["list"][1].update(multi=False), "variable instance: is not multi"),
    "editable": (lambda d: d.update(editable=True), "the dashboard is editable"),
    "annotation": (lambda d: d["annotations"]["list"][0].update(datasource=None), "annotation Alerts: its datasource"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_lint_finds_every_fault(main: Json, fault: str) -> None:
    """A dashboard that was fine and then broken in one place."""
    broken = copy.deepcopy(main)
    break_it, complaint = FAULTS[fault]
    break_it(broken)
    assert any(complaint in found for found in complaints(broken, truth())), complaints(broken, truth())
