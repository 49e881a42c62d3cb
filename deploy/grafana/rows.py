"""The rows of a dashboard, and how they stand side by side in a picture."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
Rows = list[tuple[str, list[Json]]]
"""Titles, and the panels below each."""


def rows_of(dashboard: Json, wanted: Sequence[str] = ()) -> Rows:
    """The rows and their panels, or those rows alone.

    Raises:
        ValueError: the dashboard has no such row.
    """
    rows: Rows = []
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            rows.append((panel["title"], []))
        else:
            rows[-1][1].append(panel)
    if unknown := set(wanted) - {title for title, _ in rows}:
        raise ValueError(
            f"{', '.join(sorted(unknown))}: no such row; there are {', '.join(title for title, _ in rows)}"
        )
    return [(title, panels) for title, panels in rows if not wanted or title in wanted]


def columns_of(rows: Rows, count: int) -> list[Rows]:
    """The rows in so many columns, in their order, so that the highest column is as low as can be."""
    if count == 1 or len(rows) < 2:
        return [rows]
    ways = ([rows[:cut], *columns_of(rows[cut:], count - 1)] for cut in range(1, len(rows)))
    return min(ways, key=lambda way: max(sum(units_of(panels) for _, panels in column) for column in way))


def units_of(panels: list[Json]) -> int:
    """The height of a row with its heading, in units of the grid."""
    top = int(min(panel["gridPos"]["y"] for panel in panels))
    return 1 + int(max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)) - top
