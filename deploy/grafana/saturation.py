"""The row Saturation: what is nearly full, and what the gateway itself adds to the time."""

from deploy.grafana.kinds import Column, lines, spread, states, table
from deploy.grafana.panels import NO_GATEWAY, Panel, Steps
from deploy.grafana.queries import level, of_gateways, per_second, rate, select

_UP = ((1, "Up", "green"), (0, "Down", "red"))
_LAG: Steps = (("green", None), ("yellow", 0.05), ("red", 0.25))

SATURATION: tuple[Panel, ...] = (
    lines(
        "Pool Connections",
        "Connections to each provider: with a request on them, or idle.",
        {"{{provider}} {{state}}": level("pool_connections", "provider", "state")},
        "short",
        stacked=True,
        no_value=NO_GATEWAY,
    ),
    lines(
        "Waiting for a Connection (P95)",
        "How long requests waited because the provider had as many connections as it may.",
        spread("pool_wait_seconds", "provider", quantiles=(95,)),
        "s",
    ).linking("provider"),
    lines(
        "Stale Connections",
        "Requests per second sent again because the provider had closed the kept connection.",
        {"{{provider}}": per_second("stale_connections_total", "provider")},
        "reqps",
    ),
    lines(
        "Event Loop Lag (P50/P99)",
        "How late the event loop ran a timer: the delay that every stream of an instance suffers.",
        spread("event_loop_lag_seconds"),
        "s",
        steps=_LAG,
        limits=True,
    ),
    lines(
        "Overhead (P50/P99)",
        "The gateway's own share of the time: until the request left, on the first byte's way back, to settle.",
        spread("overhead_seconds", "phase"),
        "s",
    ),
    lines(
        "Client Connections",
        "Client connections open now, with the streams on them.",
        {"Connections": level("active_connections"), "Streams": level("active_streams")},
        "short",
        no_value=NO_GATEWAY,
    ),
    lines(
        "Ledger Waiting",
        "Rows of the ledger that wait to be written, and answers per second that went out before their row was safe "
        "because the wait was over.",
        {"Pending rows": level("ledger_pending"), "Late answers per second": per_second("ledger_late_total")},
        "short",
        no_value=NO_GATEWAY,
    ),
    lines(
        "Ledger Commit (P50/P99)",
        "How long the ledger took to commit a group of rows.",
        spread("ledger_commit_seconds"),
        "s",
    ),
    lines(
        "Store Calls (P95)",
        "How long the database and Redis took to answer, by what they were asked.",
        spread("store_seconds", "store", "op", quantiles=(95,)),
        "s",
    ),
    states(
        "Stores",
        "Whether the database and Redis answer every instance.",
        {"{{store}}": level("store_up", "store", of="min")},
        _UP,
        height=6,
        no_value="No store is configured",
    ),
    lines(
        "Decisions without Redis",
        "Requests per second with a limit or a budget that Redis did not answer for, by what was decided without it.",
        {"{{decision}}": per_second("store_outage_decisions_total", "decision")},
        "reqps",
        height=6,
        stacked=True,
    ),
    lines(
        "Configuration Reloads",
        "Reloads per second, by result; a refused file changed nothing.",
        {"{{result}}": per_second("config_reloads_total", "result")},
        "ops",
        height=6,
    ),
    lines(
        "CPU",
        "Processor time per second: 100 % is one core, and one core is all that one instance can use.",
        {"{{instance}}": of_gateways(rate("process_cpu_seconds_total", "job", "instance"))},
        "percentunit",
        height=6,
    ),
    lines(
        "Memory",
        "Memory in RAM and address space.",
        {
            "{{instance}} RAM": of_gateways(select("process_resident_memory_bytes")),
            "{{instance}} address space": of_gateways(select("process_virtual_memory_bytes")),
        },
        "bytes",
        height=6,
    ),
    lines(
        "File Descriptors",
        "Open file descriptors as a share of what the process may open; a stream takes two.",
        {
            "{{instance}}": of_gateways(
                f"{select('process_open_fds')} / {select('process_max_fds')}",
            )
        },
        "percentunit",
        height=6,
        steps=(("green", None), ("yellow", 0.7), ("red", 0.9)),
        defaults={"max": 1},
    ),
    table(
        "Instances",
        "The gateways that are scraped, the version of each, and since when it runs.",
        {"instance": "Address", "instance_id": "Identity", "version": "Version"},
        (
            Column(
                "Running since",
                f"max by (instance, instance_id, version) ({select('instance_info')} * on (job, instance) "
                f"group_left() (1000 * {select('process_start_time_seconds')}))",
                "dateTimeFromNow",
            ),
        ),
        height=6,
        no_value=NO_GATEWAY,
    ),
)
