"""A loop that learns late of what its sockets have: for each, now and then, some milliseconds after it happened.

Nothing that is promised to a program is broken by it, since readiness is never a promise of time. A test that holds
here as well does not lean on who of two peers is quicker (``pytest --late 7``).
"""

import asyncio
import random
import selectors
import time
from collections.abc import Callable
from typing import Any

SHARE = 0.25
"""Of the times a socket becomes ready: how often it is learnt late."""
LATEST_S = 0.02
LOOK_S = 0.001
"""How long is slept, while somebody is held back, before looking again."""


class LateSelector(selectors.DefaultSelector):
    """Holds back what is ready; level-triggered, it is there again at the next look.

    Args:
        seed: chooses what is held back, and for how long.
        share: see :data:`SHARE`.
        clock: monotonic, in seconds.
    """

    def __init__(self, seed: int | str, *, share: float = SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._share = share
        self._clock = clock
        self._until_s: dict[int, float] = {}

    @property
    def held(self) -> int:
        """How many sockets are held back now."""
        return len(self._until_s)

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout)
        now_s = self._clock()
        told = [event for event in ready if self._told(event[0].fd, now_s)]
        if ready and not told:
            moment_s = LOOK_S if timeout is None else min(LOOK_S, max(0.0, timeout))
            time.sleep(moment_s)  # timed: to be late is what it is for
        return told

    def unregister(self, fileobj: Any) -> Any:
        key = super().unregister(fileobj)
        self._until_s.pop(key.fd, None)
        return key

    def _told(self, fd: int, now_s: float) -> bool:
        until_s = self._until_s.get(fd)
        if until_s is None:
            if self._chance.random() >= self._share:
                return True
            self._until_s[fd] = now_s + self._chance.uniform(0.0, LATEST_S)
            return False
        if now_s < until_s:
            return False
        del self._until_s[fd]
        return True


def late_loop(seed: int | str) -> asyncio.SelectorEventLoop:
    """A loop of asyncio whose delays follow from the seed."""
    return asyncio.SelectorEventLoop(LateSelector(seed))
