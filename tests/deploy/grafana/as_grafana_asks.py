"""The queries of the committed dashboards as Grafana sends them: with its variables filled in."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.grafana.generate import FOLDER
from tests.deploy.grafana.lint import panels_of

Json = dict[str, Any]

ALL = {"instance": ".*", "tenant": ".*", "provider": ".*", "model": ".*"}
"""What the variables stand for while nothing is chosen."""


def dashboard(name: str = "aigateway.json") -> Json:
    """A committed dashboard."""
    loaded: Json = json.loads((FOLDER / name).read_text("utf-8"))
    return loaded


def targets() -> list[tuple[str, str, str]]:
    """(panel, query, legend) of every target of every dashboard."""
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for name in sorted(path.name for path in FOLDER.glob("*.json"))
        for panel in panels_of(dashboard(name))
        for target in panel.get("targets", ())
    ]


def choice(values: Sequence[str]) -> str:
    """Several values of a variable, escaped for the expression and then for the string (as Grafana does)."""
    return "(" + "|".join(re.sub(r"[\\^$*+?.()\[\]{}|]", r"\\\\\g<0>", value) for value in values) + ")"


def substituted(text: str, chosen: Mapping[str, str], window_s: int, range_s: int) -> str:
    """A query as Grafana sends it.

    Args:
        text: with its variables.
        chosen: what each of the dashboard's variables stands for.
        window_s: ``$__rate_interval``, which is four scrapes at least.
        range_s: how much time the dashboard shows.
    """
    windows = {"__rate_interval": f"{window_s}s", "__range": f"{range_s}s"}
    return re.sub(r"\$\{?(\w+)\}?", lambda match: {**windows, **chosen}[match[1]], text)


def labels_of(legend: str) -> set[str]:
    """The labels that a legend names."""
    return set(re.findall(r"\{\{(\w+)\}\}", legend))
