"""One cell per time series: bound to its labels once, then moved without looking anything up."""

import logging
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

logger = logging.getLogger(__name__)

INFINITY = float("inf")


class CounterCell:
    """One counter series: it never falls.

    ``value`` counts in the unit of its collector and stays an exact integer while integers are added.
    ``debt`` is what was counted too much; later increments pay it back before the value moves again.
    """

    __slots__ = ("debt", "line_start", "value")

    def __init__(self, line_start: str) -> None:
        self.line_start = line_start
        self.value: float = 0
        self.debt: float = 0

    def inc(self, n: float = 1) -> None:
        """Count ``n`` more.

        Raises:
            ValueError: ``n`` is negative or not finite.
        """
        if not 0 <= n < INFINITY:
            raise ValueError(f"a counter grows by a finite amount of at least 0, not by {n!r}")
        if self.debt:
            self.settle(n, 0)
        else:
            self.value += n

    def settle(self, exact: float, flushed: float) -> None:
        """Count what is exact less what ``inc`` was already given for it; an over-count becomes debt.

        Raises:
            ValueError: an amount is negative or not finite.
        """
        if not (0 <= exact < INFINITY and 0 <= flushed < INFINITY):
            raise ValueError(f"amounts are finite and at least 0, not exact={exact!r} flushed={flushed!r}")
        rest = exact - flushed - self.debt
        if rest >= 0:
            self.value += rest
            self.debt = 0
        else:
            self.debt = -rest


class GaugeCell:
    """One gauge series: a value that was set, or a function read at every scrape."""

    __slots__ = ("_read", "line_start", "value")

    def __init__(self, line_start: str) -> None:
        self.line_start = line_start
        self.value: float = 0
        self._read: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        """Make ``value`` the current one; a truth value becomes 0 or 1.

        Raises:
            TypeError: ``value`` is not a number.
        """
        # the sign makes a number of True, which the text format could not carry, and refuses strings
        self.value = +value

    def inc(self, n: float = 1) -> None:
        """Raise the value by ``n``."""
        self.value += n

    def dec(self, n: float = 1) -> None:
        """Lower the value by ``n``."""
        self.value -= n

    def read_from(self, read: Callable[[], float]) -> None:
        """Ask ``read`` at every scrape; if it fails, that scrape says NaN and the log says why."""
        self._read = read

    def refresh(self) -> None:
        """Take over what the function given to ``read_from`` says now, if one was given."""
        if self._read is None:
            return
        try:
            self.value = +self._read()
        except Exception:
            self.value = float("nan")
            logger.warning("reading the gauge %s failed", self.line_start.rstrip(), exc_info=True)


class HistogramCell:
    """One histogram: how many observations fell between its bounds, and their sum.

    ``bounds`` are the inclusive upper bounds; ``counts`` has one place more, for what lies above the last,
    and is *not* cumulated: the scrape does that. Code that sees every chunk may write
    ``cell.counts[bisect_left(cell.bounds, v)] += 1`` and ``cell.sum += v`` itself.
    """

    __slots__ = ("bounds", "count_start", "counts", "line_starts", "sum", "sum_start")

    def __init__(self, bounds: tuple[float, ...], line_starts: tuple[str, ...]) -> None:
        """``line_starts``: one per bucket (``+Inf`` included), then that of the count and that of the sum."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0.0
        *buckets, self.count_start, self.sum_start = line_starts
        self.line_starts = tuple(buckets)

    def observe(self, value: float) -> None:
        """Record one observation, in the unit of the metric's name.

        Raises:
            ValueError: ``value`` is NaN or infinite, which would spoil the sum for ever.
        """
        if not -INFINITY < value < INFINITY:
            raise ValueError(f"an observation is a finite number, not {value!r}")
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def cumulated(self) -> list[int]:
        """The counts as the exposition wants them: each bucket holds all the smaller ones too."""
        return list(accumulate(self.counts))
