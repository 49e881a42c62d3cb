"""The rows Overview, Performance and Usage: what runs, how fast, and what it costs."""

from deploy.grafana.kinds import Column, heat, lines, stat, table
from deploy.grafana.panels import NEUTRAL, NO_GATEWAY, Panel
from deploy.grafana.queries import RANGE, UNSUCCESSFUL, buckets, in_range, level, per_second, quantile, share

_LATENCY = (("green", None), ("yellow", 5), ("red", 15))
_FIRST_TOKEN = (("green", None), ("yellow", 1), ("red", 2))
_FAILING = (("green", None), ("yellow", 0.005), ("red", 0.05))

OVERVIEW: tuple[Panel, ...] = (
    stat(
        "Request Rate",
        "Requests answered per second, refused ones included.",
        per_second("requests_total"),
        "reqps",
        no_value=NO_GATEWAY,
        steps=NEUTRAL,
    ),
    stat(
        "P95 Latency",
        "95 of 100 requests ended within this time, from the request's arrival to the last byte of its answer. "
        "A stream ends when its last token has left, so long answers count as long.",
        quantile(0.95, "request_duration_seconds"),
        "s",
        steps=_LATENCY,
    ),
    stat(
        "Total Cost",
        "What the requests cost in the time shown, in US dollars. Counted while streams run.",
        in_range("cost_usd_total"),
        "currencyUSD",
        instant=True,
        no_value=NO_GATEWAY,
        steps=NEUTRAL,
        defaults={"decimals": 2},
    ),
    stat(
        "Active Streams",
        "Streams running now, over all instances.",
        level("active_streams"),
        "short",
        no_value=NO_GATEWAY,
        steps=NEUTRAL,
    ),
    stat(
        "Unsuccessful Requests",
        "Share of the requests that ended other than in success, by whosever fault: mistakes of clients, limits and "
        "budgets count too. The row SLO tells what users must not see.",
        share(per_second("requests_total", status=UNSUCCESSFUL), per_second("requests_total")),
        "percentunit",
        steps=_FAILING,
    ),
    stat(
        "P95 Time to First Token",
        "95 of 100 streams showed their first content within this time of the request's arrival.",
        quantile(0.95, "time_to_first_token_seconds"),
        "s",
        steps=_FIRST_TOKEN,
    ),
)

PERFORMANCE: tuple[Panel, ...] = (
    lines(
        "Request Rate by Provider",
        "Requests answered per second, by the provider that answered; none: refused before a provider was asked.",
        {"{{provider}}": per_second("requests_total", "provider")},
        "reqps",
        width=12,
    ).linking("provider"),
    lines(
        "Latency by Provider (P50/P95/P99)",
        "From the request's arrival to the last byte of its answer: 50, 95 and 99 of 100 requests were faster.",
        {
            f"{{{{provider}}}} P{percent}": quantile(percent / 100, "request_duration_seconds", "provider")
            for percent in (50, 95, 99)
        },
        "s",
        width=12,
        steps=_LATENCY,
    ).linking("provider"),
    heat(
        "Request Duration",
        "How many requests took how long, from arrival to the last byte.",
        buckets("request_duration_seconds"),
        "s",
        width=12,
    ),
    lines(
        "First Token by Model (P50/P95)",
        "From the request's arrival to the first content of a stream.",
        {
            f"{{{{model}}}} P{percent}": quantile(percent / 100, "time_to_first_token_seconds", "model")
            for percent in (50, 95)
        },
        "s",
        width=12,
        steps=_FIRST_TOKEN,
    ).linking("model"),
)

USAGE: tuple[Panel, ...] = (
    lines(
        "Token Rate (input/output)",
        "Tokens per second; they move while streams run. Input is the sum of all kinds of input.",
        {"{{type}}": per_second("tokens_total", "type")},
        "short",
        width=12,
    ),
    lines(
        "Cost per Hour by Tenant",
        "What each tenant spends at the present rate, in US dollars per hour.",
        {"{{tenant_id}}": f"3600 * {per_second('cost_usd_total', 'tenant_id')}"},
        "currencyUSD",
        width=12,
        stacked=True,
    ).linking("tenant_id"),
    table(
        "Tenants",
        "What each tenant used in the time shown.",
        {"tenant_id": "Tenant"},
        (
            Column("Requests", in_range("requests_total", "tenant_id"), "short"),
            Column("Unsuccessful", in_range("requests_total", "tenant_id", status=UNSUCCESSFUL), "short"),
            Column("Input tokens", in_range("tokens_total", "tenant_id", type='="input"'), "short"),
            Column("Output tokens", in_range("tokens_total", "tenant_id", type='="output"'), "short"),
            Column("Cost", in_range("cost_usd_total", "tenant_id"), "currencyUSD"),
        ),
        width=12,
    ).linking("tenant_id", column="Tenant"),
    table(
        "Models",
        "What each model did in the time shown; none: no model was named, other: one that is not configured.",
        {"model": "Model"},
        (
            Column("Requests", in_range("requests_total", "model"), "short"),
            Column("Unsuccessful", in_range("requests_total", "model", status=UNSUCCESSFUL), "short"),
            Column("Output tokens", in_range("tokens_total", "model", type='="output"'), "short"),
            Column("Cost", in_range("cost_usd_total", "model"), "currencyUSD"),
            Column("P95 latency", quantile(0.95, "request_duration_seconds", "model", over=RANGE), "s"),
            Column("P95 first token", quantile(0.95, "time_to_first_token_seconds", "model", over=RANGE), "s"),
        ),
        width=12,
    ).linking("model", column="Model"),
    lines(
        "Tokens of Special Kinds",
        "Tokens per second that the token rate counts too: input read from the provider's cache or written to it, "
        "output spent on reasoning.",
        {"{{detail}}": per_second("token_details_total", "detail")},
        "short",
        width=24,
        height=6,
    ),
)
