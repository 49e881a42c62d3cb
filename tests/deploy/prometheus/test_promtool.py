"""The rules as Prometheus reads them: promtool accepts them, and their unit tests pass."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.metrics import CounterCell, GaugeCell, HistogramCell, Metrics
from tests.deploy.prometheus.shipped import ALERT_NAMES, FOLDER, RULE_FILES, TEST_FILES
from tests.metrics.text_format import read_exposition

PROCESS = {"cpu_seconds_total": 100, "start_time_seconds": 1000, "open_fds": 10, "max_fds": 1000}


@pytest.fixture(scope="session")
def promtool() -> str:
    """The program, of the system's package."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not on PATH (Debian package prometheus)")
    return found


def run(*command: str | Path) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_configuration(promtool: str) -> None:
    """The configuration, with the rule files that it names."""
    run(promtool, "check", "config", FOLDER / "prometheus.yml")


def test_prometheus_accepts_the_rules(promtool: str) -> None:
    """Each file, with the linter's view of duplicates."""
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet(promtool: str, path: Path) -> None:
    """The unit tests of the rules that are shipped with them."""
    run(promtool, "test", "rules", path)


def _gateway(*, worked: bool) -> Metrics:
    """A gateway just started, or one that had its share of everything bad and is idle now."""
    metrics = Metrics("one", "1.0", ["acme", "globex"], ["gpt-4o"], ["openai", "azure"])
    declared = metrics.declared
    for store in ("database", "redis"):
        declared.store_up.labels(store).set(1)
    for gauge, value in zip(declared.budgets, (0.0, 100.0, 0.0, 86400.0), strict=True):
        gauge.labels("acme").set(value)
    for cell in (cell for family in declared.families() for cell in family.cells().values() if worked):
        _work(cell)
    return metrics


def _work(cell: CounterCell | GaugeCell | HistogramCell) -> None:
    for _ in range(50):
        if isinstance(cell, CounterCell):
            cell.inc()
        elif isinstance(cell, HistogramCell):
            cell.observe(100.0)


def _still(metrics: Metrics) -> list[dict[str, str]]:
    """The series of a scrape, for two hours as they are."""
    scraped = {(name, labels): value for (name, labels), value in read_exposition(metrics.render()[0]).samples.items()}
    series = {
        f"{name}{{{_labels(labels)}}}": value
        for (name, labels), value in scraped.items()
        if name.startswith("aigateway_")
    }
    values = {**series, f"up{{{_labels(())}}}": 1} | {
        f"process_{name}{{{_labels(())}}}": value for name, value in PROCESS.items()
    }
    return [{"series": name, "values": f"{value}x120"} for name, value in values.items()]


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    pairs = (("job", "gateway"), ("instance", "10.0.0.1:8080"), *sorted(labels))
    return ", ".join(f'{name}="{value}"' for name, value in pairs)


def _quiet(series: list[dict[str, str]], alerts: Iterable[str]) -> dict[str, Any]:
    checks = [{"eval_time": time, "alertname": name} for time in ("5m", "30m", "2h") for name in alerts]
    return {"interval": "1m", "input_series": series, "alert_rule_test": checks}


@pytest.mark.parametrize("state", ["fresh", "idle", "absent"])
def test_no_traffic_is_no_reason_to_alert(promtool: str, tmp_path: Path, state: str) -> None:
    """Every alert, over the whole scrape of a gateway that nobody asks, and where there is none at all."""
    alerts = set(ALERT_NAMES)
    if state == "absent":
        series = [{"series": 'up{job="prometheus", instance="localhost:9090"}', "values": "1x120"}]
        alerts.remove("GatewayAbsent")
    else:
        series = _still(_gateway(worked=state == "idle"))
        assert len(series) > 500
    files = [str(path) for path in RULE_FILES]
    document = {"rule_files": files, "evaluation_interval": "1m", "tests": [_quiet(series, sorted(alerts))]}
    path = tmp_path / "no_traffic.yml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    run(promtool, "test", "rules", path)
