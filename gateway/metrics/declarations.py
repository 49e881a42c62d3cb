"""Every metric of the gateway, each declared in one line: name, meaning, labels, words, bounds.

Names and labels are a contract with dashboards, alerts and the README. To add a metric, add a line to
``Declarations``: its series then exist at 0 from the first scrape and ``docs/metrics.md`` lists it.

Long because all metrics stand in this one table.
"""

from aioprometheus.collectors import Registry

from gateway.core.breaker import LEGAL
from gateway.core.outcome import CONSEQUENCES, Fault, Outcome, Verdict
from gateway.core.quota import Limit
from gateway.metrics.collectors import AnyFamily, BoundCounter, BoundGauge, BoundHistogram, ReadCounter

NONE = "none"
"""The label where there is nothing to name: no provider reached, no tenant known yet."""
OTHER = "other"
"""The label for what the configuration does not name."""

REQUEST_STATUSES = tuple(o for o in Outcome if o is not Outcome.HEDGE_LOST)
"""How a request can end; losing a hedge is an attempt's ending."""
ATTEMPT_RESULTS = tuple(o for o in Outcome if CONSEQUENCES[o].verdict is not Verdict.NONE)
"""How an attempt can end: the outcomes with which a target was asked."""
PROVIDER_ERRORS = tuple(
    o
    for o in ATTEMPT_RESULTS
    if CONSEQUENCES[o].fault in {Fault.PROVIDER, Fault.PATH, Fault.CAPACITY}
    or o in {Outcome.PROVIDER_AUTH, Outcome.PROVIDER_MISROUTED}
)
"""The attempts that count against a provider; an open circuit asked none."""
REFUSALS = tuple(
    o
    for o in REQUEST_STATUSES
    if CONSEQUENCES[o].verdict is Verdict.NONE
    or o
    in {
        Outcome.INVALID_REQUEST,
        Outcome.PROVIDER_THROTTLED,
        Outcome.CLIENT_CLOSED,
        Outcome.DRAINING,
        Outcome.INTERNAL,
    }
)
"""How a request can end before any provider was asked: all of them may rest, be cut off or full."""

TOKEN_TYPES = ("input", "output")
TOKEN_DETAILS = ("cached_input", "cache_write", "reasoning")
SETTLEMENT_SOURCES = ("reported", "estimated", "none")
DISCONNECT_PHASES = ("before_head", "before_content", "streaming", "unary")
OVERHEAD_PHASES = ("request", "first_byte", "settlement")
POOL_STATES = ("in_use", "idle")
RELOAD_RESULTS = ("applied", "refused")
HEDGE_RESULTS = ("won", "lost", "failed", "abandoned")
LIMITS = tuple(limit.value for limit in Limit)
BUDGET_SCOPES = ("tenant", "key")
BUDGET_THRESHOLDS = ("soft", "exhausted")
STORE_OPS = (
    ("database", "read"),
    ("database", "write"),
    ("database", "commit"),
    ("redis", "admit"),
    ("redis", "settle"),
    ("redis", "top_up"),
    ("redis", "renew"),
    ("redis", "beat"),
)
"""What is asked of which store: transactions, those of the ledger as ``commit``, and the scripts of Redis."""
OUTAGE_DECISIONS = ("local", "denied", "allowed")
TRANSITIONS = tuple(sorted({(to.word, str(reason)) for _, to, reason in LEGAL}))
"""What a circuit changes to, and why: the pairs that can occur."""
FALLBACK_REASONS = (
    *(o for o in Outcome if CONSEQUENCES[o].may_move_on),
    Outcome.CIRCUIT_OPEN,
    Outcome.OVERLOADED,
)
"""Why a request turned from one provider to another."""

# 2.0 must be a bound of the time to first token: the latency objective is "within 2 s"
_REQUEST_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TOKEN_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 20, 30, 60)
_CHUNK_GAP_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)
_STREAM_S = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_TOKENS_PER_S = (1, 2, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500)
_OVERHEAD_S = (50e-6, 100e-6, 250e-6, 500e-6, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_POOL_WAIT_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_STORE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW_CLIENT_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LOOP_LAG_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)

_ROUTE = ("tenant_id", "provider", "model")
_TARGET = ("provider", "model")


class Declarations:
    """The collectors, by what they measure."""

    def __init__(self, r: Registry) -> None:
        self.instance_info = BoundGauge(
            r,
            "aigateway_instance_info",
            "1, with the identity and the version of this process.",
            ("instance_id", "version"),
        )
        self.active_connections = BoundGauge(r, "aigateway_active_connections", "Client connections open now.")
        self.active_streams = BoundGauge(
            r,
            "aigateway_active_streams",
            "Streams running now, by the provider that serves them.",
            ("provider",),
        )
        self.pool_connections = BoundGauge(
            r,
            "aigateway_pool_connections",
            "Connections to the provider, by what they do now.",
            ("provider", "state"),
            words={"state": POOL_STATES},
        )
        self.circuit_state = BoundGauge(
            r,
            "aigateway_circuit_breaker_state",
            "The worst circuit of the provider: 0 closed, 1 half-open, 2 open.",
            ("provider",),
        )
        self.circuit_next_probe = BoundGauge(
            r,
            "aigateway_circuit_breaker_next_probe_seconds",
            "Until the next open circuit of the provider is probed; 0 where none is open.",
            ("provider",),
        )

        self.circuit_transitions = BoundCounter(
            r,
            "aigateway_circuit_breaker_transitions_total",
            "Changes of a circuit's state, by what it changed to and why.",
            ("provider", "to", "reason"),
        )
        self.fallbacks = BoundCounter(
            r,
            "aigateway_fallbacks_total",
            "Requests that turned from one provider to another before any content, by why.",
            ("from", "to", "reason"),
            words={"reason": FALLBACK_REASONS},
        )
        self.hedges = BoundCounter(
            r,
            "aigateway_hedges_total",
            "Second attempts begun because the first content was late, by the provider they asked and how they ended.",
            ("provider", "result"),
            words={"result": HEDGE_RESULTS},
        )
        self.stale_connections = BoundCounter(
            r,
            "aigateway_stale_connections_total",
            "Requests sent again because the provider had closed the kept connection; they count as one attempt.",
            ("provider",),
        )
        self.provider_errors = BoundCounter(
            r,
            "aigateway_provider_errors_total",
            "Attempts that failed by the provider's fault, or on the way to it.",
            ("provider", "error_type"),
            words={"error_type": PROVIDER_ERRORS},
        )
        self.attempts = BoundCounter(
            r,
            "aigateway_attempts_total",
            "Attempts made at a provider, by how they ended.",
            ("provider", "result"),
            words={"result": ATTEMPT_RESULTS},
        )
        self.stalls = BoundCounter(
            r, "aigateway_stalls_total", "Streams that fell silent for longer than stall_s.", ("provider",)
        )
        self.stream_settlements = BoundCounter(
            r,
            "aigateway_stream_settlements_total",
            "Streams settled, by where their token counts came from.",
            ("provider", "source"),
            words={"source": SETTLEMENT_SOURCES},
        )
        self.client_disconnects = BoundCounter(
            r,
            "aigateway_client_disconnects_total",
            "Clients that left before their answer was complete, by what they were waiting for.",
            ("phase",),
            words={"phase": DISCONNECT_PHASES},
        )
        self.rate_limit_hits = BoundCounter(
            r, "aigateway_rate_limit_hits_total", "Requests refused because a limit was reached.", ("tenant_id",)
        )
        self.config_reloads = BoundCounter(
            r,
            "aigateway_config_reloads_total",
            "Configurations read again while the gateway ran, by whether they could be used.",
            ("result",),
            words={"result": RELOAD_RESULTS},
        )
        self.limit_rejections = BoundCounter(
            r,
            "aigateway_limit_rejections_total",
            "Requests refused because of a limit or a budget, by what was in the way.",
            ("tenant_id", "limit"),
            words={"limit": LIMITS},
        )
        self.budget_usage_ratio = BoundGauge(
            r,
            "aigateway_budget_usage_ratio",
            "What is spent of the tenant's budget in its period, as a share; of a budget of 0 it is 1.",
            ("tenant_id",),
        )
        self.budget_limit = BoundGauge(
            r, "aigateway_budget_limit_usd", "The tenant's budget for each period, in US dollars.", ("tenant_id",)
        )
        self.budget_spent = BoundGauge(
            r, "aigateway_budget_spent_usd", "What is spent of it in this period, in US dollars.", ("tenant_id",)
        )
        self.budget_reset = BoundGauge(
            r,
            "aigateway_budget_reset_timestamp_seconds",
            "When the tenant's budget begins again, in seconds since the epoch; absent where it never does.",
            ("tenant_id",),
        )
        self.budgets = (self.budget_usage_ratio, self.budget_limit, self.budget_spent, self.budget_reset)
        """Absent until a budget has been read, and where there is none: 0 would be untrue."""
        self.budget_thresholds = BoundCounter(
            r,
            "aigateway_budget_thresholds_total",
            "Budgets of which a share in soft_at was spent, or that refused a request for want of money; each told by "
            "one replica, once for each share and period.",
            ("tenant_id", "scope", "threshold"),
            words={"scope": BUDGET_SCOPES, "threshold": BUDGET_THRESHOLDS},
        )
        self.token_details = BoundCounter(
            r,
            "aigateway_token_details_total",
            "Tokens of a special kind, which tokens_total also counts.",
            (*_TARGET, "detail"),
            words={"detail": TOKEN_DETAILS},
            otel=(
                "gen_ai.client.inference.usage.cache_read.input_tokens, "
                "gen_ai.client.inference.usage.cache_write.input_tokens, "
                "gen_ai.client.inference.usage.reasoning.output_tokens"
            ),
        )

        self.store_up = BoundGauge(
            r,
            "aigateway_store_up",
            "1 while the store does all that is asked of it; Redis has a series where it is configured.",
            ("store",),
            # 0 would be an alarm: the other one appears with its store
            words={"store": ("database",)},
        )
        self.outage_decisions = ReadCounter(
            r,
            "aigateway_store_outage_decisions_total",
            "Requests with a limit or a budget that Redis did not answer for, by what was decided without it.",
            ("decision",),
            words={"decision": OUTAGE_DECISIONS},
        )
        self.ledger_pending = BoundGauge(
            r, "aigateway_ledger_pending", "Rows of the ledger that wait to be written, or are being written."
        )
        self.ledger_late = ReadCounter(
            r,
            "aigateway_ledger_late_total",
            "Answers whose end went out before its row was committed, because that took longer than end_wait_s.",
        )
        self.ledger_commit = BoundHistogram(
            r,
            "aigateway_ledger_commit_seconds",
            "From when the oldest row of a transaction of the ledger was asked for to its commit.",
            bounds=_STORE_S,
        )
        self.store_seconds = BoundHistogram(
            r,
            "aigateway_store_seconds",
            "How long a store took for what was asked of it, failures included.",
            ("store", "op"),
            bounds=_STORE_S,
            words={
                "store": tuple(dict.fromkeys(store for store, _ in STORE_OPS)),
                "op": tuple(op for _, op in STORE_OPS),
            },
        )

        self.requests = BoundCounter(
            r,
            "aigateway_requests_total",
            "Requests answered, by how they ended.",
            (*_ROUTE, "status"),
            words={"status": REQUEST_STATUSES},
        )
        self.tokens = BoundCounter(
            r,
            "aigateway_tokens_total",
            "Tokens asked and answered; input is the sum of all kinds of input.",
            (*_ROUTE, "type"),
            words={"type": TOKEN_TYPES},
            otel="gen_ai.client.inference.usage.input_tokens, gen_ai.client.inference.usage.output_tokens",
        )
        self.cost_usd = BoundCounter(
            r, "aigateway_cost_usd_total", "What the requests cost, in US dollars.", _ROUTE, places=9
        )

        self.event_loop_lag = BoundHistogram(
            r, "aigateway_event_loop_lag_seconds", "How late the event loop ran a timer.", bounds=_LOOP_LAG_S
        )
        self.pool_wait = BoundHistogram(
            r,
            "aigateway_pool_wait_seconds",
            "How long requests waited for a connection because the provider had as many as it may.",
            ("provider",),
            bounds=_POOL_WAIT_S,
        )
        self.slow_client = BoundHistogram(
            r,
            "aigateway_slow_client_seconds",
            "How long reading from the provider stood still because the client was behind, once per pause.",
            bounds=_SLOW_CLIENT_S,
        )
        self.overhead = BoundHistogram(
            r,
            "aigateway_overhead_seconds",
            "The gateway's own share of the time, by phase.",
            ("phase",),
            bounds=_OVERHEAD_S,
            words={"phase": OVERHEAD_PHASES},
        )
        self.time_to_first_token = BoundHistogram(
            r,
            "aigateway_time_to_first_token_seconds",
            "From the request's arrival to the first content of a stream.",
            _TARGET,
            bounds=_FIRST_TOKEN_S,
            otel="gen_ai.server.time_to_first_token",
        )
        self.inter_chunk = BoundHistogram(
            r,
            "aigateway_inter_chunk_seconds",
            "Between two chunks of a stream.",
            _TARGET,
            bounds=_CHUNK_GAP_S,
            otel="gen_ai.client.inference.time_per_output_chunk",
        )
        self.stream_duration = BoundHistogram(
            r,
            "aigateway_stream_duration_seconds",
            "From the request's arrival to the end of a stream.",
            _TARGET,
            bounds=_STREAM_S,
        )
        self.output_tokens_per_second = BoundHistogram(
            r,
            "aigateway_output_tokens_per_second",
            "Output tokens of a stream per second after its first content.",
            _TARGET,
            bounds=_TOKENS_PER_S,
            otel="gen_ai.server.time_per_output_token",
        )
        self.request_duration = BoundHistogram(
            r,
            "aigateway_request_duration_seconds",
            "From the request's arrival to the last byte of its answer.",
            _ROUTE,
            bounds=_REQUEST_S,
            otel="gen_ai.server.request.duration",
        )

    def families(self) -> list[AnyFamily]:
        """Every collector, in the order of declaration."""
        return [family for family in vars(self).values() if isinstance(family, AnyFamily)]
