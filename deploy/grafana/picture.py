"""The dashboard as a picture, from what a Prometheus has scraped: ``python -m deploy.grafana.picture > picture.png``.

It asks the committed dashboard's queries of ``--prometheus`` and draws each panel at its place, with its unit, legend
and thresholds; there is no browser and no Grafana in it. It needs matplotlib: ``pip install '.[picture]'``.
"""

import argparse
import io
import json
import sys
import time
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from deploy.grafana.answers import Shown
from deploy.grafana.canvas import BACKGROUND, FAINT, TEXT, Place
from deploy.grafana.drawing import PAD_PX, draw
from deploy.grafana.rows import Rows, columns_of, rows_of, units_of

DASHBOARD = Path(__file__).parent / "dashboards" / "aigateway.json"
UNIT_PX, GAP_PX, HEAD_PX = 30, 6, 52
"""A unit of the dashboard's grid in height; what is free between panels; the line with the dashboard's name."""
COLORS = 256
"""Of the picture's palette: what a PNG without true colours can have, which is a third of the size."""


def picture(shown: Shown, columns: list[Rows], column_px: int) -> bytes:
    """The picture as PNG.

    Raises:
        OSError: Prometheus does not answer.
    """
    units = max(sum(units_of(panels) for _, panels in column) for column in columns)
    width, height = column_px * len(columns) + GAP_PX * (len(columns) + 1), units * UNIT_PX + HEAD_PX + GAP_PX
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=BACKGROUND)
    whole = Place(figure, 0, 0, width, height)
    whole.text(GAP_PX + PAD_PX, HEAD_PX / 2, "AI Gateway", fontsize=15, weight="bold", color=TEXT)
    moments = " to ".join(
        time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s)) for at_s in (shown.start_s, shown.end_s)
    )
    whole.text(width - GAP_PX - PAD_PX, HEAD_PX / 2, f"{moments} UTC", fontsize=9, ha="right", color=FAINT)
    for number, column in enumerate(columns):
        left, top = GAP_PX + number * (column_px + GAP_PX), HEAD_PX
        for title, panels in column:
            whole.text(left + 4, top + UNIT_PX / 2, f"⌄  {title}", fontsize=10.5, weight="bold")
            first = min(panel["gridPos"]["y"] for panel in panels)
            for panel in panels:
                grid = panel["gridPos"]
                x, y = left + grid["x"] * column_px / 24, top + (1 + grid["y"] - first) * UNIT_PX
                size = grid["w"] * column_px / 24 - GAP_PX, grid["h"] * UNIT_PX - GAP_PX
                answers = [shown.of(target) for target in panel["targets"]]
                draw(Place(figure, x, y, *size), panel, answers, shown.start_s, shown.end_s)
            top += units_of(panels) * UNIT_PX
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=BACKGROUND)
    packed = io.BytesIO()
    image = Image.open(drawn).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(packed, "png", optimize=True)
    return packed.getvalue()


def main() -> None:
    """Draw what the command line asks for, on standard output."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.picture", description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--minutes", type=float, default=5.0, help="how much time is shown")
    parser.add_argument("--until", type=float, metavar="S", help="where it ends, in seconds since the epoch; now")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="these alone")
    parser.add_argument("--columns", type=int, default=1, choices=(1, 2, 3), help="the rows side by side")
    parser.add_argument("--width", type=int, default=1400, metavar="PX", help="of a column")
    options = parser.parse_args()
    end_s = options.until or time.time()
    shown = Shown(options.prometheus, end_s - 60 * options.minutes, end_s)
    rows = rows_of(json.loads(DASHBOARD.read_text("utf-8")), options.rows)
    sys.stdout.buffer.write(picture(shown, columns_of(rows, options.columns), options.width))


if __name__ == "__main__":
    main()
