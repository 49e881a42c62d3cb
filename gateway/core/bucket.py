"""Token buckets: how much may be taken at a rate, and how many retries the traffic has earned."""

import math
from typing import Final

from gateway.core.clock import Clock

GRACE_S: Final = 1e-6
"""What comes in within a microsecond is there already. Clock readings are rounded (to 2 ns after half a year), and who
waits as long as :meth:`TokenBucket.seconds_until` said must not be told to wait again. It never adds up."""

MAX_SAVED_RETRIES: Final = 100
"""Retries that good times can save for bad ones, as in the standard mode of the AWS SDKs (500 units, 5 for a retry)."""

_UNITS: Final = 1000
"""Parts of one retry; whole numbers, so that a thousand deposits of 0.2 are exactly 200 retries."""


class TokenBucket:
    """A bucket that begins full, gains ``rate_per_s`` tokens a second and holds ``burst`` at most.

    Over any time it gives ``burst + rate_per_s * seconds`` tokens, no more (within :data:`GRACE_S`) and, to who keeps
    asking, no less: the level is computed from the moment it was last full, so roundings do not add up.

    Args:
        rate_per_s: tokens gained per second; 0 never refills.
        burst: most tokens it holds.
        clock: read at every call.

    Raises:
        ValueError: a negative or infinite rate, or a burst that is not positive.
    """

    __slots__ = ("_burst", "_clock", "_full_at_s", "_grace", "_rate", "_taken")

    def __init__(self, rate_per_s: float, burst: float, clock: Clock) -> None:
        if not (0 <= rate_per_s < math.inf and 0 < burst < math.inf):
            raise ValueError(f"rate_per_s must be 0 or more and burst positive, not {rate_per_s} and {burst}")
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._grace = rate_per_s * GRACE_S
        self._full_at_s = clock()
        self._taken = 0.0

    @property
    def level(self) -> float:
        """Tokens there are now; below 0 (by more than :data:`GRACE_S` brings in) is a debt."""
        return self._settle()

    def try_take(self, n: float = 1) -> bool:
        """Take ``n`` tokens if they are there, all or none; while there is a debt not even 0 are.

        Raises:
            ValueError: ``n`` is negative.
        """
        enough = self._settle() + self._grace >= _checked(n)
        if enough:
            self._taken += n
        return enough

    def charge(self, n: float) -> None:
        """Take ``n`` tokens whether they are there or not: for what was used beyond an estimate. Makes debts.

        Raises:
            ValueError: ``n`` is negative.
        """
        self._settle()
        self._taken += _checked(n)

    def give_back(self, n: float) -> None:
        """Put back ``n`` tokens that were taken and not used; beyond ``burst`` they are lost.

        Raises:
            ValueError: ``n`` is negative.
        """
        self._taken -= _checked(n)

    def seconds_until(self, n: float = 1) -> float:
        """Return how long until ``n`` tokens are there: 0 if they are, infinity if they never will be.

        Raises:
            ValueError: ``n`` is negative.
        """
        missing = _checked(n) - self._settle()
        if missing <= self._grace:
            return 0.0
        return missing / self._rate if self._rate and n <= self._burst else math.inf

    def _settle(self) -> float:
        """Return the level; what came in beyond the brim is gone from here on and pays for nothing later."""
        now_s = self._clock()
        gained = (now_s - self._full_at_s) * self._rate
        if gained >= self._taken:
            self._full_at_s = now_s
            self._taken = 0.0
            return self._burst
        return self._burst - self._taken + gained


class RetryBudget:
    """The retries that one target may get: a share of its traffic, and a few to begin with.

    Whatever happens, retries <= ``ratio`` x deposits + ``floor_burst`` + ``floor_per_s`` x seconds. So with the
    defaults attempts never exceed 1.2 x first requests + 3, however long one looks. Shares and floor are Envoy's
    (``RetryBudget``: 20 %, at least 3).

    Args:
        clock: read where the floor refills.
        ratio: retries that one first request earns, in thousandths at the finest.
        floor_per_s: how fast the floor refills by itself. 0: the traffic alone earns retries, as the bound above
            without its last term demands.
        floor_burst: retries there are before any traffic.

    Raises:
        ValueError: a number below 0.
    """

    __slots__ = ("_deposit", "_floor", "_saved")

    def __init__(self, clock: Clock, ratio: float = 0.2, floor_per_s: float = 0.0, floor_burst: int = 3) -> None:
        # rounded down, so that the bound holds; no share below 1 with three decimals loses anything
        self._deposit = math.floor(_checked(ratio) * _UNITS)
        self._floor = TokenBucket(floor_per_s, floor_burst, clock) if floor_burst else None
        self._saved = 0

    @property
    def balance(self) -> int:
        """Whole retries that there are now."""
        floor = math.floor(self._floor.level) if self._floor is not None else 0
        return floor + self._saved // _UNITS

    def deposit(self) -> None:
        """A first request was sent to the target: it earns its share."""
        self._saved = min(self._saved + self._deposit, MAX_SAVED_RETRIES * _UNITS)

    def withdraw(self) -> bool:
        """Take one retry if there is one; what the traffic earned goes first."""
        if self._saved >= _UNITS:
            self._saved -= _UNITS
            return True
        return self._floor is not None and self._floor.try_take()


def _checked(n: float) -> float:
    if not n >= 0:
        raise ValueError(f"must be 0 or more, not {n}")
    return n
