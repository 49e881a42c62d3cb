"""What Redis is told of scopes, under which names it keeps them, and what it tells of them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from gateway.core.period import Period, Span
from gateway.core.quota import Allowance, Budget, Crossing, Funds, Scope

MOST_NANOUSD: Final = 10**18
"""A billion dollars, the largest budget that can be written; sums of nine such figures still fit in Redis' 64 bits."""

REPLICAS_KEY: Final = "aigw:replicas"

MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Told:
    """Scopes as scripts read them, good for moments within ``span``; ``spans`` are those of each budget."""

    text: str
    spans: tuple[Span | None, ...]
    span: Span


def prefix(tenant_id: str) -> str:
    """Return what the keys of a tenant begin with.

    The braces are a hash tag (Redis Cluster specification, "Hash tags"): what begins so is on one node. Names are
    percent-encoded, so none can end the tag or look like two; the ``t.`` keeps an empty one from being no tag at all.
    """
    return f"aigw:{{t.{word(tenant_id)}}}:"


def word(name: str) -> str:
    """Encode a name as one word of letters, digits and ``_.-~%``."""
    return quote(name, safe="", errors="surrogatepass")


def tenant_of(scope: Scope) -> str:
    """Read a tenant's id from a scope's key: ``kind/tenant`` or ``kind/tenant/name``."""
    return scope.key.split("/", 2)[1]


class Telling:
    """Turns scopes into text, and remembers it: the scopes of most requests are those of others before."""

    def __init__(self) -> None:
        self._told: dict[tuple[Scope, ...], Told] = {}

    def tell(self, scopes: tuple[Scope, ...], now_s: float) -> Told:
        """Return what scripts are told of some scopes at a moment of Redis' clock."""
        told = self._told.get(scopes)
        if told is not None and told.span.start_s <= now_s < told.span.end_s:
            return told
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()
        spans = tuple(scope.budget.span_at(now_s) if scope.budget is not None else None for scope in scopes)
        rows = [_row(scope, span) for scope, span in zip(scopes, spans, strict=True)]
        known = [span for span in spans if span is not None]
        both = Span(
            max((span.start_s for span in known), default=-math.inf),
            min((span.end_s for span in known), default=math.inf),
        )
        told = self._told[scopes] = Told(json.dumps(rows, separators=(",", ":")), spans, both)
        return told


def _row(scope: Scope, span: Span | None) -> dict[str, object]:
    row: dict[str, object] = {"key": word(scope.key)}
    limits, budget = scope.limits, scope.budget
    if limits is not None:
        row |= {
            "limits": True,
            "r": limits.requests_per_minute or 0,
            "rb": limits.request_burst,
            "t": limits.tokens_per_minute or 0,
            "tb": limits.token_burst,
            "c": limits.concurrent or 0,
        }
    if budget is not None and span is not None:
        zone = word(budget.zone.key or "")
        row |= {
            "budget": str(budget.nanousd),
            "span": f"{budget.period}:{zone}:{span.start_s:.0f}",
            "from": _microseconds(span.start_s),
            "to": _microseconds(span.end_s),
            # The same rounding as where the share is compared in this process.
            "soft": [[share, str(math.ceil(share * budget.nanousd))] for share in budget.soft_at],
            "owner": word(scope.owner),
            "when": budget.when_exhausted,
        }
    return row


def _microseconds(moment_s: float) -> int:
    return round(moment_s * 1e6) if moment_s < math.inf else -1


def scopes_from(text: str) -> Sequence[tuple[Scope | None, Span]]:
    """Read back the scopes that have budgets, for who ends an exchange that began elsewhere; without their limits."""
    return [_read(row) if "budget" in row else (None, Span(0.0, math.inf)) for row in json.loads(text)]


def _read(row: dict[str, Any]) -> tuple[Scope, Span]:
    period, zone, _ = row["span"].split(":")
    budget = Budget(
        int(row["budget"]),
        Period(period),
        ZoneInfo(unquote(zone)),
        tuple(share for share, _ in row["soft"]),
        row["when"],
    )
    end_s = int(row["to"]) / 1e6 if int(row["to"]) >= 0 else math.inf
    key, owner = (unquote(row[name], errors="surrogatepass") for name in ("key", "owner"))
    return Scope(key, owner, None, budget), Span(int(row["from"]) / 1e6, end_s)


def allowance_from(words: Sequence[bytes]) -> Allowance | None:
    """Read limit, remaining and reset, or nothing three times."""
    return Allowance(int(words[0]), int(words[1]), float(words[2])) if len(words) == 3 and words[0] else None


def funds_from(scope: Scope, told: Told, which: int, words: Sequence[bytes]) -> Funds | None:
    """Read spent and held, where a scope has a budget."""
    span = told.spans[which]
    if scope.budget is None or span is None:
        return None
    return Funds(scope.budget.nanousd, int(words[0]), int(words[1]), span)


def crossings_from(answer: Sequence[bytes], scopes: Sequence[Scope] | None) -> tuple[Crossing, ...]:
    """Read the thresholds that a settlement has crossed; ``scopes`` are those asked for, None: those of its record."""
    # After what ended: the record, then scope, share, spent, held of each.
    recorded = scopes_from(answer[2].decode())
    crossings = []
    for at in range(3, len(answer), 4):
        which = int(answer[at]) - 1
        of_record, span = recorded[which]
        scope = scopes[which] if scopes is not None else of_record
        if scope is not None and scope.budget is not None:
            funds = Funds(scope.budget.nanousd, int(answer[at + 2]), int(answer[at + 3]), span)
            crossings.append(Crossing(scope, float(answer[at + 1]), funds))
    return tuple(crossings)
