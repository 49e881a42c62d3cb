"""Facts about this process from /proc, under the names every Prometheus client uses; read at the scrape only.

Names: "Standard and runtime collectors" in Prometheus' guide to writing client libraries. Fields:
proc_pid_stat(5). Where there is no /proc the metrics have no series: absent, not wrong.
"""

import os
import resource
from contextlib import suppress
from pathlib import Path

from aioprometheus.collectors import Registry

from gateway.metrics.collectors import AnyFamily, BoundCounter, BoundGauge

# positions in /proc/<pid>/stat counted from behind the ")" that closes the command's name
_UTIME, _STIME, _STARTTIME = 11, 12, 19


class ProcReader:
    """Reads one process's files below ``root``, the mount of procfs.

    Every method raises OSError where a file is missing.
    """

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._self = root / "self"
        self._stat = root / "stat"
        self._ticks_per_s: int = os.sysconf("SC_CLK_TCK")
        self._page_bytes: int = os.sysconf("SC_PAGE_SIZE")

    def _fields(self) -> list[str]:
        # the command's name may hold blanks and brackets of its own: only the last ")" ends it
        return (self._self / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()

    def cpu_s(self) -> float:
        """User and system time used, in seconds."""
        fields = self._fields()
        return (int(fields[_UTIME]) + int(fields[_STIME])) / self._ticks_per_s

    def start_time_s(self) -> float:
        """When the process started, in seconds since the epoch."""
        booted_s = next(
            int(line.split()[1]) for line in self._stat.read_text().splitlines() if line.startswith("btime ")
        )
        return booted_s + int(self._fields()[_STARTTIME]) / self._ticks_per_s

    def virtual_bytes(self) -> int:
        """Address space."""
        return int((self._self / "statm").read_text().split()[0]) * self._page_bytes

    def resident_bytes(self) -> int:
        """Memory in RAM."""
        return int((self._self / "statm").read_text().split()[1]) * self._page_bytes

    def open_fds(self) -> int:
        """Open file descriptors.

        Linux 6.2 and later give the number as the directory's size (proc_pid_fd(5)), which spares listing
        10,000 entries; before that the size is 0.
        """
        directory = self._self / "fd"
        return directory.stat().st_size or len(os.listdir(directory))

    def max_fds(self) -> float:
        """The soft limit of open file descriptors; infinite where there is none."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return float("inf") if soft == resource.RLIM_INFINITY else soft


class _CpuSeconds(BoundCounter):
    """A counter that somebody else counts: the kernel."""

    def __init__(self, registry: Registry, reader: ProcReader) -> None:
        super().__init__(registry, "process_cpu_seconds_total", "User and system CPU time used, in seconds.")
        self._reader = reader

    def refresh(self) -> None:
        """Take over the kernel's count."""
        if not self._cells:
            return
        # out of file descriptors, say: the last count still stands, and a counter never falls
        with suppress(OSError):
            self.labels().value = self._reader.cpu_s()


class ProcessMetrics:
    """The ``process_*`` metrics."""

    def __init__(self, registry: Registry, reader: ProcReader | None = None) -> None:
        """Register them, without a series where ``reader`` finds nothing to read."""
        reader = reader or ProcReader()
        self.cpu = _CpuSeconds(registry, reader)
        gauges = (
            ("process_resident_memory_bytes", "Memory in RAM, in bytes.", reader.resident_bytes),
            ("process_virtual_memory_bytes", "Address space, in bytes.", reader.virtual_bytes),
            ("process_open_fds", "Open file descriptors.", reader.open_fds),
            ("process_max_fds", "The most file descriptors that may be open.", reader.max_fds),
            (
                "process_start_time_seconds",
                "Start of the process, in seconds since the epoch.",
                reader.start_time_s,
            ),
        )
        self.gauges = [(BoundGauge(registry, name, doc), read) for name, doc, read in gauges]
        try:
            reader.cpu_s()
        except OSError:
            return
        self.cpu.labels()
        for gauge, read in self.gauges:
            gauge.labels().read_from(read)

    def families(self) -> list[AnyFamily]:
        """Every collector."""
        return [self.cpu, *(gauge for gauge, _ in self.gauges)]
