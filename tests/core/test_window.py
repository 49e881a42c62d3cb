"""The rolling window: what it counts, and when it forgets."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.window import BUCKETS, RollingWindow

WINDOW_S = 10.0
"""So that a bucket is a second long."""


def test_counts_both_kinds() -> None:
    """Successes first, failures second."""
    window = RollingWindow(WINDOW_S, 0)
    for now_s in (0.0, 0.5, 3.0):
        window.add_success(now_s)
    window.add_failure(3.0)
    assert window.totals(3.0) == (3, 1)


@pytest.mark.parametrize(("now_s", "total"), [(0.0, 1), (9.99, 1), (10.0, 0), (10.01, 0), (1e9, 0)])
def test_forgets_a_bucket_when_its_time_comes_again(now_s: float, total: int) -> None:
    """What was counted at 0 is gone a window later."""
    window = RollingWindow(WINDOW_S, 0)
    window.add_failure(0.0)
    assert window.totals(now_s) == (0, total)


def test_what_is_counted_late_in_a_bucket_goes_with_it() -> None:
    """A bucket is forgotten whole, so its last entry is nine tenths of a window old by then."""
    window = RollingWindow(WINDOW_S, 0)
    window.add_success(0.99)
    assert window.totals(9.99) == (1, 0)
    assert window.totals(10.0) == (0, 0)


def test_a_long_silence_forgets_everything() -> None:
    """Also where it lasted many windows, and the buckets are in use again at once."""
    window = RollingWindow(WINDOW_S, 0)
    for second in range(BUCKETS):
        window.add_failure(float(second))
    assert window.totals(9.0) == (0, BUCKETS)
    window.add_failure(12_345.0)
    assert window.totals(12_345.0) == (0, 1)


def test_clear_forgets_at_once() -> None:
    """And counts on from there."""
    window = RollingWindow(WINDOW_S, 0)
    window.add_success(1.0)
    window.add_failure(2.0)
    window.clear()
    assert window.totals(2.0) == (0, 0)
    window.add_failure(2.0)
    assert window.totals(2.0) == (0, 1)


def test_time_below_zero_is_time_too() -> None:
    """Only differences of a clock's readings mean anything."""
    window = RollingWindow(WINDOW_S, -100.0)
    window.add_failure(-100.0)
    assert window.totals(-90.01) == (0, 1)
    assert window.totals(-90.0) == (0, 0)


@dataclass(frozen=True)
class Sample:
    """One call: how long after the one before, and how it went."""

    after_s: float
    failed: bool


samples = st.builds(Sample, st.floats(0, 7) | st.floats(0, 40) | st.sampled_from([0.0, 1.0, 9.0, 10.0]), st.booleans())


def exact(seen: list[tuple[float, bool]], since_s: float) -> tuple[int, int]:
    """Successes and failures later than some moment."""
    late = [failed for at_s, failed in seen if at_s > since_s]
    return late.count(False), late.count(True)


@given(st.floats(0.1, 3600), st.floats(-1e4, 1e6), st.lists(samples, max_size=60))
def test_counts_lie_between_those_of_nine_tenths_and_of_the_whole(
    window_s: float, start_s: float, calls: list[Sample]
) -> None:
    """However calls fall, nothing younger than 0.9 windows is missing and nothing older than one is counted."""
    window = RollingWindow(window_s, start_s)
    now_s, seen = start_s, []
    for call in calls:
        now_s += call.after_s
        seen.append((now_s, call.failed))
        (window.add_failure if call.failed else window.add_success)(now_s)
        rounding_s = 1e-9 * (abs(now_s) + window_s)
        least = exact(seen, now_s - 0.9 * window_s + rounding_s)
        most = exact(seen, now_s - window_s - rounding_s)
        assert all(a <= b <= c for a, b, c in zip(least, window.totals(now_s), most, strict=True))
