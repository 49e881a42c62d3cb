"""What one scope has used of its limits: two token buckets and the slots taken."""

import math
from collections.abc import Sequence

from gateway.core.bucket import GRACE_S, TokenBucket
from gateway.core.clock import Clock
from gateway.core.quota import RELEASE_HINT_S, Allowance, Limit, Limits


class Meter:
    """Counts requests, tokens and slots. Asking (:meth:`wait_s`) and taking are apart, so that scopes can agree first.

    Attributes:
        in_flight: slots taken.
    """

    __slots__ = ("_clock", "_limits", "_requests", "_tokens", "in_flight")

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._clock = clock
        self._limits = limits
        self._requests = _bucket(limits.requests_per_minute, limits.request_burst, clock)
        self._tokens = _bucket(limits.tokens_per_minute, limits.token_burst, clock)
        self.in_flight = 0

    def adopt(self, limits: Limits) -> None:
        """Go by other figures from now on: as full as before, by share; a debt stays what it is."""
        if limits is self._limits or limits == self._limits:
            self._limits = limits
            return
        before, old = self._limits, (self._requests, self._tokens)
        self._limits = limits
        self._requests = _bucket(limits.requests_per_minute, limits.request_burst, self._clock)
        self._tokens = _bucket(limits.tokens_per_minute, limits.token_burst, self._clock)
        _carry_over(old[0], before.request_burst, self._requests, limits.request_burst)
        _carry_over(old[1], before.token_burst, self._tokens, limits.token_burst)

    def wait_s(self, tokens: int) -> tuple[float, Limit | None]:
        """Return how long a request must wait, and for which limit: the longest of all; 0 and None: not at all."""
        longest_s, limit = 0.0, None
        most = self._limits.concurrent
        if most is not None and self.in_flight >= most:
            longest_s, limit = RELEASE_HINT_S, Limit.CONCURRENT
        if self._requests is not None:
            wait_s = self._requests.seconds_until(1)
            if wait_s > longest_s:
                longest_s, limit = wait_s, Limit.REQUESTS
        if self._tokens is not None:
            wait_s = self._tokens.seconds_until(min(tokens, self._limits.token_burst))
            if wait_s > longest_s:
                longest_s, limit = wait_s, Limit.TOKENS
        return longest_s, limit

    def take(self, tokens: int) -> None:
        """Take one request, its tokens and a slot, whether they are there or not."""
        self.in_flight += 1
        if self._requests is not None:
            self._requests.charge(1)
        if self._tokens is not None:
            self._tokens.charge(tokens)

    def correct(self, estimate: int, tokens: int) -> None:
        """Put the real count of tokens in the place of an estimate that was taken."""
        if self._tokens is None or tokens == estimate:
            return
        if tokens > estimate:
            self._tokens.charge(tokens - estimate)
        else:
            self._tokens.give_back(estimate - tokens)

    def give_back_request(self) -> None:
        """Undo the taking of one request."""
        if self._requests is not None:
            self._requests.give_back(1)

    @property
    def is_untouched(self) -> bool:
        """Whether it is as a new one would be: it can be forgotten."""
        return (
            self.in_flight == 0
            and (self._requests is None or self._requests.level >= self._limits.request_burst)
            and (self._tokens is None or self._tokens.level >= self._limits.token_burst)
        )


def _bucket(per_minute: int | None, burst: float, clock: Clock) -> TokenBucket | None:
    return None if per_minute is None else TokenBucket(per_minute / 60, burst, clock)


def _carry_over(old: TokenBucket | None, old_burst: float, new: TokenBucket | None, new_burst: float) -> None:
    if old is not None and new is not None:
        level = old.level
        new.charge(new_burst * (1 - level / old_burst) if level > 0 else new_burst - level)


def least(meters: Sequence[Meter]) -> tuple[Allowance | None, Allowance | None]:
    """Return what is left of the requests and of the tokens, each where there is least; None: nobody limits them."""
    return (
        _least([(m._requests, m._limits.requests_per_minute, m._limits.request_burst) for m in meters]),
        _least([(m._tokens, m._limits.tokens_per_minute, m._limits.token_burst) for m in meters]),
    )


def _least(buckets: list[tuple[TokenBucket | None, int | None, float]]) -> Allowance | None:
    lowest, figures = math.inf, None
    for bucket, limit, burst in buckets:
        if bucket is not None and limit is not None:
            level = bucket.level
            if level < lowest:
                lowest, figures = level, (limit, burst)
    if figures is None:
        return None
    limit, burst = figures
    rate_per_s = limit / 60
    # What the bucket would give now is there, the rounding of its clock included; a debt leaves nothing.
    there = min(lowest + rate_per_s * GRACE_S, burst)
    return Allowance(limit, max(0, math.floor(there)), (burst - lowest) / rate_per_s)
