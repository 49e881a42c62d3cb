"""Process metrics: true where there is a /proc, absent where there is none."""

import os
import time
from pathlib import Path

import pytest
from aioprometheus.collectors import Registry

from gateway.metrics.exposition import ReadyTextFormatter
from gateway.metrics.process import ProcessMetrics, ProcReader
from tests.metrics.text_format import Exposition, read_exposition

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")

NAMES = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
}


def scrape(registry: Registry) -> Exposition:
    """Render and read back."""
    return read_exposition(ReadyTextFormatter().marshall(registry))


def mount(root: Path, command: str = "python") -> Path:
    """A procfs with one process: 250 + 50 ticks of CPU, started 1,000 ticks after boot."""
    (root / "self" / "fd").mkdir(parents=True)
    fields = ["S", *"0123456789", "250", "50", "0", "0", "20", "0", "1", "0", "1000", "4096"]
    (root / "self" / "stat").write_text(f"42 ({command}) {' '.join(fields)}\n")
    (root / "self" / "statm").write_text("300 200 100 1 0 50 0\n")
    (root / "stat").write_text("cpu  1 2 3\nbtime 1700000000\nprocesses 9\n")
    return root


@pytest.mark.parametrize("command", ["python", "a b", "evil) R 1 2 (x", ")))"])
def test_files_are_read_by_the_manual(tmp_path: Path, command: str) -> None:
    """Ticks, pages and boot time become seconds and bytes, whatever the command calls itself."""
    reader = ProcReader(mount(tmp_path, command))
    ticks_per_s, page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert reader.cpu_s() == 300 / ticks_per_s
    assert reader.start_time_s() == 1_700_000_000 + 1000 / ticks_per_s
    assert reader.virtual_bytes() == 300 * page_bytes
    assert reader.resident_bytes() == 200 * page_bytes


def test_absent_without_proc(tmp_path: Path) -> None:
    """HELP and TYPE stay, no value is made up."""
    registry = Registry()
    ProcessMetrics(registry, ProcReader(tmp_path / "nothing"))
    seen = scrape(registry)
    assert seen.types.keys() == NAMES
    assert not seen.samples


def test_cpu_time_stands_still_when_it_cannot_be_read(tmp_path: Path) -> None:
    """A process out of file descriptors keeps its last count: a counter never falls."""
    registry = Registry()
    ProcessMetrics(registry, ProcReader(mount(tmp_path)))
    before = scrape(registry).value("process_cpu_seconds_total")
    assert before > 0
    (tmp_path / "self" / "stat").unlink()
    assert scrape(registry).value("process_cpu_seconds_total") == before


@needs_proc
def test_real_process_is_shown() -> None:
    """Every name has one value, and the values agree with what the system says elsewhere."""
    registry = Registry()
    ProcessMetrics(registry)
    seen = scrape(registry)
    assert {name for name, _ in seen.samples} == NAMES
    assert abs(float(seen.value("process_cpu_seconds_total")) - time.process_time()) < 1
    assert 10**6 < seen.value("process_resident_memory_bytes") < seen.value("process_virtual_memory_bytes")
    assert 0 < seen.value("process_open_fds") <= seen.value("process_max_fds")
    assert 0 < time.time() - float(seen.value("process_start_time_seconds")) < 86_400


@needs_proc
def test_open_files_are_counted(tmp_path: Path) -> None:
    """Five more open files are five more."""
    reader = ProcReader()
    before = reader.open_fds()
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    after = reader.open_fds()
    for fd in opened:
        os.close(fd)
    assert after - before == 5


@needs_proc
def test_open_files_are_listed_where_the_directory_has_no_size(tmp_path: Path) -> None:
    """Before Linux 6.2 the size is 0, as that of fdinfo still is: then the entries are counted."""
    mount(tmp_path)
    (tmp_path / "self" / "fd").rmdir()
    (tmp_path / "self" / "fd").symlink_to("/proc/self/fdinfo")
    if (tmp_path / "self" / "fd").stat().st_size:
        pytest.skip("this kernel gives fdinfo a size as well")
    assert abs(ProcReader(tmp_path).open_fds() - ProcReader().open_fds()) <= 1
