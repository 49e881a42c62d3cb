"""Values as the picture of the dashboard writes them."""

import json
import math

import pytest

from deploy.grafana.generate import FOLDER
from deploy.grafana.units import digits, written

NOW_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "reqps", "0 req/s"),
        (4.8642, "reqps", "4.86 req/s"),
        (1234.5, "ops", "1.23 K ops/s"),
        (2_500_000, "short", "2.5 Mil"),
        (0.0333333, "ops", "0.0333 ops/s"),
        (250, "short", "250"),
        (0.0005, "s", "500 µs"),
        (0.0000004, "s", "0.4 µs"),
        (0, "s", "0 s"),
        (0.25, "s", "250 ms"),
        (12, "s", "12 s"),
        (90, "s", "1.5 mins"),
        (7200, "s", "2 hours"),
        (500, "bytes", "500 B"),
        (96 * 2**20, "bytes", "96 MiB"),
        (0.985, "percentunit", "98.5%"),
        (-1.5, "percentunit", "-150%"),
        (0.35, "currencyUSD", "$0.35"),
        (-2, "currencyUSD", "-$2"),
        (1e-6, "currencyUSD", "$0.000001"),
        (14.4, "none", "14.4"),
        (math.nan, "s", "No traffic"),
        (1000 * (NOW_S + 72_000), "dateTimeFromNow", "in 20 hours"),
        (1000 * (NOW_S - 60), "dateTimeFromNow", "1 minute ago"),
        (1000 * NOW_S, "dateTimeFromNow", "now"),
    ],
)
def test_values_are_written_as_in_grafana(value: float, unit: str, text: str) -> None:
    """Three significant digits, and the unit's own steps."""
    assert written(value, unit, now_s=NOW_S) == text


def test_decimals_can_be_fixed() -> None:
    """As the panel of the cost has them."""
    assert written(1.0826, "currencyUSD", decimals=2) == "$1.08"
    assert digits(1e-9, 2) == "0.00"


def test_every_unit_of_the_dashboard_can_be_written() -> None:
    """Or the picture could not be drawn."""
    dashboard = json.loads((FOLDER / "aigateway.json").read_text("utf-8"))
    panels = [panel["fieldConfig"] for panel in dashboard["panels"] if panel["type"] != "row"]
    units = {panel["defaults"]["unit"] for panel in panels}
    units |= {
        each["value"]
        for panel in panels
        for override in panel["overrides"]
        for each in override["properties"]
        if each["id"] == "unit"
    }
    assert len(units) >= 8
    assert all(written(1.5, unit) for unit in units)
