"""What the dashboard's picture is drawn on: rectangles in pixels, and the colours of Grafana's dark theme."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BACKGROUND, PANEL, BORDER, GRID = "#111217", "#181b1f", "#2c2f36", "#26292f"
TEXT, FAINT = "#ccccdc", "#8e8f9c"
NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
}
CLASSIC = (
    *("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0"),
    *("#508642", "#cca300", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477"),
)
"""The palette of series (``palette-classic``)."""


class Place:
    """A rectangle of the picture in pixels, from its upper left corner; a figure of 100 dots per inch."""

    def __init__(self, figure: Figure, x: float, y: float, width: float, height: float) -> None:
        self.figure, self.x, self.y, self.width, self.height = figure, x, y, width, height
        self._all_px = figure.get_size_inches() * figure.dpi

    def box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        """What is left of it between margins, as a figure counts."""
        whole_x, whole_y = self._all_px
        width, height = self.width - left - right, self.height - top - bottom
        return (self.x + left) / whole_x, 1 - (self.y + top + height) / whole_y, width / whole_x, height / whole_y

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes between margins, without a frame."""
        axes = self.figure.add_axes(self.box(left, top, right, bottom))
        axes.set_facecolor("none")
        axes.tick_params(colors=FAINT, labelsize=7.5, length=0, pad=5)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def text(self, x: float, y: float, words: str, **more: Any) -> None:
        """Words, their middle at a height from the top."""
        whole_x, whole_y = self._all_px
        style = {"color": TEXT, "fontsize": 8, "va": "center", **more}
        self.figure.text((self.x + x) / whole_x, 1 - (self.y + y) / whole_y, words, **style)
