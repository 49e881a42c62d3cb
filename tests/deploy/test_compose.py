"""compose.yaml agrees with its schema, with every file that it mounts and with every part that it starts.

There is no engine here that could run it.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.grafana.generate import FOLDER as DASHBOARDS
from gateway.__main__ import _parser
from gateway.config import Config, load
from gateway.traffic.schedule import SCENES
from tests.deploy.stack_files import ROOT, compose, environment, filled, mounts, seconds

STACK = compose()
SERVICES = STACK["services"]
OURS = ["gateway", "providers", "traffic"]
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))


def configured() -> Config:
    """What the gateway starts from in its container."""
    return load(ROOT / mounts(SERVICES["gateway"])["/etc/aigateway/gateway.yaml"][0], environment(SERVICES["gateway"]))


def validated(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_it_is_what_compose_reads(tmp_path: Path) -> None:
    """By the schema of the Compose Specification, which refuses a key that it does not know."""
    result = validated(ROOT / "compose.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text("utf-8").replace("stop_grace_period:", "stop_grace:"))
    assert validated(wrong).returncode != 0


def test_the_services_of_the_stack() -> None:
    """Up brings everything but the clients."""
    assert set(SERVICES) == {"gateway", "providers", "traffic", "redis", "postgres", "prometheus", "grafana"}
    assert [name for name, service in SERVICES.items() if service.get("profiles")] == ["traffic"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """To a patch release; ours is built from this tree, and never pulled."""
    service = SERVICES[name]
    if name in OURS:
        assert (service["image"], service["build"]) == (
            "aigateway:local",
            {"context": ".", "dockerfile": "deploy/gateway/Dockerfile"},
        )
    else:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-alpine)?", service["image"])
        assert service["image"].count(".") == (1 if name == "postgres" else 2)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_little(name: str) -> None:
    """A read-only root, no capability, no way to get one."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    """Files and folders of this tree, read-only; volumes that are declared, and no others are."""
    for source, mode in mounts(SERVICES[name]).values():
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == "ro"
        else:
            assert source in STACK["volumes"]
    used = {source for service in SERVICES.values() for source, _ in mounts(service).values()}
    assert set(STACK["volumes"]) <= used


@pytest.mark.parametrize("name", SERVICES)
def test_everything_is_waited_for_until_it_is_healthy(name: str) -> None:
    """Each has a check, and whoever depends on it waits for that; the clients have nobody who waits for them."""
    service = SERVICES[name]
    assert service["healthcheck"].get("test") or name == "traffic"
    for other, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "test" in SERVICES[other]["healthcheck"]


def test_prometheus_and_grafana_start_without_the_gateway() -> None:
    """Beside one that is run by hand, nothing is built or started that nobody asked for."""
    assert set(SERVICES["grafana"]["depends_on"]) == {"prometheus"}
    assert "depends_on" not in SERVICES["prometheus"]
    target = PROMETHEUS["scrape_configs"][1]["static_configs"][0]["targets"][0]
    assert SERVICES["prometheus"]["extra_hosts"] == [f"{target.split(':')[0]}:host-gateway"]


def test_nothing_is_open_to_others() -> None:
    """Every published port is of this machine alone, unless somebody says otherwise."""
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:")
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gateway", "prometheus", "grafana"}


def test_replicas_find_a_port_each() -> None:
    """A range, without the port where Prometheus looks for a gateway that is run by hand."""
    (port,) = SERVICES["gateway"]["ports"]
    found = re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):(\d+)", filled(port))
    assert found is not None
    first, last, inside = map(int, found.groups())
    assert last - first >= 2
    by_hand = int(PROMETHEUS["scrape_configs"][1]["static_configs"][0]["targets"][0].split(":")[1])
    assert not first <= by_hand <= last
    assert inside == configured().server.port
    assert "container_name" not in SERVICES["gateway"]


def test_prometheus_scrapes_every_replica() -> None:
    """By the name and the port of the service."""
    (dns,) = PROMETHEUS["scrape_configs"][0]["dns_sd_configs"]
    assert dns["names"] == ["gateway"]
    assert dns["port"] == configured().server.port


def test_prometheus_reads_the_shipped_files() -> None:
    """And keeps what the error budget of 30 days is counted from."""
    service = SERVICES["prometheus"]
    assert mounts(service)["/etc/prometheus"] == ("./deploy/prometheus", "ro")
    flags = dict(flag.split("=", 1) for flag in service["command"])
    assert flags["--config.file"] == "/etc/prometheus/prometheus.yml"
    assert flags["--storage.tsdb.retention.time"] == "31d"
    assert flags["--storage.tsdb.path"] in mounts(service)
    for pattern in PROMETHEUS["rule_files"]:
        assert list((ROOT / "deploy/prometheus").glob(pattern))


def test_grafana_reads_the_shipped_files() -> None:
    """Its dashboards lie where the provider looks for them; its datasource is this stack's Prometheus."""
    service = SERVICES["grafana"]
    mounted = mounts(service)
    assert mounted["/etc/grafana/provisioning"] == ("./deploy/grafana/provisioning", "ro")
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/aigateway.yaml").read_text("utf-8"))
    (path,) = (one["options"]["path"] for one in provider["providers"])
    assert ROOT / mounted[path][0] == DASHBOARDS
    variables = environment(service)
    assert variables["PROMETHEUS_URL"] == "http://prometheus:9090"
    home = Path(variables["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / mounted[str(home.parent)][0] / home.name).is_file()


def test_grafana_lets_nobody_sign_up() -> None:
    """admin and admin, as the README says; another password by a variable."""
    service = SERVICES["grafana"]
    variables = environment(service)
    assert (variables["GF_SECURITY_ADMIN_USER"], variables["GF_SECURITY_ADMIN_PASSWORD"]) == ("admin", "admin")
    assert filled(service["environment"]["GF_SECURITY_ADMIN_PASSWORD"], GRAFANA_PASSWORD="other") == "other"
    assert variables["GF_USERS_ALLOW_SIGN_UP"] == "false"


def test_the_gateway_starts_from_a_valid_configuration() -> None:
    """With the stores and the providers of this stack."""
    config = configured()
    postgres = SERVICES["postgres"]["environment"]
    assert config.stores.database_url.get_secret_value() == (
        f"postgresql://{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}@postgres/{postgres['POSTGRES_DB']}"
    )
    assert config.stores.redis_url is not None
    assert config.stores.redis_url.get_secret_value() == "redis://redis:6379/0"
    played = {part.rsplit(":", 1)[1] for part in SERVICES["providers"]["command"] if ":" in part}
    asked = {re.findall(r"^http://providers:(\d+)", provider.base_url)[0] for provider in config.providers.values()}
    assert asked == played


def test_streams_end_before_the_gateway_is_killed() -> None:
    """Docker waits longer than the gateway drains, by its default and by the demo's file."""
    grace_s = seconds(SERVICES["gateway"]["stop_grace_period"])
    assert grace_s > load(ROOT / "docs/examples/two-providers.yaml", {}).server.drain_s
    assert grace_s > configured().server.drain_s


@pytest.mark.parametrize("name", OURS)
def test_commands_are_those_of_the_command_line(name: str) -> None:
    """Options that exist, with values that it takes."""
    options = _parser().parse_args(SERVICES[name]["command"])
    if name == "gateway":
        assert str(options.config) in mounts(SERVICES[name])
    elif name == "traffic":
        assert options.url == f"http://gateway:{configured().server.port}"
    else:
        assert {address.host for address in options.play} == {"0.0.0.0"}
        assert options.url is None


def test_what_the_files_tell_about_the_outage_is_so() -> None:
    """25 seconds of every two minutes."""
    assert (sum(scene.lasts_s for scene in SCENES if scene.is_outage), sum(s.lasts_s for s in SCENES)) == (25, 120)
    for file in ("compose.yaml", "docs/examples/demo.yaml"):
        assert re.search(r"for\s+#?\s*25\s+seconds\s+of\s+every\s+two\s+minutes", (ROOT / file).read_text("utf-8"))


def test_make_has_what_the_stack_needs() -> None:
    """The clients' profile in both directions, so that down ends what up began."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^up:\n\tdocker compose --profile traffic up -d --build --wait$", makefile, re.MULTILINE)
    assert re.search(r"^down:\n\tdocker compose --profile traffic down$", makefile, re.MULTILINE)
    assert "--config docs/examples/demo.yaml" in makefile
