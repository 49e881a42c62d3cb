"""The picture's questions to Prometheus: what is asked is what Grafana would ask, and series are named as there."""

from collections.abc import Iterator

import pytest

from deploy.grafana.answers import Shown
from tests.deploy.grafana.real_prometheus import Prometheus, running

FIRST_S, EVERY_S, COUNT = 1_700_000_000, 5, 25
END_S = FIRST_S + EVERY_S * (COUNT - 1)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """With a gauge that tells the time, and a counter that grows by 2 per second."""

    def samples() -> Iterator[str]:
        for at_s in range(FIRST_S, END_S + 1, EVERY_S):
            yield f'seconds{{instance="one"}} {at_s - FIRST_S} {at_s}'
            yield f'asked_total{{instance="one",tenant_id="acme"}} {2 * (at_s - FIRST_S)} {at_s}'
        yield "# EOF"

    with running(tmp_path_factory.mktemp("answers"), samples()) as server:
        yield server


def target(expression: str, legend: str = "", *, instant: bool = False) -> dict[str, object]:
    """A query as a panel holds it."""
    return {"expr": expression, "legendFormat": legend, "instant": instant}


def test_a_line_over_the_time_shown(prometheus: Prometheus) -> None:
    """One value per scrape, its series named by its legend."""
    shown = Shown(prometheus.url, FIRST_S, END_S)
    (one,) = shown.of(target('seconds{instance=~"$instance"}', "{{instance}} and {{nothing}}"))
    assert (one.name, one.labels) == ("one and ", {"instance": "one"})
    assert one.times_s == tuple(range(FIRST_S, END_S + 1, EVERY_S))
    assert one.values == tuple(range(0, END_S - FIRST_S + 1, EVERY_S))


def test_a_value_at_the_end(prometheus: Prometheus) -> None:
    """Windows are those of Grafana: four scrapes, and all that is shown."""
    shown = Shown(prometheus.url, FIRST_S, END_S)
    (rate,) = shown.of(target("rate(asked_total[$__rate_interval])", "{{tenant_id}}", instant=True))
    assert (rate.name, rate.values, rate.times_s) == ("acme", (2.0,), (END_S,))
    (grown,) = shown.of(target("increase(asked_total[$__range])", instant=True))
    assert grown.last == pytest.approx(2 * (END_S - FIRST_S))


def test_a_long_time_has_as_many_points_as_a_short_one() -> None:
    """Some two hundred; between scrapes there is nothing to see."""
    assert Shown("", 0, 300).step_s == 5
    assert Shown("", 0, 20_000).step_s == 100


def test_a_refused_query_is_told(prometheus: Prometheus) -> None:
    """No panel is drawn empty because its query is wrong."""
    with pytest.raises(OSError, match="400"):
        Shown(prometheus.url, FIRST_S, END_S).of(target("rate("))
