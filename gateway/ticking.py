"""One timer for everything that recurs: it measures how late the loop is, and calls what is due."""

import asyncio
from collections.abc import Callable

from gateway.metrics import HistogramCell

TICK_S = 0.1
"""How often the loop's lag is measured; nothing recurs more often."""


class Ticker:
    """Calls functions again and again, the first time at once.

    Args:
        lag: takes how many seconds late each tick was.
        recurring: seconds between two calls, and what is called; it must return soon and raise nothing.
    """

    def __init__(self, lag: HistogramCell, *recurring: tuple[float, Callable[[], object]]) -> None:
        self._lag = lag
        self._recurring = recurring
        self._due = [0.0] * len(recurring)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._tick(asyncio.get_running_loop().time())

    def stop(self) -> None:
        """Call nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, expected: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._lag.observe(max(0.0, now - expected))
        for index, (period_s, call) in enumerate(self._recurring):
            if now >= self._due[index]:
                self._due[index] = now + period_s
                call()
        self._timer = loop.call_at(now + TICK_S, self._tick, now + TICK_S)
