"""The service levels follow from the table of outcomes, and the committed rules from both."""

from aioprometheus.collectors import Registry

from deploy.prometheus.generate import (
    BURNS,
    EVALUATION_S,
    FIRST_TOKEN_S,
    WINDOWS,
    bad_statuses,
    duration,
    excluded_statuses,
    recorded,
    rules,
    seconds,
)
from gateway.core.outcome import Outcome
from gateway.metrics.declarations import REQUEST_STATUSES, Declarations
from tests.deploy.prometheus.shipped import FOLDER, load


def test_committed_rules_are_the_generated_ones() -> None:
    """If this fails, run `python -m deploy.prometheus.generate > deploy/prometheus/rules/slo.yml`."""
    assert (FOLDER / "rules" / "slo.yml").read_text("utf-8") == rules()


def test_every_ending_is_good_bad_or_excluded() -> None:
    """Success is good, the client's faults do not count, and all else broke the promise."""
    bad, excluded = set(bad_statuses()), set(excluded_statuses())
    assert bad & excluded == set()
    assert set(REQUEST_STATUSES) - bad - excluded == {Outcome.SUCCESS}
    assert {Outcome.CLIENT_CLOSED, Outcome.RATE_LIMITED, Outcome.OVER_BUDGET, Outcome.INVALID_REQUEST} <= excluded
    assert {Outcome.PROVIDER_THROTTLED, Outcome.CIRCUIT_OPEN, Outcome.STALLED, Outcome.INTERNAL} <= bad


def test_latency_objective_can_be_measured() -> None:
    """It is a bound of the histogram, as the scrape prints it."""
    assert FIRST_TOKEN_S in Declarations(Registry()).time_to_first_token.bounds
    assert f'le="{FIRST_TOKEN_S}"' in rules()


def test_events_are_counted_by_the_interval_that_is_configured() -> None:
    """A recorded rate stands for as many seconds as lie between two evaluations."""
    assert load(FOLDER / "prometheus.yml")["global"]["evaluation_interval"] == f"{EVALUATION_S}s"


def test_every_window_of_an_alert_is_recorded() -> None:
    """Long and short ones, in the pairs of the SRE workbook."""
    assert {window for burn in BURNS for window in (burn.long, burn.short)} <= {"5m", *WINDOWS}
    assert [(burn.severity, burn.rate, seconds(burn.long) // seconds(burn.short)) for burn in BURNS] == [
        ("page", 14.4, 12),
        ("page", 6, 12),
        ("ticket", 3, 12),
        ("ticket", 1, 12),
    ]


def test_recorded_names_are_told() -> None:
    """Dashboards go by this list."""
    names = recorded()
    assert {"aigateway_slo:objective", "aigateway_slo:bad_ratio_rate3d", "aigateway_slo:budget_left30d"} <= set(names)
    assert {
        rule["record"] for g in load(FOLDER / "rules" / "slo.yml")["groups"] for rule in g["rules"] if "record" in rule
    } == set(names)


def test_times_are_written_for_people() -> None:
    """Hours below three days."""
    assert [duration(seconds(text)) for text in ("50h", "5d", "30d")] == ["50 hours", "5 days", "30 days"]
