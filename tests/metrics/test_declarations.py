"""The contract with dashboards, alerts and readers: names, labels and the words a label may take."""

import pytest
from aioprometheus.collectors import Registry

from gateway.core.breaker import LEGAL
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.metrics.collectors import BoundHistogram
from gateway.metrics.declarations import (
    ATTEMPT_RESULTS,
    FALLBACK_REASONS,
    PROVIDER_ERRORS,
    REFUSALS,
    REQUEST_STATUSES,
    TRANSITIONS,
    Declarations,
)

CONTRACT = {
    "requests_total": "tenant_id provider model status",
    "request_duration_seconds": "tenant_id provider model",
    "tokens_total": "tenant_id provider model type",
    "cost_usd_total": "tenant_id provider model",
    "provider_errors_total": "provider error_type",
    "active_streams": "provider",
    "active_connections": "",
    "instance_info": "instance_id version",
    "time_to_first_token_seconds": "provider model",
    "inter_chunk_seconds": "provider model",
    "stream_duration_seconds": "provider model",
    "output_tokens_per_second": "provider model",
    "overhead_seconds": "phase",
    "attempts_total": "provider result",
    "client_disconnects_total": "phase",
    "stalls_total": "provider",
    "slow_client_seconds": "",
    "stream_settlements_total": "provider source",
    "token_details_total": "provider model detail",
    "pool_connections": "provider state",
    "event_loop_lag_seconds": "",
    "circuit_breaker_state": "provider",
    "circuit_breaker_next_probe_seconds": "provider",
    "circuit_breaker_transitions_total": "provider to reason",
    "config_reloads_total": "result",
    "rate_limit_hits_total": "tenant_id",
    "limit_rejections_total": "tenant_id limit",
    "budget_usage_ratio": "tenant_id",
    "budget_limit_usd": "tenant_id",
    "budget_spent_usd": "tenant_id",
    "budget_reset_timestamp_seconds": "tenant_id",
    "budget_thresholds_total": "tenant_id scope threshold",
    "store_up": "store",
    "store_outage_decisions_total": "decision",
    "store_seconds": "store op",
    "ledger_pending": "",
    "ledger_late_total": "",
    "ledger_commit_seconds": "",
    "fallbacks_total": "from to reason",
    "hedges_total": "provider result",
    "stale_connections_total": "provider",
    "pool_wait_seconds": "provider",
}


def test_names_and_labels_are_the_contract() -> None:
    """No metric more, none less, every label by its name."""
    declared = {family.name: set(family.label_names) for family in Declarations(Registry()).families()}
    assert declared == {f"aigateway_{name}": set(labels.split()) for name, labels in CONTRACT.items()}


def test_request_durations_have_the_contract_s_bounds() -> None:
    """Rules and dashboards name them."""
    bounds = Declarations(Registry()).request_duration.bounds
    assert bounds == (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@pytest.mark.parametrize(
    ("field", "first", "last"),
    [("time_to_first_token", 0.005, 60), ("overhead", 50e-6, 1)],
)
def test_histograms_span_what_they_must(field: str, first: float, last: float) -> None:
    """The ends of the scales that were agreed."""
    bounds = getattr(Declarations(Registry()), field).bounds
    assert (bounds[0], bounds[-1]) == (first, last)


def test_latency_objective_is_a_bound() -> None:
    """'Within 2 s' can only be measured at a bound of exactly 2.0."""
    assert 2.0 in Declarations(Registry()).time_to_first_token.bounds


def test_every_metric_says_what_it_means() -> None:
    """A help sentence, and a name whose suffix fits its kind."""
    for family in Declarations(Registry()).families():
        assert family.help.endswith(".")
        assert family.name.endswith("_total") == (family.kind.name == "counter")
        if isinstance(family, BoundHistogram):
            assert family.name.endswith(("_seconds", "_per_second"))


def test_an_attempt_cannot_end_as_a_refusal() -> None:
    """Who was refused at the door reached no provider."""
    refused = {
        Outcome.UNAUTHORIZED,
        Outcome.FORBIDDEN_MODEL,
        Outcome.RATE_LIMITED,
        Outcome.TOO_BUSY,
        Outcome.OVER_BUDGET,
        Outcome.CIRCUIT_OPEN,
        Outcome.OVERLOADED,
    }
    assert set(ATTEMPT_RESULTS) == set(Outcome) - refused
    assert refused < set(REFUSALS)


def test_a_request_can_be_refused_because_everybody_rests() -> None:
    """Nobody is asked, and the answer is 429 all the same."""
    assert Outcome.PROVIDER_THROTTLED in REFUSALS


def test_reasons_to_turn_elsewhere() -> None:
    """The column of the one table, and what keeps a target from being asked at all."""
    may_move_on = {outcome for outcome in Outcome if CONSEQUENCES[outcome].may_move_on}
    assert set(FALLBACK_REASONS) == may_move_on | {Outcome.CIRCUIT_OPEN, Outcome.OVERLOADED}


def test_changes_of_circuits_are_the_legal_ones() -> None:
    """What a circuit may change to and why, each pair once."""
    assert set(TRANSITIONS) == {(to.word, reason) for _, to, reason in LEGAL}
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)


def test_a_request_cannot_lose_a_hedge() -> None:
    """Only one of its attempts can."""
    assert set(REQUEST_STATUSES) == set(Outcome) - {Outcome.HEDGE_LOST}
    assert set(REFUSALS) < set(REQUEST_STATUSES)


def test_provider_errors_are_the_provider_s() -> None:
    """Neither the client's mistakes nor our own are held against a provider."""
    assert {str(outcome) for outcome in PROVIDER_ERRORS} == {
        "provider_auth",
        "provider_misrouted",
        "provider_throttled",
        "provider_error",
        "connect_failed",
        "first_token_timeout",
        "stalled",
        "truncated",
        "stream_error",
        "deadline_exceeded",
    }
