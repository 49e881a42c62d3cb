"""The words of limits and budgets: what they mean where little is said, and what they refuse to mean."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.core.period import Period, Span
from gateway.core.quota import Ask, Budget, Limits

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("limits", "requests", "tokens"),
    [
        (Limits(requests_per_minute=600, tokens_per_minute=400_000), 10, 40_000),
        (Limits(requests_per_minute=90, tokens_per_minute=60), 1.5, 6),
        (Limits(requests_per_minute=60, tokens_per_minute=10), 1, 1),
        (Limits(requests_per_minute=1, tokens_per_minute=1), 1, 1),
        (Limits(requests_per_minute=60, burst=100), 100, 1),
        (Limits(requests_per_minute=6000, burst=1), 1, 1),
    ],
)
def test_bursts_that_are_not_set(limits: Limits, requests: float, tokens: float) -> None:
    """A second's worth of requests, six of tokens; never less than one."""
    assert (limits.request_burst, limits.token_burst) == (requests, tokens)


def test_three_minutes_bring_little_more_than_three_minutes_worth() -> None:
    """Burst and rate x time is within 5 % of the limit, for either bucket."""
    limits = Limits(requests_per_minute=1000, tokens_per_minute=1_000_000)
    assert limits.request_burst + 3 * 1000 <= 1.05 * 3 * 1000
    assert limits.token_burst + 3 * 1_000_000 <= 1.05 * 3 * 1_000_000


def test_limits_tell_whether_there_are_any() -> None:
    """A burst alone limits nothing."""
    assert Limits().is_none
    assert Limits(burst=3).is_none
    assert not Limits(concurrent=1).is_none


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrent", "burst"])
@pytest.mark.parametrize("wrong", [0, -1])
def test_a_limit_of_nothing_is_none(name: str, wrong: int) -> None:
    """Zero would shut out for ever; that is what revoking is for."""
    with pytest.raises(ValueError, match="1 or more"):
        Limits(**{name: wrong})


def test_a_budget_may_be_nothing_but_not_less() -> None:
    """Zero is a budget, and a negative one is a mistake."""
    assert Budget(0, Period.DAY, BERLIN).nanousd == 0
    with pytest.raises(ValueError, match="0 or more"):
        Budget(-1, Period.DAY, BERLIN)


def test_a_budget_knows_its_period() -> None:
    """In its own zone."""
    noon = datetime(2026, 10, 25, 12, tzinfo=BERLIN).timestamp()
    assert Budget(1, Period.DAY, BERLIN).span_at(noon) == Span(noon - 13 * 3600, noon + 12 * 3600)


@pytest.mark.parametrize(("tokens", "hold"), [(-1, 0), (0, -1)])
def test_nobody_asks_for_less_than_nothing(tokens: int, hold: int) -> None:
    """It would be a way to fill buckets and budgets."""
    with pytest.raises(ValueError, match="0 or more"):
        Ask("x", "t", (), tokens, hold)
