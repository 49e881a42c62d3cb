"""The PromQL builders: which labels they ask for, and what they refuse."""

import pytest

from deploy.grafana.queries import ZERO, in_range, level, per_second, quantile, recorded, select, variables_in


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("active_connections", 'instance=~"$instance"'),
        ("active_streams", 'instance=~"$instance",provider=~"$provider"'),
        ("rate_limit_hits_total", 'instance=~"$instance",tenant_id=~"$tenant"'),
        ("fallbacks_total", 'instance=~"$instance",from=~"$provider"'),
        (
            "cost_usd_total",
            'instance=~"$instance",tenant_id=~"$tenant",provider=~"$provider",model=~"$model"',
        ),
    ],
)
def test_selectors_follow_the_variables_of_their_labels(name: str, labels: str) -> None:
    """A metric is filtered by the labels it has, and by no other."""
    assert select(name) == f"aigateway_{name}{{{labels}}}"


def test_further_matchers_come_last() -> None:
    """What a panel itself asks for stands behind the variables."""
    assert select("client_disconnects_total", phase='!="unary"').endswith(',phase!="unary"}')


@pytest.mark.parametrize(
    ("name", "ending", "matchers"),
    [
        ("nothing_total", "", {}),
        ("active_streams", "_bucket", {}),
        ("inter_chunk_seconds", "", {}),
        ("active_streams", "", {"status": '="success"'}),
    ],
)
def test_what_does_not_exist_is_refused(name: str, ending: str, matchers: dict[str, str]) -> None:
    """A metric, an ending or a label that the gateway does not have."""
    with pytest.raises(KeyError):
        select(name, ending, **matchers)


def test_a_series_that_no_rule_records_is_refused() -> None:
    """Only recorded names pass."""
    assert recorded("aigateway_slo:burn_rate1h") == "aigateway_slo:burn_rate1h"
    with pytest.raises(KeyError):
        recorded("aigateway_slo:burn_rate2h")


def test_only_sums_over_everything_fall_back_on_zero() -> None:
    """A line per label value must not gain one without a label."""
    assert per_second("stalls_total").endswith(f" or {ZERO}")
    assert in_range("stalls_total").endswith(f" or {ZERO}")
    assert level("active_streams").endswith(f" or {ZERO}")
    assert ZERO not in per_second("stalls_total", "provider")
    assert ZERO not in level("active_streams", "provider", of="max")


def test_the_ending_of_a_gauge_s_sum_can_be_chosen() -> None:
    """The worst value is a maximum, not a sum."""
    assert level("circuit_breaker_state", "provider", of="max").startswith("max by (provider) (aigateway_circuit")


def test_quantiles_keep_the_buckets_apart() -> None:
    """``le`` survives the sum, whatever else does."""
    assert quantile(0.5, "overhead_seconds", "phase").startswith("histogram_quantile(0.5, sum by (phase, le) (rate(")


def test_variables_are_found_without_grafana_s_own() -> None:
    """In both spellings."""
    assert variables_in('x{a=~"$tenant"}[$__range] ${model:queryparam} ${__field.labels.x}') == {"tenant", "model"}
