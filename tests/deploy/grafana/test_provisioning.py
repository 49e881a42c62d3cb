"""What Grafana reads at its start agrees with the dashboards, and with Prometheus' configuration."""

import re
from pathlib import Path
from typing import Any

import yaml

from deploy.grafana.generate import FOLDER

ROOT = Path(__file__).parents[3]
PROVISIONING = FOLDER.parent / "provisioning"


def read(path: Path) -> Any:
    """The content of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def test_the_datasource_is_where_the_environment_says() -> None:
    """One Prometheus, the default, so that the datasource variable finds it by itself."""
    (source,) = read(PROVISIONING / "datasources/prometheus.yaml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "${PROMETHEUS_URL}"
    assert source["isDefault"] is True
    assert source["editable"] is False


def test_the_datasource_knows_how_often_prometheus_scrapes() -> None:
    """Otherwise $__rate_interval is shorter than four scrapes, and rates have gaps."""
    (source,) = read(PROVISIONING / "datasources/prometheus.yaml")["datasources"]
    scraped = read(ROOT / "deploy/prometheus/prometheus.yml")
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    assert all("scrape_interval" not in job for job in scraped["scrape_configs"])


def test_the_dashboards_come_from_the_folder_that_is_mounted() -> None:
    """The comment in the file tells which folder that is; nobody edits them in the browser."""
    path = PROVISIONING / "dashboards/aigateway.yaml"
    (provider,) = read(path)["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert provider["options"] == {"path": "/etc/grafana/dashboards"}
    (mounted,) = re.findall(r"# Mount (\S+) at the path below", path.read_text("utf-8"))
    assert ROOT / mounted == FOLDER


def test_only_files_that_grafana_reads_lie_in_its_folders() -> None:
    """It takes every YAML and JSON file it finds there."""
    assert sorted(p.name for p in PROVISIONING.rglob("*") if p.is_file()) == ["aigateway.yaml", "prometheus.yaml"]
    assert {path.suffix for path in FOLDER.iterdir()} == {".json"}
