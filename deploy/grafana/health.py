"""The rows Health and Errors: the cache, limits and circuits; what went wrong, and which budgets run out."""

from deploy.grafana.kinds import Column, bars, lines, states, table
from deploy.grafana.panels import NEUTRAL, NO_GATEWAY, Panel
from deploy.grafana.queries import ZERO, level, per_second, rate, share

CIRCUIT = ((0, "Closed", "green"), (1, "Half-Open", "yellow"), (2, "Open", "red"))
_SPENT = (("green", None), ("yellow", 0.5), ("orange", 0.8), ("red", 1.0))
_NO_BUDGET = "No tenant has a budget"
_LOOKUPS = f"{rate('cache_hits_total')} + {rate('cache_misses_total')}"

HEALTH: tuple[Panel, ...] = (
    lines(
        "Cache Hit Ratio",
        "Share of the look-ups in the response cache that found an answer. 0 where the gateway has no cache.",
        {"Hit ratio": f"{share(rate('cache_hits_total'), _LOOKUPS)} or {ZERO}"},
        "percentunit",
        steps=NEUTRAL,
        defaults={"max": 1},
    ),
    lines(
        "Rate Limit Hits",
        "Requests per second that were refused because a limit was reached, by tenant.",
        {"{{tenant_id}}": per_second("rate_limit_hits_total", "tenant_id")},
        "reqps",
    ).linking("tenant_id"),
    states(
        "Circuit Breaker State",
        "The worst circuit of each provider, on the instance where it is worst. Open: the provider is not asked; "
        "half-open: a few requests try whether it is back.",
        {"{{provider}}": level("circuit_breaker_state", "provider", of="max")},
        CIRCUIT,
        no_value=NO_GATEWAY,
    ),
    lines(
        "Refusals by Limit",
        "Requests per second refused because of a limit or a budget, by what was in the way.",
        {"{{limit}}": per_second("limit_rejections_total", "limit")},
        "reqps",
        stacked=True,
    ),
    lines(
        "Circuit Changes",
        "Changes of a circuit's state per second, by provider, new state and reason.",
        {
            "{{provider}} {{to}} ({{reason}})": per_second(
                "circuit_breaker_transitions_total", "provider", "to", "reason"
            )
        },
        "ops",
    ),
    lines(
        "Next Probe",
        "Until the next open circuit of the provider is tried again; 0 where none is open.",
        {"{{provider}}": level("circuit_breaker_next_probe_seconds", "provider", of="max")},
        "s",
        no_value=NO_GATEWAY,
    ),
    lines(
        "Cache Contents",
        "Answers kept in the response cache.",
        {"Entries": level("cache_entries"), "Bytes": level("cache_bytes")},
        "short",
        width=12,
        overrides=(
            {
                "matcher": {"id": "byName", "options": "Bytes"},
                "properties": [{"id": "unit", "value": "bytes"}, {"id": "custom.axisPlacement", "value": "right"}],
            },
        ),
    ),
    lines(
        "Cache Evictions and Followers",
        "Entries per second that left the cache, by reason; and requests per second that followed an answer already "
        "on its way to somebody else.",
        {
            "Evicted: {{reason}}": per_second("cache_evictions_total", "reason"),
            "Followers": per_second("cache_followers_total"),
        },
        "ops",
        width=12,
    ),
)

ERRORS: tuple[Panel, ...] = (
    lines(
        "Provider Errors",
        "Attempts per second that failed by the provider's fault or on the way to it, by provider and type.",
        {"{{provider}} {{error_type}}": per_second("provider_errors_total", "provider", "error_type")},
        "ops",
        width=12,
        stacked=True,
    ).linking("provider"),
    bars(
        "Budget Usage",
        "What each tenant has spent of its budget in the present period. At 100 % further requests are refused.",
        level("budget_usage_ratio", "tenant_id", of="max"),
        "{{tenant_id}}",
        "percentunit",
        width=12,
        steps=_SPENT,
        no_value=_NO_BUDGET,
    ).linking("tenant_id"),
    lines(
        "Requests by Status",
        "Requests answered per second, by how they ended.",
        {"{{status}}": per_second("requests_total", "status")},
        "reqps",
        width=12,
        stacked=True,
    ),
    lines(
        "Attempts by Result",
        "Attempts at a provider per second, by how they ended. One request may make several.",
        {"{{provider}} {{result}}": per_second("attempts_total", "provider", "result")},
        "ops",
        width=12,
        stacked=True,
    ),
    lines(
        "Fallbacks",
        "Requests per second that turned from one provider to another before any content. The variable provider "
        "picks whom they turned from.",
        {"{{from}} → {{to}} ({{reason}})": per_second("fallbacks_total", "from", "to", "reason")},
        "reqps",
        no_value="No model has a second provider",
    ),
    lines(
        "Hedges",
        "Second attempts per second, begun because the first content was late, by the provider they asked and how "
        "they ended.",
        {"{{provider}} {{result}}": per_second("hedges_total", "provider", "result")},
        "ops",
    ),
    lines(
        "Budget Thresholds",
        "Budgets per second of which a share in soft_at was spent, or that refused a request for want of money.",
        {
            "{{tenant_id}} {{scope}} {{threshold}}": per_second(
                "budget_thresholds_total", "tenant_id", "scope", "threshold"
            )
        },
        "ops",
    ),
    table(
        "Budgets",
        "Each tenant's budget in its present period, and when the next one begins.",
        {"tenant_id": "Tenant"},
        (
            Column("Limit", level("budget_limit_usd", "tenant_id", of="max"), "currencyUSD"),
            Column("Spent", level("budget_spent_usd", "tenant_id", of="max"), "currencyUSD"),
            Column("Used", level("budget_usage_ratio", "tenant_id", of="max"), "percentunit"),
            Column(
                "Begins again",
                f"1000 * {level('budget_reset_timestamp_seconds', 'tenant_id', of='max')}",
                "dateTimeFromNow",
            ),
        ),
        width=24,
        height=7,
        no_value=_NO_BUDGET,
    ).linking("tenant_id", column="Tenant"),
)
