"""The keys of one provider: which is used next, and which rest because the provider refused or throttled them."""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Final

from gateway.core.clock import Clock

FIRST_REST_S: Final = 60.0
"""How long a key rests after a 401; twice as long after each further one."""

LONGEST_REST_S: Final = 3600.0
"""Where the doubling ends: a key that was put right is in use again an hour later at most, without a restart."""


class KeyPool:
    """Hands out keys in turn, but for those that rest.

    ``index`` numbers them from 0 in the configuration's order: logs and pins name a key by it, never by its text. A
    provider that asks for no credential has one key, None, which may rest as others do.

    Args:
        keys: the credentials.
        clock: read only where a key rests or is put to rest.
    """

    __slots__ = ("_clock", "_count", "_keys", "_refusals", "_rests", "_turns")

    def __init__(self, keys: Sequence[str], clock: Clock) -> None:
        self._keys: tuple[str | None, ...] = tuple(keys) or (None,)
        self._clock = clock
        self._turns = cycle(enumerate(self._keys))
        self._rests: dict[int, float] = {}  # index -> until; some may be over, the next who looks drops them
        self._refusals: dict[int, tuple[float, float]] = {}  # index -> length and end of the last rest for a 401

    def pick(self, pinned: int | None = None) -> tuple[int, str | None]:
        """Return the next key that does not rest, and its index; the pinned one even if it rests.

        Where all rest it is the one that is free first: :meth:`rests_for` tells, and the caller decides.
        """
        if pinned is not None and pinned < len(self._keys):
            return pinned, self._keys[pinned]
        if not self._rests:
            return next(self._turns)
        resting = self._resting(self._clock())
        if len(resting) == len(self._keys):
            index = min(resting, key=resting.__getitem__)
            return index, self._keys[index]
        return next(turn for turn in self._turns if turn[0] not in resting)

    def refused(self, index: int) -> None:
        """The provider answered 401: the key rests, twice as long as the last time if no success came between.

        Not if no other key is awake: a key that may be wrong is better than none. And not while it rests for a 401
        already: requests that were under way then say nothing new.
        """
        now_s = self._clock()
        last_s, until_s = self._refusals.get(index, (0.0, -math.inf))
        if now_s < until_s or not self._has_other(index, now_s):
            return
        rest_s = min(max(last_s * 2, FIRST_REST_S), LONGEST_REST_S)
        self._refusals[index] = rest_s, now_s + rest_s
        self._rest_until(index, now_s + rest_s)

    def throttled(self, index: int, wait_s: float) -> None:
        """The provider answered 429: the key rests for so many seconds, be it the last one; 0 and less is no rest."""
        if wait_s > 0:
            self._rest_until(index, self._clock() + wait_s)

    def accepted(self, index: int) -> None:
        """The provider took the key: the next 401 is the first of a row again."""
        if self._refusals:
            self._refusals.pop(index, None)

    def wake(self) -> None:
        """End every rest, as an operator's order; the next 401 is the first of a row again."""
        self._rests.clear()
        self._refusals.clear()

    def has_other(self, index: int) -> bool:
        """Whether another key could be used now."""
        return self._has_other(index, self._clock())

    def rests_for(self) -> float:
        """Seconds until a key may be used, 0 if one may now."""
        if not self._rests:
            return 0.0
        now_s = self._clock()
        resting = self._resting(now_s)
        return 0.0 if len(resting) < len(self._keys) else min(resting.values()) - now_s

    def scrub(self, data: bytes) -> bytes:
        """Take every key of the pool out of what a provider said."""
        for key in self._keys:
            if key is not None:
                data = data.replace(key.encode(), b"[key]")
        return data

    def _rest_until(self, index: int, until_s: float) -> None:
        self._rests[index] = max(until_s, self._rests.get(index, until_s))

    def _resting(self, now_s: float) -> dict[int, float]:
        """The keys that rest, and until when."""
        if self._rests and min(self._rests.values()) <= now_s:
            self._rests = {index: until_s for index, until_s in self._rests.items() if until_s > now_s}
        return self._rests

    def _has_other(self, index: int, now_s: float) -> bool:
        resting = self._resting(now_s)
        return len(self._keys) - len(resting) > (index not in resting)
