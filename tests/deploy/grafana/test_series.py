"""The metrics that the dashboards know, against what the gateway declares."""

from deploy.grafana.series import LATER, Series, declared, known


def test_what_is_declared_is_not_waited_for() -> None:
    """A metric that the gateway has leaves the list of later ones."""
    assert sorted(LATER.keys() & declared().keys()) == []


def test_metrics_are_known_with_kind_and_labels() -> None:
    """Those of the gateway, of the process, and later ones."""
    assert known()["aigateway_active_streams"] == Series("gauge", ("provider",))
    assert known()["process_cpu_seconds_total"] == Series("counter")
    assert known()["aigateway_inter_chunk_seconds"] == Series("histogram", ("provider", "model"))
    assert LATER.items() <= known().items()
