"""What Prometheus scrapes and keeps, against what the other parts of the stack go by."""

from tests.deploy.prometheus.shipped import FOLDER, RULE_FILES, load


def test_gateways_are_found_wherever_they_run() -> None:
    """Containers by the service's name, however many there are; one run by hand on the host's port; Prometheus."""
    container, host, itself = load(FOLDER / "prometheus.yml")["scrape_configs"]
    (dns,) = container["dns_sd_configs"]
    assert (container["job_name"], dns["names"], dns["type"], dns["port"]) == ("gateway", ["gateway"], "A", 8080)
    assert (host["job_name"], host["static_configs"]) == ("gateway-host", [{"targets": ["host.docker.internal:8080"]}])
    assert (itself["job_name"], itself["static_configs"]) == ("prometheus", [{"targets": ["localhost:9090"]}])


def test_every_rule_file_is_loaded() -> None:
    """By paths relative to the configuration, so that the folder can be mounted anywhere."""
    patterns = load(FOLDER / "prometheus.yml")["rule_files"]
    assert all(not pattern.startswith("/") for pattern in patterns)
    assert sorted(path for pattern in patterns for path in FOLDER.glob(pattern)) == RULE_FILES


def test_a_scrape_ends_before_the_next_begins() -> None:
    """And two of them lie within the shortest range of a rule, even if one is lost."""
    settings = load(FOLDER / "prometheus.yml")["global"]
    interval_s, timeout_s = (int(settings[f"scrape_{key}"].removesuffix("s")) for key in ("interval", "timeout"))
    assert timeout_s < interval_s <= 60 / 4
