"""What is wrong with a dashboard that can be told from its JSON alone.

Rules of grafana/dashboard-linter (template datasource, title, description, units, rate interval, counters rated)
and our own: no metric, label, label value or variable that does not exist; nothing on top of something else.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aioprometheus.collectors import Registry

from deploy.grafana.series import LATER, Series, known
from deploy.prometheus.generate import recorded
from gateway.metrics.collectors import BoundHistogram
from gateway.metrics.declarations import Declarations

Json = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
BUILT_IN = {"__all", "__rate_interval", "__range", "__url_time_range", "__field", "__value"}
"""Variables that Grafana itself fills in."""
UID_LABELS = {"instance", "job"}
"""Labels that the scrape adds."""
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
_BARE = re.compile(r"\b(?:aigateway_[\w:]*|process_\w+)(?![\w:{])")
_ENDING = re.compile(r"_(bucket|count|sum)$")


@dataclass(frozen=True, slots=True)
class Truth:
    """What exists: metrics, the closed vocabularies of their labels, bounds of histograms, recorded series."""

    metrics: Mapping[str, Series]
    words: Mapping[str, Mapping[str, tuple[str, ...]]]
    bounds: Mapping[str, tuple[str, ...]]
    recorded: frozenset[str]


def truth() -> Truth:
    """The gateway's and Prometheus' side, read from the code that makes the series."""
    families = Declarations(Registry()).families()
    return Truth(
        known(),
        {family.name: family.words for family in families},
        {f.name: (*map(str, f.bounds), "+Inf") for f in families if isinstance(f, BoundHistogram)},
        frozenset(recorded()),
    )


def panels_of(dashboard: Json) -> list[Json]:
    """The panels that show something: all but the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries_of(dashboard: Json) -> list[tuple[str, str]]:
    """Every PromQL expression, with the name of what asks it."""
    found = [(panel["title"], target["expr"]) for panel in panels_of(dashboard) for target in panel.get("targets", ())]
    return found + [(f"annotation {a['name']}", a["expr"]) for a in dashboard["annotations"]["list"]]


def metric_names(text: str, metrics: Mapping[str, Series]) -> set[str]:
    """The declared metrics that an expression reads, histograms without the ending of their series."""
    names = {match[1] for match in _SELECTOR.finditer(text)} | set(_BARE.findall(text))
    return {name if name in metrics else _ENDING.sub("", name) for name in names} & metrics.keys()


def complaints(dashboard: Json, facts: Truth) -> list[str]:
    """Everything that is wrong with a dashboard."""
    found = list(_frame(dashboard))
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in dashboard["panels"]:
        name = panel.get("title") or f"panel {panel.get('id')}"
        found += [f"{name}: {text}" for text in _panel(panel)]
    for name, expression in queries_of(dashboard):
        found += [f"{name}: {text}" for text in _query(expression, facts)]
    for variable in dashboard["templating"]["list"]:
        query = variable["query"]
        if isinstance(query, dict):
            found += [f"variable {variable['name']}: {text}" for text in _query(query["query"], facts, rated=False)]
    for name in sorted(_variables(dashboard) - variables - BUILT_IN):
        found.append(f"${name} is no variable")
    return found


def _frame(dashboard: Json) -> Iterator[str]:
    if dashboard["editable"] is not False:
        yield "the dashboard is editable: changes would be lost"
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) < len(ids):
        yield "an id is used twice"
    titles = [panel["title"] for panel in dashboard["panels"]]
    yield from (f"the title {title!r} is used twice" for title in sorted({t for t in titles if titles.count(t) > 1}))
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        if not (grid["x"] >= 0 and grid["x"] + grid["w"] <= 24 and min(grid["w"], grid["h"]) > 0):
            yield f"{panel['title']}: lies beyond the edge"
        spots = [
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        for other in sorted({taken[spot] for spot in spots if spot in taken}):
            yield f"{panel['title']}: lies on {other}"
        taken.update(dict.fromkeys(spots, panel["title"]))
    for annotation in dashboard["annotations"]["list"]:
        if annotation["datasource"] != DATASOURCE or annotation["expr"] != annotation["target"]["expr"]:
            yield f"annotation {annotation['name']}: its datasource or target differs"
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query" and not (
            variable["datasource"] == DATASOURCE
            and variable["multi"]
            and variable["includeAll"]
            and variable["allValue"] == ".*"
            and variable["refresh"] == 2
        ):
            yield f"variable {variable['name']}: is not multi with All, or not read again with the time range"


def _panel(panel: Json) -> Iterator[str]:
    if not panel.get("title"):
        yield "has no title"
    if panel["type"] == "row":
        return
    if len(panel.get("description", "")) < 20:
        yield "has no description"
    if panel["type"] == "text":
        if not panel["options"]["content"].strip():
            yield "is empty"
        return
    defaults = panel["fieldConfig"]["defaults"]
    if not defaults.get("unit"):
        yield "has no unit"
    if not defaults.get("noValue") or defaults["noValue"] == "No data":
        yield "does not say what nothing means"
    if not any(m["type"] == "special" and m["options"]["match"] == "null+nan" for m in defaults["mappings"]):
        yield "shows NaN as it is"
    if not defaults["thresholds"]["steps"] or defaults["thresholds"]["steps"][0]["value"] is not None:
        yield "has no threshold that holds from the lowest value"
    if panel["datasource"] != DATASOURCE or any(t["datasource"] != DATASOURCE for t in panel["targets"]):
        yield "does not use the datasource variable"
    refs = [target["refId"] for target in panel["targets"]]
    if not refs or len(set(refs)) < len(refs):
        yield "has no query, or two of one name"
    for target in panel["targets"]:
        labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        kept = set(re.split(r"[\s,]+", " ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"]))))
        if lost := labels - kept - UID_LABELS - {"slo"}:
            yield f"the legend names {sorted(lost)}, which the query does not keep"


def _query(expression: str, facts: Truth, *, rated: bool = True) -> Iterator[str]:
    if re.search(r"\[\d", expression):
        yield "looks through a fixed window: use $__rate_interval or $__range"
    labels = UID_LABELS | {"le"}
    for match in _SELECTOR.finditer(expression):
        name = match[1]
        metric, base = facts.metrics.get(name), name
        if metric is None and _ENDING.search(name):
            base = _ENDING.sub("", name)
            metric = facts.metrics.get(base)
            if metric is not None and metric.kind != "histogram":
                metric = None
        if name == "ALERTS":
            return
        if metric is None:
            yield f"{name} is no metric"
            continue
        if metric.kind == "histogram" and name == base:
            yield f"{name} is a histogram: name its buckets, count or sum"
        labels |= set(metric.labels)
        yield from _matchers(match[2], base, metric, facts)
        if rated:
            yield from _unfollowed(match[2], base, metric)
        before = expression[: match.start()]
        if rated and metric.kind != "gauge" and not before.endswith(("rate(", "increase(", "0 * ")):
            yield f"{name} only ever grows: take its rate or increase"
    for name in _BARE.findall(expression):
        if name not in facts.recorded:
            yield f"{name} is no recorded series, and a metric needs a selector with instance"
    used = set(re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on) \(([^)]*)\)", expression))))
    yield from (f"{label} is no label of these metrics" for label in sorted(used - labels))


def _matchers(inner: str, base: str, metric: Series, facts: Truth) -> Iterator[str]:
    matchers = _MATCHER.findall(inner)
    for label, _, value in matchers:
        if label not in {*metric.labels, *UID_LABELS, "le"}:
            yield f"{base} has no label {label}"
        if label == "le" and base not in LATER and value not in facts.bounds[base]:
            yield f"{base} has no bound {value}"
        if (words := facts.words.get(base, {}).get(label)) and "$" not in value:
            yield from (f"{label} of {base} is never {word}" for word in value.split("|") if word not in words)


def _unfollowed(inner: str, base: str, metric: Series) -> Iterator[str]:
    """Variables whose label the metric has, and that the selector does not use."""
    given = {label: value for label, _, value in _MATCHER.findall(inner)}
    wanted = {"instance": "instance", "tenant_id": "tenant", "provider": "provider", "model": "model"}
    for label in ("instance", *metric.labels):
        if label in wanted and given.get(label) != f"${wanted[label]}":
            yield f"{base} does not follow the variable {wanted[label]}"


def _variables(node: Any) -> set[str]:
    """The variables that any string below ``node`` names."""
    if isinstance(node, dict):
        return set().union(*map(_variables, node.values()))
    if isinstance(node, list):
        return set().union(*map(_variables, node))
    return set(re.findall(r"\$\{?(\w+)", node)) if isinstance(node, str) else set()
