"""The kinds of panel, with the options that all panels of a kind share.

Names and values are those of Grafana's own types (``@grafana/schema``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.grafana.panels import Panel, Target, override
from deploy.grafana.queries import quantile


def stat(title: str, description: str, expression: str, unit: str, **more: Any) -> Panel:
    """One large number, or one per series, with its course behind it. ``instant=True``: the number alone."""
    instant, legend = more.pop("instant", False), more.pop("legend", title)
    return Panel(
        "stat",
        title,
        description,
        (Target(expression, legend, instant),),
        unit=unit,
        options={
            "colorMode": "value",
            "graphMode": "none" if instant else "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            # "last", not "lastNotNull": once traffic stops the number of an hour ago must not stay
            "reduceOptions": {"calcs": ["last"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        },
        **{"width": 4, "height": 4, **more},
    )


def lines(title: str, description: str, targets: Mapping[str, str], unit: str, **more: Any) -> Panel:
    """Lines over time; ``targets`` is legend -> query. ``stacked=True``: on top of each other, as areas.

    ``limits=True`` draws the thresholds.
    """
    stacked, limits = more.pop("stacked", False), more.pop("limits", False)
    more["defaults"] = {"color": {"mode": "palette-classic"}, "min": 0, **more.get("defaults", {})}
    return Panel(
        "timeseries",
        title,
        description,
        tuple(Target(expression, legend) for legend, expression in targets.items()),
        unit=unit,
        custom={
            "axisPlacement": "auto",
            "drawStyle": "line",
            "fillOpacity": 35 if stacked else 8,
            "lineInterpolation": "linear",
            "lineWidth": 1,
            # a lone sample, as just after a start, makes no line
            "showPoints": "auto",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
            "thresholdsStyle": {"mode": "line" if limits else "off"},
        },
        options={
            "legend": {
                "calcs": ["lastNotNull", "max"],
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                # many series stay at 0: those that move come first
                "sortBy": "Max",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        **more,
    )


def heat(title: str, description: str, expression: str, unit: str, **more: Any) -> Panel:
    """A histogram over time: darker where more observations fell."""
    return Panel(
        "heatmap",
        title,
        description,
        (Target(expression, "{{le}}", form="heatmap"),),
        unit=unit,
        custom={"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}},
        options={
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": "short"},
            "color": {
                "exponent": 0.5,
                "fill": "dark-orange",
                "mode": "scheme",
                "reverse": False,
                "scale": "exponential",
                "scheme": "Oranges",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        },
        **more,
    )


def states(
    title: str, description: str, targets: Mapping[str, str], words: Sequence[tuple[float, str, str]], **more: Any
) -> Panel:
    """A band per series, coloured by its state; ``words`` are (value, word, colour)."""
    mapping = {f"{value:g}": {"color": color, "index": i, "text": text} for i, (value, text, color) in enumerate(words)}
    return Panel(
        "state-timeline",
        title,
        description,
        tuple(Target(expression, legend) for legend, expression in targets.items()),
        unit="none",
        steps=[(color, None if i == 0 else value) for i, (value, _, color) in enumerate(sorted(words))],
        mappings=({"type": "value", "options": mapping},),
        custom={"fillOpacity": 80, "lineWidth": 0},
        options={
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        **more,
    )


def bars(title: str, description: str, expression: str, legend: str, unit: str, **more: Any) -> Panel:
    """A horizontal bar per series: its value now, on a scale from 0 to ``top``."""
    more["defaults"] = {"min": 0, "max": more.pop("top", 1), **more.get("defaults", {})}
    return Panel(
        "bargauge",
        title,
        description,
        (Target(expression, legend, instant=True),),
        unit=unit,
        options={
            "displayMode": "basic",
            "maxVizHeight": 300,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["last"], "fields": "", "values": False},
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "color",
        },
        **more,
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, its query and the unit of what that yields."""

    title: str
    expression: str
    unit: str
    properties: Mapping[str, Any] = field(default_factory=dict)


def table(title: str, description: str, keys: Mapping[str, str], columns: Sequence[Column], **more: Any) -> Panel:
    """A line per value of some labels, a column per query; ``keys`` is label -> heading."""
    several = len(columns) > 1
    values = [f"Value #{chr(ord('A') + i)}" if several else "Value" for i in range(len(columns))]
    shown = [*keys, *values]
    names = {**keys, **dict(zip(values, (column.title for column in columns), strict=True))}
    organize = {
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True},
            "includeByName": {},
            "indexByName": {name: i for i, name in enumerate(shown)},
            "renameByName": names,
        },
    }
    units = [override(column.title, {"unit": column.unit, **column.properties}) for column in columns]
    return Panel(
        "table",
        title,
        description,
        tuple(Target(column.expression, "", instant=True, form="table") for column in columns),
        unit="none",
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False},
        overrides=[*units, *more.pop("overrides", ())],
        options={"cellHeight": "sm", "showHeader": True},
        transformations=[*([{"id": "merge", "options": {}}] if several else []), organize],
        **more,
    )


def text(title: str, description: str, markdown: str, **more: Any) -> Panel:
    """Words, in Markdown."""
    return Panel("text", title, description, options={"content": markdown, "mode": "markdown"}, **more)


def spread(name: str, *by: str, quantiles: tuple[int, ...] = (50, 99)) -> dict[str, str]:
    """Quantiles of a histogram by legend, the labels of ``by`` first."""
    head = "".join(f"{{{{{label}}}}} " for label in by)
    return {f"{head}P{percent}": quantile(percent / 100, name, *by) for percent in quantiles}
