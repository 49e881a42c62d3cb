"""One panel drawn with matplotlib, in the colours of Grafana's dark theme."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.grafana.answers import Json, Series
from deploy.grafana.canvas import BORDER, CLASSIC, FAINT, GRID, NAMED, PANEL, TEXT, Place
from deploy.grafana.units import digits, written

ORANGES = LinearSegmentedColormap.from_list("oranges", [PANEL, "#7f2704", "#d94801", "#fd8d3c", "#fdd0a2", "#fff5eb"])
LINE_PX, TITLE_PX, PAD_PX = 15, 26, 10
LEGEND_LINES = 4
"""More series than these are counted in the last line."""
FEW = 6
"""So many lines can be filled below."""


def draw(place: Place, panel: Json, answers: Sequence[Sequence[Series]], start_s: float, end_s: float) -> None:
    """Draw a panel with what its queries were answered, one list of series per query.

    Raises:
        KeyError: it is of a kind, or has a unit, that is not drawn yet: add it here, or to ``units``.
    """
    axes = place.figure.add_axes(place.box(0, 0, 0, 0))
    axes.set(facecolor=PANEL, xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=BORDER, linewidth=0.8)
    place.text(PAD_PX, TITLE_PX / 2 + 1, panel["title"], fontsize=9)
    _KINDS[panel["type"]](place, panel, answers, (start_s, end_s))


def _nothing(place: Place, panel: Json) -> None:
    words = panel["fieldConfig"]["defaults"]["noValue"]
    place.text(place.width / 2, (place.height + TITLE_PX) / 2, words, ha="center", color=FAINT, fontsize=11)


def _color_at(defaults: Json, value: float) -> str:
    """The colour of the threshold that a value has reached."""
    color = "green"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return NAMED[color]


def _clock(axes: Axes, place: Place, shown: tuple[float, float]) -> None:
    start_s, end_s = shown
    span_s = end_s - start_s
    every_s = next((s for s in (30, 60, 120, 300, 900, 3600) if span_s / s <= place.width / 70), 7200)
    ticks = range(math.ceil(start_s / every_s) * every_s, int(end_s) + 1, every_s)
    form = "%H:%M:%S" if every_s < 60 else "%H:%M"
    axes.set_xticks(ticks, [datetime.fromtimestamp(t, UTC).strftime(form) for t in ticks])
    axes.set_xlim(start_s, end_s)


def _stat(place: Place, panel: Json, answers: Sequence[Sequence[Series]], shown: tuple[float, float]) -> None:
    defaults, series = panel["fieldConfig"]["defaults"], answers[0]
    if not series:
        return _nothing(place, panel)
    height = (place.height - TITLE_PX) / len(series)
    for number, one in enumerate(series):
        top = TITLE_PX + number * height
        color = _color_at(defaults, one.last)
        if panel["options"]["graphMode"] == "area" and len(one.values) > 1:
            axes = place.axes(1, top + height * 0.5, 1, place.height - top - height + 1)
            axes.set(xticks=[], yticks=[], xlim=shown)
            values = np.array(one.values)
            low = min(0.0, float(np.nanmin(values))) if not np.isnan(values).all() else 0.0
            axes.fill_between(one.times_s, values, low, color=color, alpha=0.18, linewidth=0)
            axes.plot(one.times_s, values, color=color, linewidth=1)
        text = written(one.last, defaults["unit"], decimals=defaults.get("decimals"))
        if len(series) > 1:
            place.text(PAD_PX, top + 8, one.name, fontsize=9)
        place.text(place.width / 2, top + height * 0.36, text, ha="center", fontsize=20, weight="bold", color=color)
    return None


def _lines(place: Place, panel: Json, answers: Sequence[Sequence[Series]], shown: tuple[float, float]) -> None:
    series = [one for answer in answers for one in answer]
    if not series:
        return _nothing(place, panel)
    defaults = panel["fieldConfig"]["defaults"]
    own = {
        o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]}
        for o in panel["fieldConfig"]["overrides"]
    }
    colors = {id(one): CLASSIC[i % len(CLASSIC)] for i, one in enumerate(series)}
    by_height = sorted(series, key=lambda one: -_most(one))
    rows = min(len(series), LEGEND_LINES)
    axes = place.axes(58, TITLE_PX + 6, 14, 26 + (rows + 1) * LINE_PX)
    right = None
    if defaults["custom"]["stacking"]["mode"] == "normal":
        _stack(axes, series, colors)
    else:
        for one in series:
            target = axes
            if own.get(one.name, {}).get("custom.axisPlacement") == "right":
                # its scale stands in the legend's unit; a second one beside the lines would crowd a small panel
                right = target = right or axes.twinx()
                right.set_yticks([])
                for spine in right.spines.values():
                    spine.set_visible(False)
            alone = len([v for v in one.values if not math.isnan(v)]) == 1
            target.plot(
                one.times_s, one.values, color=colors[id(one)], linewidth=1.1, marker="o" if alone else "", ms=2
            )
            if len(series) <= FEW:
                target.fill_between(one.times_s, one.values, 0, color=colors[id(one)], alpha=0.08, linewidth=0)
            if target is right:
                right.set_ylim(0, 1.1 * _most(one) or 1)
    if defaults["custom"]["thresholdsStyle"]["mode"] == "line":
        for step in defaults["thresholds"]["steps"][1:]:
            axes.axhline(step["value"], color=NAMED[step["color"]], linewidth=0.8, linestyle=(0, (5, 4)))
    _clock(axes, place, shown)
    axes.set_ylim(0, defaults.get("max") or (axes.get_ylim()[1] if _most(by_height[0]) > 0 else 1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, defaults["unit"])))
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    _legend(place, [(one, colors[id(one)], own.get(one.name, {}).get("unit", defaults["unit"])) for one in by_height])
    return None


def _overrides(panel: Json) -> dict[str, Json]:
    """The properties that a series or a column has of its own, by its name."""
    return {
        each["matcher"]["options"]: {p["id"]: p["value"] for p in each["properties"]}
        for each in panel["fieldConfig"]["overrides"]
    }


def _most(one: Series) -> float:
    return max((value for value in one.values if math.isfinite(value)), default=0.0)


def _stack(axes: Axes, series: Sequence[Series], colors: Mapping[int, str]) -> None:
    times = sorted({at_s for one in series for at_s in one.times_s})
    below = np.zeros(len(times))
    for one in series:
        found = dict(zip(one.times_s, one.values, strict=True))
        above = below + np.nan_to_num(np.array([found.get(at_s, 0.0) for at_s in times]))
        axes.fill_between(times, below, above, color=colors[id(one)], alpha=0.35, linewidth=0)
        axes.plot(times, np.where(above > below, above, np.nan), color=colors[id(one)], linewidth=1.1)
        below = above


def _legend(place: Place, entries: Sequence[tuple[Series, str, str]]) -> None:
    """Names with the last value and the largest one; the last line counts those there is no room for."""
    rows = min(len(entries), LEGEND_LINES)
    top = place.height - 8 - rows * LINE_PX
    place.text(place.width - 96, top - LINE_PX / 2, "Last *", fontsize=7, color=NAMED["blue"], ha="right")
    place.text(place.width - PAD_PX, top - LINE_PX / 2, "Max", fontsize=7, color=NAMED["blue"], ha="right")
    hidden = len(entries) - rows + 1 if len(entries) > rows else 0
    for number, (one, color, unit) in enumerate(entries[: rows - 1 if hidden else rows]):
        y = top + (number + 0.5) * LINE_PX
        room = int((place.width - 190) / 5.4)
        name = one.name if len(one.name) <= room else one.name[: room - 1] + "…"
        place.text(PAD_PX, y, "━", color=color, fontsize=9, weight="bold")
        place.text(PAD_PX + 16, y, name, fontsize=7.5)
        numbers = [value for value in one.values if not math.isnan(value)]
        for x, value in ((96, numbers[-1] if numbers else math.nan), (PAD_PX, max(numbers, default=math.nan))):
            place.text(place.width - x, y, "" if math.isnan(value) else written(value, unit), fontsize=7.5, ha="right")
    if hidden:
        place.text(PAD_PX + 16, top + (rows - 0.5) * LINE_PX, f"and {hidden} more", fontsize=7.5, color=FAINT)


def _heat(place: Place, panel: Json, answers: Sequence[Sequence[Series]], shown: tuple[float, float]) -> None:
    series = sorted(answers[0], key=lambda one: float(one.labels["le"]))
    times = sorted({at_s for one in series for at_s in one.times_s})
    if len(times) < 2:
        return _nothing(place, panel)
    column = {at_s: i for i, at_s in enumerate(times)}
    below = np.zeros((len(series), len(times)))
    for row, one in enumerate(series):
        for at_s, value in zip(one.times_s, one.values, strict=True):
            below[row, column[at_s]] = value
    counts = np.clip(np.diff(below, axis=0, prepend=np.zeros((1, len(times)))), 0, None)
    used = np.flatnonzero(counts.sum(axis=1) > 1e-9)
    if not len(used):
        return _nothing(place, panel)
    first, last = max(0, used[0] - 1), min(len(series), used[-1] + 2)
    axes = place.axes(58, TITLE_PX + 6, 14, 28)
    step = (times[1] - times[0]) / 2
    edges = [*(at_s - step for at_s in times), times[-1] + step]
    shaded = np.ma.masked_less(counts[first:last], 1e-9)
    axes.pcolormesh(edges, np.arange(first, last + 1), shaded, cmap=ORANGES, norm=PowerNorm(0.5, vmin=0))
    bounds = [float(one.labels["le"]) for one in series]
    ticks = range(first, last, max(1, math.ceil((last - first) / 9)))
    unit = panel["options"]["yAxis"]["unit"]
    names = ["more" if math.isinf(bounds[row]) else written(bounds[row], unit) for row in ticks]
    axes.set_yticks([row + 0.5 for row in ticks], names)
    _clock(axes, place, shown)
    return None


def _states(place: Place, panel: Json, answers: Sequence[Sequence[Series]], shown: tuple[float, float]) -> None:
    series = sorted((one for answer in answers for one in answer), key=lambda one: one.name)
    if not series:
        return _nothing(place, panel)
    words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    axes = place.axes(86, TITLE_PX + 4, 14, 46)
    for row, one in enumerate(series):
        since = 0
        for i in range(1, len(one.values) + 1):
            if i == len(one.values) or one.values[i] != one.values[since]:
                until_s = one.times_s[i] if i < len(one.values) else one.times_s[-1]
                state = words[digits(one.values[since])]
                from_s, lasts_s = one.times_s[since], until_s - one.times_s[since]
                axes.broken_barh([(from_s, lasts_s)], (row + 0.08, 0.84), color=NAMED[state["color"]], alpha=0.8, lw=0)
                if lasts_s > (shown[1] - shown[0]) * 0.016 * len(state["text"]):
                    axes.text(from_s, row + 0.5, "  " + state["text"], fontsize=7.5, color="#111217", va="center")
                since = i
    axes.set_yticks([row + 0.5 for row in range(len(series))], [one.name for one in series])
    axes.set_ylim(len(series), 0)
    _clock(axes, place, shown)
    x = PAD_PX
    for state in words.values():
        place.text(x, place.height - 13, "━", color=NAMED[state["color"]], fontsize=9, weight="bold")
        place.text(x + 16, place.height - 13, state["text"], fontsize=7.5)
        x += 34 + 6 * len(state["text"])
    return None


def _bars(place: Place, panel: Json, answers: Sequence[Sequence[Series]], shown: tuple[float, float]) -> None:
    series = [one for one in answers[0] if not math.isnan(one.last)]
    if not series:
        return _nothing(place, panel)
    defaults = panel["fieldConfig"]["defaults"]
    height = min(44.0, (place.height - TITLE_PX - 12) / len(series))
    axes = place.axes(96, TITLE_PX + 4, 86, place.height - TITLE_PX - 4 - height * len(series))
    axes.set(xlim=(defaults["min"], defaults["max"]), ylim=(len(series), 0), xticks=[], yticks=[])
    for row, one in enumerate(series):
        color = _color_at(defaults, one.last)
        axes.barh(row + 0.5, defaults["max"], height=0.7, color="#22252b")
        axes.barh(row + 0.5, min(one.last, defaults["max"]), height=0.7, color=color, alpha=0.75)
        y = TITLE_PX + 4 + (row + 0.5) * height
        place.text(PAD_PX, y, one.name, fontsize=9)
        place.text(place.width - PAD_PX, y, written(one.last, defaults["unit"]), fontsize=11, color=color, ha="right")
    return None


def _table(place: Place, panel: Json, answers: Sequence[Sequence[Series]], shown: tuple[float, float]) -> None:
    organize = panel["transformations"][-1]["options"]
    headings = [
        organize["renameByName"][name] for name in sorted(organize["indexByName"], key=organize["indexByName"].get)
    ]
    keys = [name for name in organize["renameByName"] if not name.startswith("Value")]
    own = {
        o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]}
        for o in panel["fieldConfig"]["overrides"]
    }
    lines: dict[tuple[str, ...], dict[int, float]] = {}
    for number, answer in enumerate(answers):
        for one in answer:
            lines.setdefault(tuple(one.labels.get(key, "") for key in keys), {})[number] = one.last
    if not lines:
        return _nothing(place, panel)
    # the first column holds names, which are longer than numbers
    width = (place.width - 2 * PAD_PX) / (len(headings) + 0.5)
    left = [PAD_PX + (i + 0.5 * (i > 0)) * width for i in range(len(headings) + 1)]
    line_px = 19
    fits = int((place.height - TITLE_PX - line_px - 8) / line_px)
    for i, heading in enumerate(headings):
        place.text(left[i], TITLE_PX + line_px / 2, heading, color=NAMED["blue"], fontsize=7.5)
    for row, key in enumerate(sorted(lines)[:fits]):
        cells = list(key)
        for number, heading in enumerate(headings[len(keys) :]):
            value = lines[key].get(number, math.nan)
            cells.append(written(value, own[heading]["unit"], now_s=shown[1]))
        y = TITLE_PX + (row + 1.5) * line_px
        for i, cell in enumerate(cells):
            room = int((left[i + 1] - left[i]) / 6.3)
            text = cell if len(cell) <= room else cell[: room - 1] + "…"
            place.text(left[i], y, text, fontsize=7.5, color=FAINT if cell == "No traffic" else TEXT)
    return None


_KINDS = {
    "stat": _stat,
    "timeseries": _lines,
    "heatmap": _heat,
    "state-timeline": _states,
    "bargauge": _bars,
    "table": _table,
}
