"""The row SLO: whether users get what they were promised, and whether budgets will last."""

from deploy.grafana.kinds import bars, lines, stat
from deploy.grafana.panels import Panel, Steps
from deploy.grafana.queries import RANGE, rate, recorded, select, share
from deploy.prometheus.generate import BURNS, FIRST_TOKEN_S, LEVELS, PERIOD_D, bad_statuses, excluded_statuses

_NO_RULES = "No traffic, or Prometheus does not load the recording rules of deploy/prometheus"
_BAD = f'=~"{"|".join(bad_statuses())}"'
_VALID = f'!~"{"|".join(excluded_statuses())}"'
_GOALS = {level.slo: level.objective for level in LEVELS}
_FAILED, _COUNTED = rate("requests_total", "model", status=_BAD), rate("requests_total", "model", status=_VALID)
_PAGES = sorted(burn.rate for burn in BURNS if burn.severity == "page")
_LEFT_S = f"clamp_min({select('budget_reset_timestamp_seconds')} - time(), 0)"
_TREND = f"clamp_min(deriv({select('budget_usage_ratio')}[{RANGE}]), 0)"
FORECAST = f"max by (tenant_id) ({select('budget_usage_ratio')} + {_TREND} * {_LEFT_S})"
"""The share of each budget that will be spent when it begins again, if the time shown goes on as it went."""


def _goal(slo: str) -> Steps:
    return (("red", None), ("green", _GOALS[slo]))


SLO: tuple[Panel, ...] = (
    stat(
        f"Error Budget Left ({PERIOD_D} d)",
        f"How much of what may go wrong in {PERIOD_D} days is left, by objective. Below 0 the promise is broken.",
        recorded(f"aigateway_slo:budget_left{PERIOD_D}d"),
        "percentunit",
        legend="{{slo}}",
        width=6,
        height=8,
        no_value=_NO_RULES,
        steps=(("red", None), ("yellow", 0.1), ("green", 0.5)),
    ),
    lines(
        "Burn Rate",
        f"How many times faster than allowed the error budget was spent in the last hour: at 1 it lasts {PERIOD_D} "
        f"days. A page is due where it stays above {' or '.join(f'{pace:g}' for pace in _PAGES)}.",
        {"{{slo}}": recorded("aigateway_slo:burn_rate1h")},
        "none",
        width=6,
        no_value=_NO_RULES,
        steps=(("green", None), *zip(("orange", "red"), _PAGES, strict=True)),
        limits=True,
    ),
    lines(
        "Availability by Model",
        "Share of the requests that succeeded, leaving out the client's own mistakes. "
        f"The promise is {_GOALS['availability']:.1%} over {PERIOD_D} days.",
        {"{{model}}": f"1 - {share(_FAILED, _COUNTED)}"},
        "percentunit",
        width=6,
        steps=_goal("availability"),
        defaults={"max": 1},
    ).linking("model"),
    lines(
        f"First Token within {FIRST_TOKEN_S:g} s",
        f"Share of the streams whose first content came within {FIRST_TOKEN_S:g} s of the request. "
        f"The promise is {_GOALS['ttft']:.1%} over {PERIOD_D} days.",
        {
            "{{model}}": share(
                rate("time_to_first_token_seconds", "model", ending="_bucket", le=f'="{FIRST_TOKEN_S}"'),
                rate("time_to_first_token_seconds", "model", ending="_count"),
            )
        },
        "percentunit",
        width=6,
        steps=_goal("ttft"),
        defaults={"max": 1},
    ).linking("model"),
    bars(
        "Budget Forecast at Reset",
        "The share of each tenant's budget that will be spent when it begins again, if spending goes on as in the "
        "time shown. Above 100 % the tenant will be refused before.",
        FORECAST,
        "{{tenant_id}}",
        "percentunit",
        width=24,
        height=6,
        top=1.5,
        steps=(("green", None), ("yellow", 0.9), ("red", 1.0)),
        no_value="No tenant has a budget that begins again",
    ).linking("tenant_id"),
)
