"""The rows of the dashboard in its picture, and the picture that is committed."""

from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.rows import Rows, columns_of, rows_of, units_of
from tests.deploy.grafana.as_grafana_asks import dashboard
from tests.deploy.grafana.lint import panels_of

ROOT = Path(__file__).parents[3]


def panel(y: int, height: int) -> dict[str, Any]:
    """A panel of which only its place is asked."""
    return {"gridPos": {"x": 0, "y": y, "w": 24, "h": height}}


def test_every_panel_is_in_its_row() -> None:
    """In the order of the dashboard; or those that are wanted."""
    rows = rows_of(dashboard())
    assert [title for title, _ in rows][:2] == ["Overview", "Performance"]
    assert [each for _, panels in rows for each in panels] == panels_of(dashboard())
    assert rows_of(dashboard(), ["SLO", "Overview"]) == [rows[0], rows[-1]]


def test_an_unknown_row_is_told() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="Cost: no such row; there are Overview, "):
        rows_of(dashboard(), ["Cost"])


def test_columns_are_about_equally_high() -> None:
    """Rows stay in their order, and none is cut."""
    rows: Rows = [
        ("a", [panel(1, 4)]),
        ("b", [panel(6, 8), panel(14, 8)]),
        ("c", [panel(23, 8)]),
        ("d", [panel(32, 8)]),
    ]
    assert [units_of(panels) for _, panels in rows] == [5, 17, 9, 9]
    assert columns_of(rows, 1) == [rows]
    assert columns_of(rows, 2) == [rows[:2], rows[2:]]
    assert columns_of(rows, 3) == [rows[:1], rows[1:2], rows[2:]]
    assert columns_of(rows[:1], 3) == [rows[:1]]


def test_the_committed_picture_is_one() -> None:
    """A PNG for which nobody has to wait, and the README shows it."""
    picture = (ROOT / "docs/dashboard.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) <= 400_000
    assert "](docs/dashboard.png)" in (ROOT / "README.md").read_text("utf-8")
