"""The door: labels stay inside closed sets, and each set of labels has one bundle of cells."""

import pytest

from gateway.core.outcome import Outcome
from gateway.metrics import Metrics
from gateway.metrics.registry import MAX_TENANT_LABELS
from tests.metrics.text_format import Exposition, read_exposition


@pytest.fixture
def metrics() -> Metrics:
    """Two tenants, a model, a pattern, two providers."""
    return Metrics("host-1", "0.1.0", ["acme", "beta"], ["gpt-4o", "llama-*"], ["openai", "demo"])


def scrape(metrics: Metrics) -> Exposition:
    """Render and read back."""
    return read_exposition(metrics.render()[0])


def test_instance_is_named(metrics: Metrics) -> None:
    """The identity is a constant 1."""
    assert scrape(metrics).value("aigateway_instance_info", instance_id="host-1", version="0.1.0") == 1


def test_labels_come_from_closed_sets(metrics: Metrics) -> None:
    """Configured names stand for themselves, `none` for nothing, everything else is `other`."""
    assert [metrics.tenant_label(t) for t in ("acme", "none", "nobody")] == ["acme", "none", "other"]
    assert [metrics.model_label(m) for m in ("llama-*", "none", "llama-3")] == ["llama-*", "none", "other"]
    assert [metrics.provider_label(p) for p in ("demo", "none", "evil")] == ["demo", "none", "other"]


def test_invented_names_make_no_series(metrics: Metrics) -> None:
    """A client that asks for a thousand models adds the cells of `other`, once."""
    metrics.route("acme", "none", "invented").requests(Outcome.FORBIDDEN_MODEL).inc()
    metrics.target("openai", "invented")
    metrics.provider("invented")
    before = len(scrape(metrics).samples)
    for n in range(1000):
        assert metrics.route("acme", "none", f"invented-{n}") is metrics.route("acme", "none", "other")
        metrics.route("acme", "none", f"invented-{n}").requests(Outcome.FORBIDDEN_MODEL).inc()
        assert metrics.target("openai", f"invented-{n}") is metrics.target("openai", "other")
        assert metrics.provider(f"invented-{n}") is metrics.provider("other")
    seen = scrape(metrics)
    assert len(seen.samples) == before
    labels = {"tenant_id": "acme", "provider": "none", "model": "other", "status": "forbidden_model"}
    assert seen.value("aigateway_requests_total", **labels) == 1001


def test_tenants_beyond_the_cap_share_a_label() -> None:
    """Two hundred tenants have a label of their own, the rest none."""
    tenants = [f"t{n}" for n in range(MAX_TENANT_LABELS + 5)]
    metrics = Metrics("i", "v", tenants, ["m"], ["p"])
    labels = {metrics.tenant_label(tenant) for tenant in tenants}
    assert labels == {*tenants[:MAX_TENANT_LABELS], "other"}
    assert metrics.route(tenants[-1], "p", "m") is metrics.route(tenants[-2], "p", "m")


def test_the_same_labels_have_the_same_cells(metrics: Metrics) -> None:
    """What one request moves, another goes on from."""
    assert metrics.route("acme", "openai", "gpt-4o") is metrics.route("acme", "openai", "gpt-4o")
    assert metrics.target("openai", "gpt-4o") is metrics.target("openai", "gpt-4o")
    assert metrics.provider("openai") is metrics.provider("openai")
    assert metrics.route("acme", "openai", "gpt-4o") is not metrics.route("beta", "openai", "gpt-4o")


def test_two_gateways_in_one_process_count_apart() -> None:
    """Nothing is global."""
    one, two = (Metrics(n, "v", ["t"], ["m"], ["p"]) for n in "ab")
    one.provider("p").stalls.inc()
    assert scrape(two).value("aigateway_stalls_total", provider="p") == 0


def test_names_of_another_configuration_are_known_too(metrics: Metrics) -> None:
    """From 0 on, for what it can route; what was known stays, with its values and its labels."""
    metrics.route("acme", "openai", "gpt-4o").requests(Outcome.SUCCESS).inc()
    metrics.route("new", "fresh", "gpt-5").requests(Outcome.SUCCESS).inc()
    metrics.configure(["new", "acme"], ["gpt-5"], ["fresh"], targets=[("fresh", "gpt-5")])
    scraped = scrape(metrics)
    known = {"tenant_id": "new", "provider": "fresh", "model": "gpt-5", "status": "success"}
    assert scraped.value("aigateway_requests_total", **known) == 0
    served = {"tenant_id": "acme", "provider": "openai", "model": "gpt-4o", "status": "success"}
    assert scraped.value("aigateway_requests_total", **served) == 1
    assert {labels["provider"] for labels in scraped.series("aigateway_circuit_breaker_state")} == {
        "openai",
        "demo",
        "fresh",
    }
    pairs = {(labels["provider"], labels["model"]) for labels in scraped.series("aigateway_inter_chunk_seconds_count")}
    assert ("fresh", "gpt-5") in pairs and ("fresh", "gpt-4o") not in pairs
    metrics.route("new", "fresh", "gpt-5").requests(Outcome.SUCCESS).inc()
    assert scrape(metrics).value("aigateway_requests_total", **known) == 1
    assert [metrics.provider_label(name) for name in ("openai", "fresh", "evil")] == ["openai", "fresh", "other"]


def test_tenants_are_known_up_to_a_bound(metrics: Metrics) -> None:
    """Whoever comes first; those of a configuration that is gone keep their place."""
    metrics.know_tenants(f"t{n}" for n in range(MAX_TENANT_LABELS))
    assert [metrics.tenant_label(tenant) for tenant in ("acme", "t0", "t197", "t198")] == [
        "acme",
        "t0",
        "t197",
        "other",
    ]
    metrics.configure(["late"], ["gpt-4o"], ["openai"])
    assert metrics.tenant_label("late") == "other"
    assert scrape(metrics).value("aigateway_rate_limit_hits_total", tenant_id="t197") == 0


def test_what_is_known_already_costs_nothing(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """No series is looked at again."""
    monkeypatch.setattr("gateway.metrics.registry.bind_known_series", lambda *_: pytest.fail("bound again"))
    metrics.configure(["beta"], ["llama-*"], ["demo"], targets=[("demo", "gpt-4o")])
    metrics.know_tenants(["acme"])
