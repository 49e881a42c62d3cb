"""Which two cores are measured on, and how much of them went to processes that are not ours."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """The load tool's core and the proxy's; equal on a machine with one core, where nothing is valid."""

    tool: int
    proxy: int

    @classmethod
    def choose(cls) -> Cores:
        """The first and the last core that this process may use."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[-1])

    @property
    def separate(self) -> bool:
        """Whether tool and proxy have a core each."""
        return self.tool != self.proxy


def _busy_s(cores: Cores) -> float:
    """Seconds that the two cores have worked since boot: all but idle and waiting for I/O."""
    total = 0
    wanted = {f"cpu{cores.tool}", f"cpu{cores.proxy}"}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in wanted:
            user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
            total += user + nice + system + irq + softirq
    return total / TICKS_S


def _process_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def descendants(pid: int) -> set[int]:
    """``pid`` and every live process below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


class Watch:
    """Measures, between its making and :meth:`others`, the work of other processes on the two cores."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._pids = descendants(os.getpid())
        self._before = self._readings()

    def _readings(self) -> tuple[float, float, float]:
        gone = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = sum(map(_process_s, self._pids)) + gone.ru_utime + gone.ru_stime
        return time.monotonic(), _busy_s(self._cores), ours

    def others(self) -> float:
        """The share of the two cores' time, 0 to 1, that others used; the load tool must have ended."""
        wall, busy, ours = (now - then for now, then in zip(self._readings(), self._before, strict=True))
        count = 2 if self._cores.separate else 1
        return max(0.0, (busy - ours) / (wall * count))
