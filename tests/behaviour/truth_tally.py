"""The sums of all that was told, in the metrics' names and labels, and where a scrape differs from them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import pairwise

from tests.behaviour.truth import Told
from tests.metrics.text_format import Exposition, Series

LIMITS = {"hasty": "requests", "wordy": "tokens", "busy": "concurrent"}
PROVIDERS_FAULT = {
    "provider_auth",
    "provider_misrouted",
    "provider_throttled",
    "provider_error",
    "connect_failed",
    "first_token_timeout",
    "stalled",
    "truncated",
    "stream_error",
}
COUNTED = (
    "requests_total",
    "request_duration_seconds_count",
    "tokens_total",
    "token_details_total",
    "cost_usd_total",
    "attempts_total",
    "provider_errors_total",
    "fallbacks_total",
    "hedges_total",
    "stalls_total",
    "stale_connections_total",
    "client_disconnects_total",
    "rate_limit_hits_total",
    "limit_rejections_total",
    "stream_settlements_total",
    "stream_duration_seconds_count",
    "time_to_first_token_seconds_count",
    "overhead_seconds_count",
    "ledger_late_total",
    "store_outage_decisions_total",
    "circuit_breaker_transitions_total",
    "config_reloads_total",
    "pool_wait_seconds_count",
)
"""What is judged to the last one; series at 0 are as good as none."""


class Tally:
    """Sums over all that was told, by metric and labels."""

    def __init__(self, told: Iterable[Told]) -> None:
        self.samples: defaultdict[Series, Decimal] = defaultdict(Decimal)
        for one in told:
            self._add(one)

    def _count(self, name: str, labels: Mapping[str, str], n: int | Decimal = 1) -> None:
        self.samples[f"aigateway_{name}", frozenset(labels.items())] += n

    def _add(self, one: Told) -> None:
        target = {"provider": one.provider, "model": one.model}
        route = {"tenant_id": one.tenant, **target}
        tokens, source = one.usage
        self._count("requests_total", route | {"status": one.outcome})
        self._count("request_duration_seconds_count", route)
        self._count("overhead_seconds_count", {"phase": "settlement"})
        self._count("overhead_seconds_count", {"phase": "request"}, int(one.was_admitted))
        self._count("tokens_total", route | {"type": "input"}, tokens.all_input)
        self._count("tokens_total", route | {"type": "output"}, tokens.output)
        self._count("cost_usd_total", route, Decimal(one.cost_nanousd).scaleb(-9))
        self._count("token_details_total", target | {"detail": "cached_input"}, tokens.cached)
        self._count("token_details_total", target | {"detail": "cache_write"}, tokens.written)
        self._count("token_details_total", target | {"detail": "reasoning"}, tokens.reasoning)
        if one.has_stream:
            self._count("stream_settlements_total", {"provider": one.provider, "source": source})
            self._count("stream_duration_seconds_count", target)
            self._count("time_to_first_token_seconds_count", target)
            self._count("overhead_seconds_count", {"phase": "first_byte"})
        if one.fate.leaves:
            self._count("client_disconnects_total", {"phase": one.fate.leaves})
        self._add_refusal(one)
        self._add_attempts(one)

    def _add_refusal(self, one: Told) -> None:
        tenant = {"tenant_id": one.tenant}
        if one.outcome in ("rate_limited", "too_busy"):
            self._count("rate_limit_hits_total", tenant)
            self._count("limit_rejections_total", tenant | {"limit": LIMITS[one.tenant]})
        elif one.outcome == "over_budget":
            self._count("limit_rejections_total", tenant | {"limit": "budget"})

    def _add_attempts(self, one: Told) -> None:
        for provider, result in one.attempts:
            self._count("attempts_total", {"provider": provider, "result": result})
            if result in PROVIDERS_FAULT:
                self._count("provider_errors_total", {"provider": provider, "error_type": result})
            if result == "stalled":
                self._count("stalls_total", {"provider": provider})
        for visit in one.visits:
            self._count("stale_connections_total", {"provider": visit.provider}, int(visit.stale))
        passed, rests = one.attempts, one.fate.rests
        if one.fate.hedged is not None and passed:
            self._count("hedges_total", {"provider": one.fate.hedged[0], "result": one.fate.hedged[1]})
            return
        if rests is not None and passed and passed[0][0] != rests[0]:
            passed = [rests, *passed]
        for (left, why), (taken, _) in pairwise(passed):
            if left != taken:
                self._count("fallbacks_total", {"from": left, "to": taken, "reason": why})


def counted(samples: Mapping[Series, Decimal]) -> dict[Series, Decimal]:
    """Of all samples those that are judged, and are not 0."""
    names = {f"aigateway_{name}" for name in COUNTED}
    return {series: value for series, value in samples.items() if series[0] in names and value}


def compare(tally: Tally, scrape: Exposition) -> list[str]:
    """Every series in which the two differ."""
    true, shown = counted(tally.samples), counted(scrape.samples)
    return [
        f"{name}{dict(sorted(labels))}: {shown.get((name, labels), 0)} is shown, {true.get((name, labels), 0)} is true"
        for name, labels in sorted(true.keys() | shown.keys(), key=str)
        if true.get((name, labels), 0) != shown.get((name, labels), 0)
    ]
