"""`GET /v1/usage`: what the caller's tenant has used and spent, and what is left of its budget and limits."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web
from multidict import MultiMapping

from gateway.core.clock import WallClock
from gateway.core.errors import GatewayError
from gateway.core.period import Period, iso_moment, span_at
from gateway.core.quota import Allowance, Budget, Funds, Quotas, QuotasUnavailable, Scope
from gateway.proxy.exchange import Exchange
from gateway.proxy.recent_usage import RecentUsage
from gateway.proxy.relay import head_of
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.usage import UsageLine
from gateway.tenancy.refusals import usd
from gateway.tenancy.tenants import Identity

PATH: Final = "/v1/usage"

MOST_DAYS: Final = 400
"""The longest time that can be asked for: a year, and a month to compare it with."""

RETRY_AFTER_S: Final = 2.0

_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _US
_LAST_US: Final = 253_000_000_000 * _US
"""In 9987: later ones have no date in some zones."""
_NOON: Final = time(12)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UTC: Final = ZoneInfo("UTC")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_Document = Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class _Time:
    """A time, in microseconds since the epoch: ``from_us`` belongs to it, ``to_us`` does not; None: until now.

    ``window`` is the kind of period that it is, None where the query says both ends.
    """

    from_us: int
    to_us: int | None
    zone: ZoneInfo
    window: Period | None = None


class AccountPage:
    """Shows a key its tenant's account, and no other's.

    Usage is summed from the ledger's settled rows, at most some seconds ago; budgets and limits are as they stand now.

    Args:
        authenticate: says who asks, or refuses; `Admission.authenticate`.
        wall_clock: says which month it is, for a tenant without a budget.
    """

    def __init__(
        self,
        authenticate: Callable[[web.BaseRequest], Identity],
        quotas: Quotas,
        usage: RecentUsage,
        wall_clock: WallClock,
    ) -> None:
        self._authenticate = authenticate
        self._quotas = quotas
        self._usage = usage
        self._wall_clock = wall_clock

    async def answer(self, exchange: Exchange) -> web.Response:
        """The whole page.

        Raises:
            GatewayError: no key; a query that is not understood; `overloaded`: a store does not answer.
        """
        exchange.identity = identity = self._authenticate(exchange.request)
        own = identity.tenant.entitlement.own
        zone = own.budget.zone if own is not None and own.budget is not None else _UTC
        asked = _asked(exchange.request.query, zone, self._wall_clock())
        try:
            document = await self._document(identity, own, zone, asked)
        except (DatabaseDown, QuotasUnavailable, TimeoutError):
            raise GatewayError(
                "overloaded",
                "What was used cannot be told at the moment: a store does not answer, or has much to sum up. Try again "
                "shortly.",
                retry_after_s=RETRY_AFTER_S,
            ) from None
        exchange.status = 200
        headers = {**head_of(exchange), "Content-Type": "application/json", "Cache-Control": "no-store"}
        return web.Response(body=orjson.dumps(document), headers=headers)

    async def _document(
        self, identity: Identity, own: Scope | None, zone: ZoneInfo, asked: _Time | None
    ) -> dict[str, object]:
        tenant, key = identity.tenant, identity.key
        funds, budget, limits = await self._state(own)
        _, key_budget, key_limits = await self._state(tenant.entitlement.of_key(key.id))
        wanted = asked or self._present(funds, own, zone)
        to_us = wanted.from_us + MOST_DAYS * _DAY_US if wanted.to_us is None else wanted.to_us
        used = await self._usage.of(tenant.id, wanted.from_us, to_us)
        return {
            "object": "usage",
            "tenant_id": tenant.id,
            "as_of": iso_moment(used.as_of_s, zone),
            "period": _time(wanted),
            **_sums(used.whole),
            "models": [{"model": line.by[0], **_sums(line)} for line in used.models],
            "more_models": used.more_models,
            "budget": budget,
            "limits": limits,
            "key": {"id": key.id, "budget": key_budget, "limits": key_limits},
        }

    async def _state(self, scope: Scope | None) -> tuple[Funds | None, _Document, _Document]:
        """Where a scope stands, and its budget and limits as the page shows them."""
        if scope is None:
            return None, None, None
        standing = await self._quotas.standing(scope)
        funds, limits = standing.funds, None
        if scope.limits is not None:
            most, in_flight = scope.limits.concurrent, standing.in_flight or 0
            limits = {
                "requests": _allowance(standing.requests),
                "tokens": _allowance(standing.tokens),
                "concurrent": None
                if most is None
                else {"limit": most, "in_flight": in_flight, "remaining": max(0, most - in_flight)},
            }
        budget = _budget(scope.budget, funds) if scope.budget is not None and funds is not None else None
        return funds, budget, limits

    def _present(self, funds: Funds | None, own: Scope | None, zone: ZoneInfo) -> _Time:
        """The present period of the tenant's budget; a calendar month where there is none, or it is for ever."""
        window, span = Period.MONTH, None
        if funds is not None and own is not None and own.budget is not None and own.budget.period is not Period.TOTAL:
            window, span = own.budget.period, funds.span
        if span is None:
            span = span_at(window, zone, self._wall_clock())
        return _Time(int(span.start_s) * _US, int(span.end_s) * _US, zone, window)


def _asked(query: MultiMapping[str], zone: ZoneInfo, now_s: float) -> _Time | None:
    """Read `from` and `to`; None: nothing is said."""
    for name in query:
        if name not in {"from", "to"}:
            named = f" `{name}`" if _NAME.fullmatch(name) else ""
            raise _refused(f"There is no parameter{named} here: write from, or from and to.", name if named else None)
        if len(query.getall(name)) > 1:
            raise _refused(f"{name} is given more than once: write it once.", name)
    if "from" not in query:
        if "to" in query:
            raise _refused("to stands alone: write from beside it.", "to")
        return None
    from_us = _moment_us("from", query["from"], zone)
    to_us = _moment_us("to", query["to"], zone) if "to" in query else None
    if to_us is not None and to_us <= from_us:
        raise _refused("to is not after from: it is the moment before which the time ends.", "to")
    end_us = int(now_s * _US) if to_us is None else to_us
    if end_us - from_us > MOST_DAYS * _DAY_US:
        raise _refused(f"The time is longer than {MOST_DAYS} days: ask for one part after another.", "from")
    return _Time(from_us, to_us, zone)


def _moment_us(name: str, text: str, zone: ZoneInfo) -> int:
    """Read a date, which is its first instant in the zone, or a moment with its offset."""
    try:
        if _DATE.fullmatch(text):
            noon_s = datetime.combine(date.fromisoformat(text), _NOON, zone).timestamp()
            moment_us = int(span_at(Period.DAY, zone, noon_s).start_s) * _US
        else:
            # Without an offset the two cannot be subtracted: a TypeError.
            moment_us = (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
        if 0 <= moment_us <= _LAST_US:
            return moment_us
    except (ValueError, TypeError, OverflowError):
        pass
    raise _refused(
        f"{name} must be a date or a moment with its offset, from 1970 on: 2026-03-01, 2026-03-01T12:00:00Z or "
        "2026-03-01T12:00:00+01:00 (in a URL a + is written %2B).",
        name,
    )


def _refused(message: str, param: str | None) -> GatewayError:
    return GatewayError("invalid_request", message, param=param)


def _time(time: _Time) -> dict[str, object]:
    return {
        "window": time.window,
        "timezone": time.zone.key,
        "from": iso_moment(time.from_us / _US, time.zone),
        "to": None if time.to_us is None else iso_moment(time.to_us / _US, time.zone),
    }


def _sums(line: UsageLine) -> dict[str, object]:
    return {
        "requests": line.exchanges,
        "tokens": {
            "input": line.input_tokens,
            "cached_input": line.cached_input_tokens,
            "cache_write": line.cache_write_tokens,
            "cache_write_1h": line.cache_write_1h_tokens,
            "output": line.output_tokens,
            "reasoning": line.reasoning_tokens,
        },
        **_money("cost", line.cost_nanousd),
    }


def _budget(budget: Budget, funds: Funds) -> dict[str, object]:
    left_nanousd = max(0, funds.limit_nanousd - funds.spent_nanousd - funds.held_nanousd)
    endless = budget.period is Period.TOTAL
    return {
        "window": budget.period,
        "timezone": budget.zone.key,
        "from": None if endless else iso_moment(funds.span.start_s, budget.zone),
        "to": iso_moment(funds.span.end_s, budget.zone),
        **_money("limit", funds.limit_nanousd),
        **_money("spent", funds.spent_nanousd),
        **_money("held", funds.held_nanousd),
        **_money("remaining", left_nanousd),
        "when_exhausted": budget.when_exhausted,
    }


def _allowance(allowance: Allowance | None) -> _Document:
    if allowance is None:
        return None
    return {
        "limit_per_minute": allowance.limit,
        "remaining": allowance.remaining,
        "reset_s": math.ceil(allowance.reset_s * 1000) / 1000,
    }


def _money(name: str, nanousd: int) -> dict[str, object]:
    return {f"{name}_nanousd": nanousd, f"{name}_usd": usd(nanousd)}
