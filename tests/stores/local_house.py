"""Limits and budgets of one process, with its clocks in the test's hands."""

from collections.abc import Coroutine
from typing import TypeVar

from gateway.stores.memory import LocalQuotas

NEW_YEARS_EVE_S = 1_798_714_800.0
"""Noon of 2026-12-31 in Berlin, a Thursday: day, month and year end with it, the week does not."""

T = TypeVar("T")


class LocalHouse:
    """One process, its clocks set by hand."""

    def __init__(self) -> None:
        self.monotonic_s = 5.0
        self.wall_s = NEW_YEARS_EVE_S
        self.ledger: dict[str, int] = {}
        self.quotas = LocalQuotas(lambda: self.monotonic_s, self.now_s, self._load)
        self.replicas = [self.quotas]

    def now_s(self) -> float:
        return self.wall_s

    async def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds

    async def _load(self, scope_key: str, start_s: float) -> int | None:
        return self.ledger.get(scope_key)


def at_once(verb: Coroutine[object, None, T]) -> T:
    """Run a verb that has nothing to wait for, without an event loop."""
    try:
        verb.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits")
