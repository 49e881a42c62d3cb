"""What clients read of their limits: headers in OpenAI's form, and refusals that say what would help."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import GatewayError
from gateway.core.period import FOR_EVER, Period, Span
from gateway.core.quota import Allowance, Budget, Denied, Funds, Grant, Limit, Limits, Scope
from gateway.tenancy.refusals import duration, rate_limit_headers, refusal, usd

BERLIN = ZoneInfo("Europe/Berlin")
USD = 10**9
DECEMBER = Span(
    datetime(2026, 12, 1, tzinfo=BERLIN).timestamp(),
    datetime(2027, 1, 1, tzinfo=BERLIN).timestamp(),
)

# --- headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (0.9995, "1s"),
        (1, "1s"),
        (7.66, "7.66s"),
        (7.6601, "7.661s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (90.5, "1m30.5s"),
        (3600, "1h0m0s"),
        (86_399.999, "23h59m59.999s"),
    ],
)
def test_times_are_written_as_openai_does(seconds: float, text: str) -> None:
    """Rounded up to a millisecond, so that waiting is enough."""
    assert duration(seconds) == text


@given(st.floats(0, 1e6))
def test_a_written_time_is_never_too_short(seconds: float) -> None:
    """Nor more than a millisecond too long."""
    text = duration(seconds)
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(\d+(?:\.\d{1,3})?)(ms|s)", text)
    assert parts is not None
    hours, minutes, number, unit = parts.groups()
    read = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(number) / (1000 if unit == "ms" else 1)
    assert seconds - 1e-6 <= read <= seconds + 0.001 + 1e-6


def test_headers_tell_what_is_left() -> None:
    """Under OpenAI's names; nothing of what is not limited."""
    both = Grant("x", "acme", Allowance(600, 9, 0.1), Allowance(400_000, 39_000, 0.15))
    assert rate_limit_headers(both) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "400000",
        "x-ratelimit-remaining-tokens": "39000",
        "x-ratelimit-reset-tokens": "150ms",
    }
    assert set(rate_limit_headers(Grant("x", "acme", None, Allowance(1, 1, 0)))) == {
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    }
    assert rate_limit_headers(Grant("x", "acme")) == {}


# --- refusals

RATES = Limits(requests_per_minute=90, tokens_per_minute=6000, concurrent=7)


@pytest.mark.parametrize(
    ("limit", "asked", "wait_s", "code", "status", "message"),
    [
        (
            Limit.REQUESTS,
            1,
            0.3,
            "rate_limited",
            429,
            "The key `web` may send 90 requests per minute, 1.5 at once, and has. Try again in 1 s.",
        ),
        (
            Limit.TOKENS,
            17_000,
            2.5,
            "rate_limited",
            429,
            "The key `web` may use 6000 tokens per minute and has too few left for this request, which is estimated "
            "at 17000. Try again in 3 s.",
        ),
        (
            Limit.CONCURRENT,
            1,
            1.0,
            "too_busy",
            429,
            "The key `web` may have 7 requests in flight, and has. Try again when one of them has ended.",
        ),
    ],
)
def test_a_refusal_says_which_limit_whose_and_when(
    limit: Limit, asked: int, wait_s: float, code: str, status: int, message: str
) -> None:
    """With the time to wait, and what is left as headers."""
    denied = Denied(limit, Scope("key/a/web", "the key `web`", RATES), asked, wait_s, None, Allowance(90, 0, 1))
    error = refusal(denied)
    assert isinstance(error, GatewayError)
    assert (error.code, error.status, error.message, error.retry_after_s) == (code, status, message, wait_s)
    assert error.headers == rate_limit_headers(denied) != {}


SPENT = "The tenant `acme` may spend {} and has spent {} USD, with {} USD held for requests in flight. "


@pytest.mark.parametrize(
    ("period", "spent", "held", "asked", "wait_s", "message"),
    [
        (
            Period.MONTH,
            499_990_000_000,
            10_000_000,
            20_000_001,
            3600.0,
            SPENT.format("500 USD per month", "499.99", "0.01")
            + "This request may cost up to 0.020000001 USD. The budget begins again at 2027-01-01T00:00:00+01:00.",
        ),
        (
            Period.MONTH,
            0,
            500 * USD,
            USD,
            1.0,
            SPENT.format("500 USD per month", "0", "500")
            + "This request may cost up to 1 USD. Try again when requests in flight have ended. "
            "The budget begins again at 2027-01-01T00:00:00+01:00.",
        ),
        (
            Period.TOTAL,
            500 * USD,
            0,
            USD,
            None,
            SPENT.format("500 USD in total", "500", "0")
            + "This request may cost up to 1 USD. The budget does not begin again: have it raised.",
        ),
        (
            Period.TOTAL,
            0,
            500 * USD,
            USD,
            1.0,
            SPENT.format("500 USD in total", "0", "500")
            + "This request may cost up to 1 USD. Try again when requests in flight have ended.",
        ),
        (
            Period.MONTH,
            0,
            0,
            501 * USD,
            None,
            SPENT.format("500 USD per month", "0", "0")
            + "This request may cost up to 501 USD. No wait helps: ask for fewer tokens, or have the budget raised.",
        ),
    ],
)
def test_an_exhausted_budget_says_what_would_help(
    period: Period, spent: int, held: int, asked: int, wait_s: float | None, message: str
) -> None:
    """402 with every figure, and the moment at which it begins again, where it does."""
    scope = Scope("tenant/acme", "the tenant `acme`", None, Budget(500 * USD, period, BERLIN))
    span = FOR_EVER if period is Period.TOTAL else DECEMBER
    error = refusal(Denied(Limit.BUDGET, scope, asked, wait_s, Funds(500 * USD, spent, held, span)))
    assert (error.code, error.status, error.message) == ("over_budget", 402, message)
    assert error.retry_after_s == wait_s


def test_a_refusal_for_money_without_figures_is_a_mistake() -> None:
    """Of the program, not of the client."""
    with pytest.raises(ValueError, match="says what the budget is"):
        refusal(Denied(Limit.BUDGET, Scope("tenant/a", "the tenant `a`"), 1, None))


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (10**9, "1"),
        (500 * 10**9, "500"),
        (1_228_800, "0.0012288"),
        (10**27 + 1, "1" + "0" * 18 + ".000000001"),
    ],
)
def test_amounts_are_written_exactly(nanousd: int, text: str) -> None:
    """Without needless zeros, and never as a power of ten."""
    assert usd(nanousd) == text
