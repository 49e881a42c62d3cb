"""aioprometheus collectors with declared labels, safe label values and cells that are bound once.

Stock aioprometheus 23.12 escapes neither label values nor HELP, so a quote in a value breaks the scrape and a
crafted one forges a metric; and it finds a series by serialising its labels, 3.6 us per increment. These
subclasses escape when a cell is bound, and what counts goes straight to the cell. The registry and the stock
renderer work unchanged. Escaping rules: Prometheus text exposition format 0.0.4.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NoReturn, TypeVar, cast

from aioprometheus.collectors import Collector, Counter, Gauge, Histogram, Registry
from aioprometheus.mypy_types import LabelsType, NumericValueType

from gateway.metrics.cells import INFINITY, CounterCell, GaugeCell, HistogramCell

_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*\Z")
_RESERVED_LABELS = frozenset({"le", "quantile", "job", "instance"})

CellT = TypeVar("CellT", CounterCell, GaugeCell, HistogramCell)


def escape_label(value: str) -> str:
    """``value`` as it stands between the quotes of a label."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def escape_help(text: str) -> str:
    """``text`` as it stands in a HELP line, where quotes need no escape."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _series(name: str, labels: Mapping[str, str]) -> str:
    """The start of a sample line; label values are escaped already."""
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}} " if inner else f"{name} "


class Family(Collector, Generic[CellT]):
    """All series of one metric.

    ``words`` names the closed vocabulary of a label where it is known without a configuration; ``otel`` the
    metric of the OpenTelemetry GenAI conventions that measures the same thing, or nothing.
    """

    lines_per_cell = 1

    def __init__(
        self,
        registry: Registry,
        name: str,
        doc: str,
        label_names: Sequence[str] = (),
        *,
        words: Mapping[str, Iterable[str]] | None = None,
        otel: str = "",
    ) -> None:
        """Register the metric.

        Raises:
            ValueError: the metric's name or a label's name is not allowed, or is used twice.
        """
        for label in label_names:
            if not _LABEL_NAME.match(label) or label in _RESERVED_LABELS:
                raise ValueError(f"metric {name}: {label!r} cannot be the name of a label")
        if len(set(label_names)) != len(label_names):
            raise ValueError(f"metric {name}: a label is declared twice")
        self.label_names = tuple(label_names)
        self.words = {label: tuple(values) for label, values in (words or {}).items()}
        if unknown := self.words.keys() - set(label_names):
            raise ValueError(f"metric {name}: words for {sorted(unknown)}, which are not labels of it")
        self.help = doc
        self.otel = otel
        self._cells: dict[tuple[str, ...], CellT] = {}
        super().__init__(name, escape_help(doc), registry=registry)

    def labels(self, *values: str) -> CellT:
        """The cell of one series, made (at 0) when first asked for; values stand in the declared order.

        Raises:
            ValueError: another number of values than the metric has labels.
            TypeError: a value is not a string.
        """
        cell = self._cells.get(values)
        return self._bind(values) if cell is None else cell

    def _bind(self, values: tuple[str, ...]) -> CellT:
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, got the values {values}")
        for label, value in zip(self.label_names, values, strict=True):
            if not isinstance(value, str):
                raise TypeError(f"{self.name}: the value of {label} is {value!r}; write a string")
        # a lone surrogate cannot be sent; cleaned before the look-up, else two of them print one series twice
        clean = tuple(value.encode("utf-8", "replace").decode("utf-8") for value in values)
        cell = self._cells.get(clean)
        if cell is None:
            cell = self._cells[clean] = self._new_cell(self._escaped(clean))
        return cell

    def _escaped(self, values: tuple[str, ...]) -> dict[str, str]:
        return {name: escape_label(value) for name, value in zip(self.label_names, values, strict=True)}

    def _new_cell(self, labels: dict[str, str]) -> CellT:
        raise NotImplementedError

    def drop(self, *values: str) -> None:
        """Forget one series, because what it tells of is no more; without effect where there is none."""
        self._cells.pop(values, None)

    def refresh(self) -> None:
        """Bring cells up to date that are only read at a scrape."""

    def cells(self) -> Mapping[tuple[str, ...], CellT]:
        """Every series there is, by its label values."""
        return self._cells

    def blocks(self, lines: int) -> Iterator[list[str]]:
        """HELP and TYPE, then all samples, in lists of about ``lines`` lines; no series is divided."""
        self.refresh()
        yield [f"# HELP {self.name} {self.doc}", f"# TYPE {self.name} {self.kind.name}"]
        cells = list(self._cells.values())
        step = max(1, lines // self.lines_per_cell)
        for start in range(0, len(cells), step):
            yield self.lines(cells[start : start + step])

    def lines(self, cells: Iterable[CellT]) -> list[str]:
        """The sample lines of ``cells``."""
        raise NotImplementedError

    def set_value(self, labels: LabelsType, value: NumericValueType) -> NoReturn:
        """Refuse the stock way in: it neither escapes nor knows the declared labels.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name} is moved through a cell: call labels(...) once and keep what it returns")


class BoundCounter(Family[CounterCell], Counter):
    """A counter. ``places``: cells count whole units of ``10**-places``, printed exactly."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        doc: str,
        label_names: Sequence[str] = (),
        *,
        words: Mapping[str, Iterable[str]] | None = None,
        otel: str = "",
        places: int = 0,
    ) -> None:
        super().__init__(registry, name, doc, label_names, words=words, otel=otel)
        self.places = places

    def _new_cell(self, labels: dict[str, str]) -> CounterCell:
        return CounterCell(_series(self.name, labels))

    def lines(self, cells: Iterable[CounterCell]) -> list[str]:
        """The sample lines; a scaled counter as the exact decimal, which no float arithmetic has touched."""
        if not self.places:
            return [f"{cell.line_start}{cell.value}" for cell in cells]
        unit = 10**self.places
        scaled = ((cell.line_start, *divmod(int(cell.value), unit)) for cell in cells)
        return [f"{start}{whole}.{f'{part:0{self.places}d}'.rstrip('0') or '0'}" for start, whole, part in scaled]

    def get_all(self) -> list[tuple[LabelsType, NumericValueType]]:
        """What the stock renderer prints: of a scaled counter the float that a parser of our text gets."""
        self.refresh()
        unit = 10**self.places
        return [
            (self._escaped(values), int(cell.value) / unit if self.places else cell.value)
            for values, cell in self._cells.items()
        ]


class ReadCounter(BoundCounter):
    """A counter that somebody else keeps, asked at every scrape."""

    _reads: tuple[tuple[CounterCell, Callable[[], float]], ...] = ()

    def read_from(self, read: Callable[[], float], *values: str) -> None:
        """Take the series of these label values from ``read``, which counts from 0 and must not fail."""
        self._reads = (*self._reads, (self.labels(*values), read))

    def refresh(self) -> None:
        """Take over the counts; one that has begun anew does not let the series fall."""
        for cell, read in self._reads:
            cell.value = max(cell.value, read())


class BoundGauge(Family[GaugeCell], Gauge):
    """A gauge, set or read at the scrape."""

    def _new_cell(self, labels: dict[str, str]) -> GaugeCell:
        return GaugeCell(_series(self.name, labels))

    def refresh(self) -> None:
        """Call every ``read_from`` function once."""
        for cell in self._cells.values():
            cell.refresh()

    def lines(self, cells: Iterable[GaugeCell]) -> list[str]:
        """The sample lines."""
        return [f"{cell.line_start}{cell.value}" for cell in cells]

    def get_all(self) -> list[tuple[LabelsType, NumericValueType]]:
        """What the stock renderer prints."""
        self.refresh()
        return [(self._escaped(values), cell.value) for values, cell in self._cells.items()]


class BoundHistogram(Family[HistogramCell], Histogram):
    """A histogram with fixed, inclusive upper bounds, in the unit of its name; ``+Inf`` is added."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        doc: str,
        label_names: Sequence[str] = (),
        *,
        bounds: Sequence[float],
        words: Mapping[str, Iterable[str]] | None = None,
        otel: str = "",
    ) -> None:
        """Register the metric.

        Raises:
            ValueError: the bounds are none, not finite, or do not rise.
        """
        self.bounds = tuple(float(bound) for bound in bounds)
        if not self.bounds or not all(a < b for a, b in zip(self.bounds, (*self.bounds[1:], INFINITY), strict=True)):
            raise ValueError(f"metric {name}: bounds are finite numbers that rise, not {bounds}")
        self.lines_per_cell = len(self.bounds) + 3
        super().__init__(registry, name, doc, label_names, words=words, otel=otel)
        self.upper_bounds = (*self.bounds, INFINITY)

    def _new_cell(self, labels: dict[str, str]) -> HistogramCell:
        ends = [*(str(bound) for bound in self.bounds), "+Inf"]
        buckets = (_series(f"{self.name}_bucket", {**labels, "le": end}) for end in ends)
        rest = (_series(f"{self.name}_{part}", labels) for part in ("count", "sum"))
        return HistogramCell(self.bounds, (*buckets, *rest))

    def lines(self, cells: Iterable[HistogramCell]) -> list[str]:
        """The sample lines: buckets in rising order, then count and sum."""
        result: list[str] = []
        for cell in cells:
            cumulated = cell.cumulated()
            result += [f"{start}{count}" for start, count in zip(cell.line_starts, cumulated, strict=True)]
            result.append(f"{cell.count_start}{cumulated[-1]}")
            result.append(f"{cell.sum_start}{cell.sum}")
        return result

    def get_all(self) -> list[tuple[LabelsType, NumericValueType]]:
        """What the stock renderer prints: a dict per histogram, which its own annotation leaves out."""
        self.refresh()
        result: list[tuple[LabelsType, NumericValueType]] = []
        for values, cell in self._cells.items():
            cumulated = cell.cumulated()
            shown: dict[float | str, float] = dict(zip(self.upper_bounds, cumulated, strict=True))
            shown[self.COUNT_KEY] = cumulated[-1]
            shown[self.SUM_KEY] = cell.sum
            result.append((self._escaped(values), cast(NumericValueType, shown)))
        return result


AnyFamily = BoundCounter | BoundGauge | BoundHistogram
