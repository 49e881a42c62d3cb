"""Time as a dependency."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds on a monotonic scale; only differences mean anything."""

WallClock = Callable[[], float]
"""Returns Unix time in seconds; for dates that leave the process (key expiry, access log), never for durations."""
