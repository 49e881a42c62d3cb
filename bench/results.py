"""What has been measured: runs by scenario, proxy and round, and medians over the valid rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.load import Data
from bench.proxies import Kind

Reading = tuple[float, ...]
Read = Callable[[Data], Reading]
NOTHING = "-"
"""What a cell holds that was never to be measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tool.

    Attributes:
        data: the tool's line; None if the tool came to no result.
        damage: what was wrong with answers: never excused by other rounds.
        faults: why this round may not be quoted (overload).
        others: share of the two cores' time that processes of others took, 0 to 1.
    """

    scenario: str
    kind: Kind
    round: int
    data: Data | None
    damage: tuple[str, ...]
    faults: tuple[str, ...]
    others: float

    @property
    def valid(self) -> bool:
        """Whether the figures of this run may be quoted."""
        return self.data is not None and not self.damage and not self.faults


@dataclass(slots=True)
class Results:
    """All runs of one bench, and why others were not made."""

    streams: dict[str, int]
    runs: list[Run] = field(default_factory=list)
    missing: dict[tuple[str, Kind], str] = field(default_factory=dict)

    def of(self, scenario: str, kind: Kind) -> list[Run]:
        """The runs of one cell of the table, one per round."""
        return [run for run in self.runs if run.scenario == scenario and run.kind == kind]

    def refusal(self, scenario: str, kind: Kind) -> str | None:
        """Why the cell holds no number: not measured, or invalid with the reason; None if it does."""
        if reason := self.missing.get((scenario, kind)):
            return f"not measured: {reason}"
        runs = self.of(scenario, kind)
        if not runs:
            return NOTHING
        if damage := [text for run in runs for text in run.damage]:
            return f"invalid: {damage[0]}"
        if 2 * sum(run.valid for run in runs) <= len(runs):
            return f"invalid: {next(text for run in reversed(runs) for text in run.faults)}"
        return None

    def readings(self, scenario: str, kind: Kind, read: Read) -> dict[int, Reading]:
        """What ``read`` finds in each valid round."""
        return {run.round: read(run.data) for run in self.of(scenario, kind) if run.valid and run.data is not None}

    def median(self, scenario: str, kind: Kind, read: Read) -> Reading | None:
        """The medians over the valid rounds; None where the cell holds no number."""
        if self.refusal(scenario, kind) is not None:
            return None
        return medians(list(self.readings(scenario, kind, read).values()))

    def paired(
        self, scenario: str, kind: Kind, mark: Kind, read: Read, combine: Callable[[float, float], float]
    ) -> Reading | None:
        """The medians of ``combine(ours, mark's)`` over the rounds in which both are valid."""
        if self.refusal(scenario, kind) is not None or self.refusal(scenario, mark) is not None:
            return None
        ours, theirs = self.readings(scenario, kind, read), self.readings(scenario, mark, read)
        pairs = [
            tuple(combine(a, b) for a, b in zip(ours[round_], theirs[round_], strict=True))
            for round_ in ours
            if round_ in theirs
        ]
        return medians(pairs) if pairs else None

    def as_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "runs": [asdict(run) for run in self.runs],
            "missing": [
                {"scenario": scenario, "kind": kind, "reason": reason}
                for (scenario, kind), reason in self.missing.items()
            ],
        }


def medians(readings: list[Reading]) -> Reading:
    """The median of each element."""
    return tuple(statistics.median(column) for column in zip(*readings, strict=True))
