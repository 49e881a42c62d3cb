"""Successes and failures of the last seconds, counted in ten buckets that roll on with time."""

import math

BUCKETS = 10
"""As linkerd's breaker: so short a sum costs little, and there is no running total that could go wrong."""


class RollingWindow:
    """Counts that forget what is older than the window.

    Time moves in steps of a tenth of the window, so what is counted is between 0.9 and 1 times ``window_s`` old at
    most.

    Args:
        window_s: its length in seconds, positive.
        now_s: the reading of the clock that later calls read on.
    """

    __slots__ = ("_bucket_s", "_failures", "_successes", "_tick")

    def __init__(self, window_s: float, now_s: float) -> None:
        self._bucket_s = window_s / BUCKETS
        self._tick = math.floor(now_s / self._bucket_s)
        self._successes = [0] * BUCKETS
        self._failures = [0] * BUCKETS

    def add_success(self, now_s: float) -> None:
        """Count one success."""
        self._successes[self._roll(now_s)] += 1

    def add_failure(self, now_s: float) -> None:
        """Count one failure."""
        self._failures[self._roll(now_s)] += 1

    def totals(self, now_s: float) -> tuple[int, int]:
        """Return the successes and the failures in the window."""
        self._roll(now_s)
        return sum(self._successes), sum(self._failures)

    def clear(self) -> None:
        """Forget everything."""
        self._successes = [0] * BUCKETS
        self._failures = [0] * BUCKETS

    def _roll(self, now_s: float) -> int:
        """Empty the buckets that time has passed over; return the one that counts now."""
        tick = math.floor(now_s / self._bucket_s)
        if tick > self._tick:
            for passed in range(max(self._tick + 1, tick - BUCKETS + 1), tick + 1):
                self._successes[passed % BUCKETS] = self._failures[passed % BUCKETS] = 0
            self._tick = tick
        return self._tick % BUCKETS
