"""Token buckets and retry budgets: never more than was earned, and never less to who keeps asking."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bucket import GRACE_S, MAX_SAVED_RETRIES, RetryBudget, TokenBucket


class Watch:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def test_begins_full_and_refills() -> None:
    """Three at once, then one each half second."""
    watch = Watch()
    bucket = TokenBucket(2, 3, watch)
    assert [bucket.try_take() for _ in range(4)] == [True, True, True, False]
    assert bucket.seconds_until() == 0.5
    watch.wait(0.5)
    assert bucket.try_take()
    assert not bucket.try_take()


def test_a_token_is_there_when_it_is_due() -> None:
    """Not a millisecond before, and told to wait for it one gets it."""
    watch = Watch()
    bucket = TokenBucket(1, 1, watch)
    assert bucket.try_take()
    watch.wait(0.999)
    assert not bucket.try_take()
    watch.wait(0.001)
    assert bucket.try_take()


def test_holds_no_more_than_its_burst() -> None:
    """A day of rest saves nothing beyond it."""
    watch = Watch()
    bucket = TokenBucket(2, 3, watch)
    watch.wait(86400)
    assert bucket.level == 3
    assert [bucket.try_take() for _ in range(4)] == [True, True, True, False]


def test_takes_all_or_none() -> None:
    """A refused taking takes nothing."""
    bucket = TokenBucket(1, 10, Watch())
    assert not bucket.try_take(10.5)
    assert bucket.level == 10
    assert bucket.try_take(10)
    assert bucket.level == 0


def test_gives_back_up_to_the_brim() -> None:
    """What was not used may be taken again, but a bucket never overflows."""
    bucket = TokenBucket(1, 10, Watch())
    assert bucket.try_take(8)
    bucket.give_back(3)
    assert bucket.level == 5
    bucket.give_back(50)
    assert bucket.level == 10
    assert bucket.try_take(10)
    assert not bucket.try_take(1)


def test_a_charge_makes_a_debt_that_time_pays() -> None:
    """Until then nothing is given, not even nothing."""
    watch = Watch()
    bucket = TokenBucket(2, 10, watch)
    bucket.charge(14)
    assert bucket.level == -4
    assert not bucket.try_take(0)
    assert bucket.seconds_until(1) == 2.5
    watch.wait(2)
    assert bucket.level == 0
    assert bucket.try_take(0)
    assert not bucket.try_take(1)
    watch.wait(0.5)
    assert bucket.try_take(1)


@pytest.mark.parametrize("verb", ["charge", "give_back"])
def test_time_in_a_full_bucket_pays_for_nothing_later(verb: str) -> None:
    """What ran over the brim is gone, whichever verb comes next."""
    watch = Watch()
    bucket = TokenBucket(1, 10, watch)
    watch.wait(100)
    getattr(bucket, verb)(4)
    assert bucket.level == (6 if verb == "charge" else 10)


@pytest.mark.parametrize(
    ("rate_per_s", "n", "seconds"), [(2, 3, 0), (2, 10, 0), (2, 11, math.inf), (0, 10, 0), (0, 11, math.inf)]
)
def test_tells_how_long_from_full(rate_per_s: float, n: float, seconds: float) -> None:
    """Nothing above the burst ever comes."""
    assert TokenBucket(rate_per_s, 10, Watch()).seconds_until(n) == seconds


def test_without_a_rate_what_is_taken_is_gone() -> None:
    """And one is told so."""
    watch = Watch()
    bucket = TokenBucket(0, 1, watch)
    assert bucket.try_take()
    watch.wait(86400)
    assert not bucket.try_take()
    assert bucket.seconds_until() == math.inf


@pytest.mark.parametrize(
    ("rate_per_s", "burst"), [(-1, 1), (math.inf, 1), (math.nan, 1), (1, 0), (1, -1), (1, math.inf), (1, math.nan)]
)
def test_refuses_impossible_buckets(rate_per_s: float, burst: float) -> None:
    """At once, not at the first request."""
    with pytest.raises(ValueError, match="burst positive"):
        TokenBucket(rate_per_s, burst, Watch())


@pytest.mark.parametrize("verb", ["try_take", "charge", "give_back", "seconds_until"])
@pytest.mark.parametrize("n", [-1, -1e-9, math.nan])
def test_refuses_to_count_backwards(verb: str, n: float) -> None:
    """A negative taking would be a way to fill it."""
    bucket = TokenBucket(1, 10, Watch())
    bucket.charge(5)
    with pytest.raises(ValueError, match="must be 0 or more"):
        getattr(bucket, verb)(n)
    assert bucket.level == 5


@given(
    st.integers(1, 10_000),
    st.integers(1, 1000),
    st.floats(-1e6, 1e7),
    st.lists(st.floats(0, 0.2) | st.floats(0, 20), min_size=1, max_size=200),
)
def test_admits_burst_and_rate_to_the_token(rate_per_s: int, burst: int, start_s: float, waits_s: list[float]) -> None:
    """Emptied at each step, it has given burst + rate x time, to the token; time above the brim is lost."""
    watch = Watch(start_s)
    bucket = TokenBucket(rate_per_s, burst, watch)
    rounding = rate_per_s * 1e-8 + 1e-9  # of clock readings up to 1e7 s
    earned, admitted = float(burst), 0
    for wait_s in waits_s:
        while bucket.try_take():
            admitted += 1
        before_s = watch.now_s
        watch.wait(wait_s)
        earned = min(earned + rate_per_s * (watch.now_s - before_s), admitted + burst)
    while bucket.try_take():
        admitted += 1
    assert earned - 1 - rounding <= admitted <= earned + rate_per_s * GRACE_S + rounding


def test_many_small_steps_lose_nothing() -> None:
    """An hour asked every 10 ms gives exactly what an hour earns: roundings do not add up."""
    watch = Watch(0.1)
    bucket = TokenBucket(7, 5, watch)
    admitted = 0
    for step in range(360_001):
        watch.now_s = 0.1 + step / 100
        admitted += bucket.try_take()
    assert admitted == 5 + 7 * 3600


@given(st.floats(0.01, 1e5), st.floats(1, 1e6), st.floats(0, 1e7), st.floats(0, 1), st.floats(0, 2), st.floats(0, 1e4))
def test_waiting_as_told_is_enough(
    rate_per_s: float, burst: float, start_s: float, share: float, debt_share: float, wait_s: float
) -> None:
    """Who comes back after the time that was told gets what was asked for; who comes earlier does not."""
    watch = Watch(start_s)
    bucket = TokenBucket(rate_per_s, burst, watch)
    watch.wait(wait_s)
    bucket.charge(burst * debt_share)
    n = burst * share
    told_s = bucket.seconds_until(n)
    if told_s > 1e-3:
        watch.wait(told_s / 2)
        assert not bucket.try_take(n)
        told_s = bucket.seconds_until(n)
    watch.wait(told_s)
    assert bucket.try_take(n)


steps = st.tuples(st.sampled_from(["try_take", "charge", "give_back", "wait"]), st.floats(0, 30))


@given(st.lists(steps, max_size=50))
def test_the_level_stays_within_brim_and_debt(calls: list[tuple[str, float]]) -> None:
    """It is never above the burst, and below 0 only by what was charged."""
    watch = Watch()
    bucket = TokenBucket(3, 20, watch)
    charged = 0.0
    for verb, amount in calls:
        if verb == "wait":
            watch.wait(amount)
        else:
            getattr(bucket, verb)(amount)
        charged += amount if verb == "charge" else 0
        assert -charged - 3 * GRACE_S - 1e-9 <= bucket.level <= 20


def test_five_requests_earn_a_retry() -> None:
    """The fifth deposit, not the sixth."""
    budget = RetryBudget(Watch(), floor_burst=0)
    for _ in range(4):
        budget.deposit()
    assert not budget.withdraw()
    budget.deposit()
    assert budget.balance == 1
    assert budget.withdraw()
    assert not budget.withdraw()


def test_good_times_save_a_bounded_number() -> None:
    """A million good requests are no licence for two hundred thousand retries."""
    budget = RetryBudget(Watch())
    for _ in range(10_000):
        budget.deposit()
    assert budget.balance == MAX_SAVED_RETRIES + 3
    assert sum(budget.withdraw() for _ in range(1000)) == MAX_SAVED_RETRIES + 3


def test_the_floor_refills_only_where_it_is_told_to() -> None:
    """By its rate, up to its burst."""
    still, trickling = Watch(), Watch()
    budget, refilled = RetryBudget(still), RetryBudget(trickling, floor_per_s=0.1)
    for _ in range(3):
        assert budget.withdraw()
        assert refilled.withdraw()
    still.wait(1e6)
    assert not budget.withdraw()
    trickling.wait(10)
    assert refilled.withdraw()
    assert not refilled.withdraw()
    trickling.wait(1e6)
    assert refilled.balance == 3


@pytest.mark.parametrize(
    ("ratio", "deposits", "retries"), [(0.29, 100, 29), (0.001, 1000, 1), (0.0009, 100_000, 0), (0.0, 10, 0), (1, 5, 5)]
)
def test_shares_count_in_whole_thousandths(ratio: float, deposits: int, retries: int) -> None:
    """Rounded down, so that the bound holds."""
    budget = RetryBudget(Watch(), ratio=ratio, floor_burst=0)
    for _ in range(deposits):
        budget.deposit()
    assert budget.balance == retries


@pytest.mark.parametrize("wrong", [{"ratio": -0.1}, {"floor_per_s": -1.0}, {"floor_burst": -1}])
def test_refuses_impossible_budgets(wrong: dict[str, float]) -> None:
    """At once."""
    with pytest.raises(ValueError, match="0 or more"):
        RetryBudget(Watch(), **wrong)  # type: ignore[arg-type]


@given(
    st.sampled_from([0.1, 0.2, 0.29, 0.5, 1.0]),
    st.integers(0, 5),
    st.lists(st.booleans() | st.floats(0, 1e4), max_size=400),
)
def test_attempts_never_exceed_the_bound(ratio: float, floor: int, calls: list[bool | float]) -> None:
    """At every moment: attempts <= (1 + ratio) x first requests + floor, whatever the time."""
    watch = Watch()
    budget = RetryBudget(watch, ratio=ratio, floor_burst=floor)
    requests = retries = 0
    for call in calls:
        if call is True:
            budget.deposit()
            requests += 1
        elif call is False:
            retries += budget.withdraw()
        else:
            watch.wait(call)
        assert requests + retries <= (1 + ratio) * requests + floor + 1e-9
        assert budget.balance >= 0


def test_under_total_failure_all_that_was_earned_is_used() -> None:
    """A thousand requests, each wanting two retries, are 1,203 attempts: the bound is reached, not only kept."""
    budget = RetryBudget(Watch())
    retries = 0
    for _ in range(1000):
        budget.deposit()
        retries += budget.withdraw() + budget.withdraw()
    assert 1000 + retries == 1203
