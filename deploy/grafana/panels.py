"""A panel and its place on a dashboard, as the JSON that Grafana 10 to 13 loads (classic schema 39)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.grafana.queries import VARIABLES, variables_in

Json = dict[str, Any]
Steps = Sequence[tuple[str, float | None]]
"""Thresholds: a colour, and from which value on it holds (``None``: from the lowest)."""

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
NO_TRAFFIC = "No traffic"
NO_GATEWAY = "No gateway is scraped"
NEUTRAL: Steps = (("blue", None),)
PLAIN: Steps = (("green", None),)
_NAN: Json = {"type": "special", "options": {"match": "null+nan", "result": {"text": NO_TRAFFIC, "index": 100}}}
_ORDER = ("instance", "tenant", "provider", "model")


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel. ``legend`` names its series, ``{{label}}`` standing for a label's value.

    ``instant``: its value at the end of the range shown, instead of a line over it.
    """

    expression: str
    legend: str = ""
    instant: bool = False
    form: str = "time_series"

    def json(self, ref_id: str) -> Json:
        """The query as a panel holds it."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "exemplar": False,
            "expr": self.expression,
            "format": self.form,
            "instant": self.instant,
            "legendFormat": self.legend or "__auto",
            "range": not self.instant,
            "refId": ref_id,
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, without its place on the dashboard; ``width`` counts in 24ths."""

    kind: str
    title: str
    description: str
    targets: tuple[Target, ...] = ()
    width: int = 8
    height: int = 8
    unit: str | None = None
    no_value: str = NO_TRAFFIC
    steps: Steps = PLAIN
    defaults: Mapping[str, Any] = field(default_factory=dict)
    mappings: Sequence[Json] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    transformations: Sequence[Json] = ()

    def sized(self, width: int, height: int) -> "Panel":
        """The same panel in another size."""
        return replace(self, width=width, height=height)

    def linking(self, label: str, *, column: str = "") -> "Panel":
        """With a link on each series that picks its value of ``label``; in a table on the cells of ``column``."""
        target = VARIABLES[label]
        kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", *_ORDER) if name != target)
        value = "${__value.text}" if column else f"${{__field.labels.{label}}}"
        url = f"/d/aigateway?var-{target}={value}&{kept}&${{__url_time_range}}"
        link = {"title": f"Only this {target}", "url": url, "targetBlank": False}
        if column:
            return replace(self, overrides=(*self.overrides, override(column, {"links": [link]})))
        return replace(self, defaults={**self.defaults, "links": [link]})

    def json(self, panel_id: int, x: int, y: int) -> Json:
        """The panel at its place."""
        panel: Json = {
            "id": panel_id,
            "type": self.kind,
            "title": self.title,
            "description": self._described(),
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "options": dict(self.options),
        }
        if self.targets:
            defaults: Json = {
                "unit": self.unit,
                "noValue": self.no_value,
                "mappings": [*self.mappings, _NAN],
                "color": {"mode": "thresholds"},
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"color": color, "value": value} for color, value in self.steps],
                },
                "custom": dict(self.custom),
                **self.defaults,
            }
            panel["datasource"] = DATASOURCE
            panel["fieldConfig"] = {"defaults": defaults, "overrides": list(self.overrides)}
            panel["targets"] = [target.json(chr(ord("A") + i)) for i, target in enumerate(self.targets)]
        if self.transformations:
            panel["transformations"] = list(self.transformations)
        return panel

    def _described(self) -> str:
        """The description, and which of the variables it follows: not every metric has every label."""
        if not self.targets:
            return self.description
        used = set().union(*(variables_in(target.expression) for target in self.targets))
        names = [name for name in _ORDER if name in used]
        return f"{self.description}\n\nFollows: {', '.join(names) or 'no variable'}."


def placed(rows: Iterable[tuple[str, Sequence[Panel]]]) -> list[Json]:
    """Rows of panels as a dashboard holds them: ids from 1 on, left to right, no two on the same spot.

    A row without a title has no heading.
    """
    result: list[Json] = []
    y = 0
    for title, panels in rows:
        if title:
            grid = {"h": 1, "w": 24, "x": 0, "y": y}
            result.append({"id": len(result) + 1, "type": "row", "title": title, "gridPos": grid, "collapsed": False})
            result[-1]["panels"] = []
            y += 1
        x = height = 0
        for panel in panels:
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            result.append(panel.json(len(result) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return result


def override(column: str, properties: Mapping[str, Any]) -> Json:
    """Other properties for one column of a table."""
    matcher = {"id": "byName", "options": column}
    return {"matcher": matcher, "properties": [{"id": name, "value": value} for name, value in properties.items()]}
