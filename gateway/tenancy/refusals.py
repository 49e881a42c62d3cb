"""What a client is told of its limits: headers with every answer, and the error where it is refused."""

import math
from datetime import datetime
from decimal import Decimal

from gateway.core.errors import GatewayError
from gateway.core.period import Period
from gateway.core.quota import Budget, Denied, Funds, Grant, Limit, Limits


def rate_limit_headers(told: Grant | Denied) -> dict[str, str]:
    """Return the headers that OpenAI names so (https://platform.openai.com/docs/guides/rate-limits).

    ``limit`` is per minute, ``remaining`` may be sent at once, ``reset`` is when nothing is used any more; each of the
    scope with the least left. Where nothing is limited there are none.
    """
    headers: dict[str, str] = {}
    for name, allowance in (("requests", told.requests), ("tokens", told.tokens)):
        if allowance is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(allowance.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(allowance.remaining)
            headers[f"x-ratelimit-reset-{name}"] = duration(allowance.reset_s)
    return headers


def duration(seconds: float) -> str:
    """Write a time as OpenAI's headers do, ``20ms``, ``7.66s``, ``6m0s``: Go's durations, in whole ms, rounded up."""
    ms = math.ceil(seconds * 1000 - 1e-6)
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    text = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def refusal(denied: Denied) -> GatewayError:
    """Say which limit, whose, the figures and when to come again: 429 ``rate_limited`` or ``too_busy``, or 402."""
    owner = denied.scope.owner[0].upper() + denied.scope.owner[1:]
    limits = denied.scope.limits or Limits()
    after = f"Try again in {math.ceil(denied.retry_after_s or 1)} s."
    code = "rate_limited"
    if denied.limit is Limit.REQUESTS:
        message = (
            f"{owner} may send {limits.requests_per_minute} requests per minute, {limits.request_burst:g} at once, "
            f"and has. {after}"
        )
    elif denied.limit is Limit.TOKENS:
        message = (
            f"{owner} may use {limits.tokens_per_minute} tokens per minute and has too few left for this request, "
            f"which is estimated at {denied.asked}. {after}"
        )
    elif denied.limit is Limit.CONCURRENT:
        code = "too_busy"
        message = (
            f"{owner} may have {limits.concurrent} requests in flight, and has. Try again when one of them has ended."
        )
    else:
        code, message = "over_budget", _over_budget(owner, denied)
    return GatewayError(code, message, retry_after_s=denied.retry_after_s, headers=rate_limit_headers(denied))


def _over_budget(owner: str, denied: Denied) -> str:
    budget, funds = denied.scope.budget, denied.funds
    if budget is None or funds is None:
        raise ValueError("a refusal for the budget says what the budget is")
    period = "in total" if budget.period is Period.TOTAL else f"per {budget.period}"
    return (
        f"{owner} may spend {usd(funds.limit_nanousd)} USD {period} and has spent {usd(funds.spent_nanousd)} USD, "
        f"with {usd(funds.held_nanousd)} USD held for requests in flight. This request may cost up to "
        f"{usd(denied.asked)} USD. {_advice(budget, funds, denied)}"
    )


def _advice(budget: Budget, funds: Funds, denied: Denied) -> str:
    if denied.asked > funds.limit_nanousd:
        return "No wait helps: ask for fewer tokens, or have the budget raised."
    again = ""
    if funds.span.end_s < math.inf:
        moment = datetime.fromtimestamp(funds.span.end_s, budget.zone).isoformat()
        again = f"The budget begins again at {moment}."
    if funds.spent_nanousd + denied.asked <= funds.limit_nanousd:
        return f"Try again when requests in flight have ended. {again}".rstrip()
    return again or "The budget does not begin again: have it raised."


def usd(nanousd: int) -> str:
    """Write an amount in US dollars, exactly and without needless zeros: ``0.000001``, ``500``."""
    return f"{Decimal(nanousd).scaleb(-9).normalize():f}"
