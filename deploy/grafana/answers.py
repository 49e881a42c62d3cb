"""What a running Prometheus answers to the queries of a panel, named and ordered as Grafana shows it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

Json = dict[str, Any]
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer.

    Attributes:
        name: as the legend has it.
        labels: without the metric's name.
        times_s: seconds since the epoch.
        values: at those times; one alone is that of an instant.
    """

    name: str
    labels: Mapping[str, str]
    times_s: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]


@dataclass(frozen=True, slots=True)
class Shown:
    """A Prometheus and the time that is shown, in seconds since the epoch; nothing is chosen in the variables.

    Attributes:
        url: without a path.
        scrape_s: how often it scrapes, which is the datasource's ``timeInterval``.
    """

    url: str
    start_s: float
    end_s: float
    scrape_s: int = 5

    @property
    def step_s(self) -> int:
        """Two hundred points over the time, and no more than there are scrapes."""
        return max(self.scrape_s, round((self.end_s - self.start_s) / 200))

    def of(self, target: Json) -> list[Series]:
        """The series of one of a panel's queries.

        Raises:
            OSError: Prometheus does not answer, or refuses the query.
        """
        form = {"query": self._sent(target["expr"])}
        if target["instant"]:
            path = "query"
            form["time"] = str(self.end_s)
        else:
            path = "query_range"
            form |= {"start": str(self.start_s), "end": str(self.end_s), "step": str(self.step_s)}
        with urlopen(f"{self.url}/api/v1/{path}", urlencode(form).encode(), timeout=PATIENCE_S) as response:  # noqa: S310
            result = json.load(response)["data"]["result"]
        return [_series(each, target["legendFormat"]) for each in result]

    def _sent(self, expression: str) -> str:
        """The query with its variables filled in (Grafana: "Using $__rate_interval")."""
        windows = {
            "__rate_interval": f"{max(self.step_s + self.scrape_s, 4 * self.scrape_s)}s",
            "__range": f"{round(self.end_s - self.start_s)}s",
        }
        return re.sub(r"\$\{?(\w+)\}?", lambda match: windows.get(match[1], ".*"), expression)


def _series(result: Json, legend: str) -> Series:
    labels = {name: value for name, value in result["metric"].items() if name != "__name__"}
    samples = result.get("values") or [result["value"]]
    return Series(
        re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend),
        labels,
        tuple(float(at_s) for at_s, _ in samples),
        tuple(float(value) for _, value in samples),
    )
