"""One scope's limits: what is told, what is taken, and what a change of figures leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.meter import Meter, least
from gateway.core.quota import RELEASE_HINT_S, Limit, Limits


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def admit(meter: Meter, tokens: int = 0) -> bool:
    """Ask, and take where it may be."""
    if meter.wait_s(tokens)[1] is not None:
        return False
    meter.take(tokens)
    return True


def left(*meters: Meter) -> list[object]:
    """What is told of the requests and the tokens; resets to a millionth of a second."""
    return [told and (told.limit, told.remaining, round(told.reset_s, 6)) for told in least(meters)]


def wait(meter: Meter, tokens: int) -> tuple[float, Limit | None]:
    """How long for what, to a millionth of a second."""
    wait_s, limit = meter.wait_s(tokens)
    return round(wait_s, 6), limit


def test_names_the_limit_with_the_longest_wait() -> None:
    """Slots first, where only they are taken; then whatever takes longer."""
    meter = Meter(Limits(requests_per_minute=30, tokens_per_minute=600, concurrent=1), Watch())
    assert meter.wait_s(10) == (0, None)
    meter.take(0)
    assert meter.wait_s(10) == (2, Limit.REQUESTS)
    meter.take(100)
    assert meter.wait_s(10) == (5, Limit.TOKENS)
    assert Meter(Limits(requests_per_minute=30), Watch()).wait_s(10**9) == (0, None)


def test_only_slots_in_the_way_are_a_guess() -> None:
    """When one comes free nobody knows."""
    meter = Meter(Limits(concurrent=2), Watch())
    assert admit(meter) and admit(meter)
    assert meter.wait_s(0) == (RELEASE_HINT_S, Limit.CONCURRENT)
    meter.in_flight -= 1
    assert admit(meter)


def test_a_request_larger_than_the_bucket_passes_when_it_is_full() -> None:
    """And not before; its debt is paid by time, so the rate stays what it is."""
    watch = Watch()
    meter = Meter(Limits(tokens_per_minute=600), watch)
    assert admit(meter, 1)
    assert wait(meter, 1000) == (0.1, Limit.TOKENS)
    watch.now_s += 0.1
    assert admit(meter, 1000)
    assert wait(meter, 1) == (94.1, Limit.TOKENS)
    assert left(meter) == [None, (600, 0, 100)]
    watch.now_s += 94.1
    assert admit(meter, 1)


@pytest.mark.parametrize(("real", "there"), [(20, 40), (20 + 30, 10), (0, 60), (100, 0)])
def test_a_correction_leaves_what_the_real_count_would_have(real: int, there: int) -> None:
    """Both ways."""
    meter = Meter(Limits(tokens_per_minute=600), Watch())
    meter.take(30)
    meter.correct(30, real)
    assert left(meter) == [None, (600, there, real / 10)]


def test_an_undone_request_never_was() -> None:
    """It may be sent again at once."""
    meter = Meter(Limits(requests_per_minute=1), Watch())
    meter.take(0)
    assert wait(meter, 0) == (60, Limit.REQUESTS)
    meter.give_back_request()
    meter.in_flight -= 1
    assert meter.is_untouched
    assert wait(meter, 0) == (0, None)


@pytest.mark.parametrize("limits", [Limits(concurrent=5), Limits(requests_per_minute=60), Limits(tokens_per_minute=60)])
def test_it_can_be_forgotten_only_when_it_is_as_new(limits: Limits) -> None:
    """No slot taken, both buckets full."""
    watch = Watch()
    meter = Meter(limits, watch)
    story = [meter.is_untouched]
    meter.take(6)
    story.append(meter.is_untouched)
    watch.now_s += 60
    story.append(meter.is_untouched)
    meter.in_flight -= 1
    story.append(meter.is_untouched)
    meter.take(6)
    meter.in_flight -= 1
    story.append(meter.is_untouched)
    assert story == [True, False, False, True, limits.concurrent is not None]


def test_the_least_of_several_is_told() -> None:
    """Of requests and of tokens, each for itself; who does not limit them has no say."""
    meters = [
        Meter(Limits(requests_per_minute=600), Watch()),
        Meter(Limits(requests_per_minute=6000, tokens_per_minute=1000), Watch()),
        Meter(Limits(concurrent=1), Watch()),
    ]
    for _ in range(95):
        meters[1].take(1)
    assert left(*meters) == [(6000, 5, 0.95), (1000, 5, 5.7)]
    assert left(*meters[::2]) == [(600, 10, 0), None]
    assert left() == [None, None]


def test_new_figures_keep_the_share_that_is_left() -> None:
    """Half full stays half full, slots stay taken, and a debt stays as many tokens as it was."""
    meter = Meter(Limits(requests_per_minute=600, tokens_per_minute=1000), Watch())
    for _ in range(5):
        meter.take(30)
    meter.adopt(Limits(requests_per_minute=60, burst=100, tokens_per_minute=2000))
    assert left(meter) == [(60, 50, 50), (2000, 0, 250 / 2000 * 60)]
    assert meter.in_flight == 5
    meter.adopt(Limits(concurrent=5))
    assert meter.wait_s(10**6) == (RELEASE_HINT_S, Limit.CONCURRENT)
    meter.adopt(Limits(requests_per_minute=60))
    assert left(meter) == [(60, 1, 0), None]


@given(st.integers(1, 1000), st.lists(st.integers(1, 600), max_size=20))
def test_going_back_and_forth_between_figures_gains_nothing(used: int, figures: list[int]) -> None:
    """While two configurations are in use at once, neither gives a request more than before."""
    limits = Limits(requests_per_minute=60, burst=1000)
    meter = Meter(limits, Watch())
    for _ in range(used):
        meter.take(0)
    for figure in figures:
        meter.adopt(Limits(requests_per_minute=figure))
        meter.adopt(Limits(requests_per_minute=60, burst=1000))
    assert left(meter) == [(60, 1000 - used, used), None]


@given(
    st.integers(1, 10_000),
    st.integers(1, 100_000),
    st.lists(st.tuples(st.integers(0, 30_000), st.floats(0, 10)), min_size=1, max_size=30),
)
def test_waiting_as_told_is_enough_and_half_of_it_is_not(rpm: int, tpm: int, asks: list[tuple[int, float]]) -> None:
    """For any mix of limits, sizes and debts."""
    watch = Watch()
    meter = Meter(Limits(requests_per_minute=rpm, tokens_per_minute=tpm), watch)
    for tokens, pause_s in asks:
        watch.now_s += pause_s
        told_s, limit = meter.wait_s(tokens)
        if limit is not None and told_s > 1e-3:
            watch.now_s += told_s / 2
            assert not admit(meter, tokens)
            told_s, _ = meter.wait_s(tokens)
        watch.now_s += told_s
        assert admit(meter, tokens)


@given(
    st.integers(1, 6000),
    st.integers(1, 50) | st.none(),
    st.integers(1, 60_000),
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1)), min_size=1, max_size=60),
)
def test_no_stretch_of_time_brings_more_than_burst_and_rate(
    rpm: int, burst: int | None, tpm: int, asks: list[tuple[int, float]]
) -> None:
    """Between any two moments; of tokens, one request more."""
    watch = Watch()
    limits = Limits(requests_per_minute=rpm, tokens_per_minute=tpm, burst=burst)
    meter = Meter(limits, watch)
    admitted: list[tuple[float, int]] = []
    for tokens, pause_s in asks:
        watch.now_s += pause_s
        if admit(meter, tokens):
            admitted.append((watch.now_s, tokens))
    for first, (from_s, _) in enumerate(admitted):
        for last in range(first, len(admitted)):
            seconds = admitted[last][0] - from_s + 1e-5
            sizes = [tokens for _, tokens in admitted[first : last + 1]]
            assert len(sizes) <= limits.request_burst + rpm / 60 * seconds
            assert sum(sizes) <= limits.token_burst + tpm / 60 * seconds + max(sizes)
