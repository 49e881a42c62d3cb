"""One scope's money in one period: conserved to the nano-dollar, and told once."""

import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.account import CLOCK_STEP_S, Account
from gateway.core.period import FOR_EVER, Period, Span
from gateway.core.quota import Budget, Funds, Scope

DAY = Span(86400.0, 2 * 86400.0)
SCOPE = Scope("tenant/acme", "the tenant `acme`")


def budget(nanousd: int = 1000, *soft_at: float) -> Budget:
    """A budget per day."""
    return Budget(nanousd, Period.DAY, ZoneInfo("UTC"), soft_at)


def test_holds_and_spends_up_to_the_budget() -> None:
    """To the nano-dollar, not one more."""
    account = Account(budget(), DAY, 400)
    assert account.fits(budget(), 600)
    assert not account.fits(budget(), 601)
    account.held_nanousd += 600
    assert not account.fits(budget(), 1)
    assert account.settle(SCOPE, budget(), 600, 100) == []
    assert account.funds(budget()) == Funds(1000, 500, 0, DAY)


def test_nothing_fits_always() -> None:
    """What is free spends nothing: not of a budget of 0, nor of one that is overspent."""
    assert Account(budget(0), DAY, 0).fits(budget(0), 0)
    assert Account(budget(), DAY, 2000).fits(budget(), 0)
    assert not Account(budget(0), DAY, 0).fits(budget(0), 1)


@pytest.mark.parametrize(
    ("spent", "held", "hold", "span", "wait_s"),
    [
        (1000, 0, 1, DAY, 3600),
        (500, 500, 501, DAY, 3600),
        (500, 500, 500, DAY, 1),
        (0, 1, 1000, DAY, 1),
        (0, 0, 1001, DAY, math.inf),
        (1000, 0, 1, FOR_EVER, math.inf),
        (0, 1000, 1, FOR_EVER, 1),
    ],
)
def test_tells_what_would_help(spent: int, held: int, hold: int, span: Span, wait_s: float) -> None:
    """The next period, the end of what is in flight, or nothing."""
    account = Account(budget(), span, spent)
    account.held_nanousd = held
    assert not account.fits(budget(), hold)
    assert account.wait_s(budget(), hold, DAY.end_s - 3600, 1) == wait_s


@given(st.floats(1e9, 2e9), st.floats(1e-9, 3e6))
def test_who_waits_for_the_period_finds_the_next_one(start_s: float, wait_s: float) -> None:
    """Rounding brings nobody back a moment too early."""
    span = Span(start_s, start_s + wait_s)
    now_s = start_s + wait_s / 3
    account = Account(budget(), span, 1000)
    assert not account.is_current(now_s + account.wait_s(budget(), 1, now_s, 1))


def test_a_clock_put_back_a_little_reopens_nothing() -> None:
    """By an hour it stays in the period that it had reached; by more, that was a mistake."""
    account = Account(budget(), DAY, 0)
    assert account.is_current(DAY.start_s)
    assert account.is_current(DAY.start_s - CLOCK_STEP_S)
    assert not account.is_current(DAY.start_s - CLOCK_STEP_S - 1)
    assert account.is_current(math.nextafter(DAY.end_s, 0))
    assert not account.is_current(DAY.end_s)


def test_each_threshold_is_told_once() -> None:
    """When what is spent reaches it, several at once if need be; what is held does not count."""
    plan = budget(1000, 0.5, 0.8, 1.0)
    account = Account(plan, DAY, 0)
    account.held_nanousd = 2000

    def spend(cost: int) -> list[float]:
        return [crossing.threshold for crossing in account.settle(SCOPE, plan, 100, cost)]

    assert spend(499) == []
    assert spend(1) == [0.5]
    assert spend(0) == []
    assert spend(600) == [0.8, 1.0]
    assert spend(600) == []


def test_a_crossing_says_where_the_budget_stands() -> None:
    """So that one log line can."""
    account = Account(budget(1000, 0.5), DAY, 0)
    account.held_nanousd = 800
    (crossing,) = account.settle(SCOPE, budget(1000, 0.5), 700, 650)
    assert (crossing.scope, crossing.threshold) == (SCOPE, 0.5)
    assert crossing.funds == Funds(1000, 650, 100, DAY)


def test_what_was_crossed_before_a_restart_is_not_told_again() -> None:
    """Only what comes on top."""
    plan = budget(1000, 0.5, 0.8)
    account = Account(plan, DAY, 600)
    assert account.settle(SCOPE, plan, 0, 100) == []
    assert [c.threshold for c in account.settle(SCOPE, plan, 0, 100)] == [0.8]


def test_a_raised_budget_does_not_tell_twice() -> None:
    """Half of it was told; it is half of more now, but it was told in this period."""
    account = Account(budget(1000, 0.5), DAY, 0)
    assert len(account.settle(SCOPE, budget(1000, 0.5), 0, 500)) == 1
    assert account.settle(SCOPE, budget(2000, 0.5), 0, 600) == []


def test_a_budget_of_nothing_has_no_thresholds() -> None:
    """A free request does not report that half of nothing is spent; once it is something, half of it is told."""
    account = Account(budget(0, 0.5), DAY, 0)
    assert account.settle(SCOPE, budget(0, 0.5), 0, 0) == []
    assert len(account.settle(SCOPE, budget(1000, 0.5), 0, 500)) == 1


def test_a_hold_without_news_is_spent() -> None:
    """All of it."""
    account = Account(budget(), DAY, 0)
    account.held_nanousd = 300
    account.write_off(200)
    assert account.funds(budget()) == Funds(1000, 200, 100, DAY)


@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 10**5), st.floats(0, 1)), max_size=50))
def test_spent_and_held_never_exceed_the_budget(limit: int, asks: list[tuple[int, float]]) -> None:
    """While no cost exceeds its hold; and in the end only the costs are left."""
    plan = budget(limit)
    account = Account(plan, DAY, 0)
    admitted = []
    for hold, share in asks:
        if account.fits(plan, hold):
            account.held_nanousd += hold
            admitted.append((hold, int(hold * share)))
        assert account.spent_nanousd + account.held_nanousd <= limit
    for hold, cost in admitted:
        account.settle(SCOPE, plan, hold, cost)
        assert account.spent_nanousd + account.held_nanousd <= limit
    assert (account.spent_nanousd, account.held_nanousd) == (sum(cost for _, cost in admitted), 0)
