"""The row Streams: how fast they begin and run, and how they end."""

from deploy.grafana.kinds import heat, lines, spread
from deploy.grafana.panels import NO_GATEWAY, Panel
from deploy.grafana.queries import buckets, level, per_second, quantile

STREAMS: tuple[Panel, ...] = (
    heat(
        "Time to First Token",
        "How many streams showed their first content after which time.",
        buckets("time_to_first_token_seconds"),
        "s",
    ),
    heat(
        "Time between Chunks",
        "How many chunks came how long after the one before: what a reader sees as smooth or jerky.",
        buckets("inter_chunk_seconds"),
        "s",
    ),
    heat(
        "Tokens per Second of a Stream",
        "How many streams ran at which speed after their first content.",
        buckets("output_tokens_per_second"),
        "short",
    ),
    lines(
        "Active Streams by Provider",
        "Streams running now.",
        {"{{provider}}": level("active_streams", "provider")},
        "short",
        stacked=True,
        no_value=NO_GATEWAY,
    ).linking("provider"),
    lines(
        "Stream Duration (P50/P95)",
        "From the request's arrival to the end of its stream.",
        spread("stream_duration_seconds", "provider", quantiles=(50, 95)),
        "s",
    ).linking("provider"),
    lines(
        "Tokens per Second by Model (P50/P5)",
        "Half of the streams ran faster than P50, 95 of 100 faster than P5.",
        {f"{{{{model}}}} P{p}": quantile(p / 100, "output_tokens_per_second", "model") for p in (50, 5)},
        "short",
    ).linking("model"),
    lines(
        "Client Disconnects",
        "Clients per second that left before their answer was complete, by what they were waiting for.",
        {"{{phase}}": per_second("client_disconnects_total", "phase")},
        "ops",
        width=6,
        stacked=True,
    ),
    lines(
        "Stalls",
        "Streams per second that fell silent for longer than stall_s allows.",
        {"{{provider}}": per_second("stalls_total", "provider")},
        "ops",
        width=6,
    ).linking("provider"),
    lines(
        "Slow Clients",
        "How often per second reading from a provider stood still because a client was behind, and how long 95 of "
        "100 of these pauses were at most.",
        {
            "Pauses": per_second("slow_client_seconds", ending="_count"),
            "P95 of a pause": quantile(0.95, "slow_client_seconds"),
        },
        "ops",
        width=6,
        overrides=(
            {
                "matcher": {"id": "byName", "options": "P95 of a pause"},
                "properties": [{"id": "unit", "value": "s"}, {"id": "custom.axisPlacement", "value": "right"}],
            },
        ),
    ),
    lines(
        "Where Token Counts Came From",
        "Streams settled per second: on the provider's own report, on an estimate, or on none.",
        {"{{source}}": per_second("stream_settlements_total", "source")},
        "ops",
        width=6,
        stacked=True,
    ),
)
