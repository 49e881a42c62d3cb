"""A loop that never waits: where nothing can happen but by the clock, its clock moves on to then."""

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Looks at files as any other; a wait for the clock is over at once."""

    loop: "QuickLoop"

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        if not events and timeout:
            self.loop.now += timeout
        return events


class QuickLoop(asyncio.SelectorEventLoop):
    """A whole story of waits, in no time and to the microsecond.

    Args:
        now: what its clock shows at first; injected clocks read :meth:`time`.
        early_s: how much before its time a timer comes, as uvloop's may.

    Attributes:
        mistakes: what callbacks and forgotten tasks raised.
    """

    def __init__(self, now: float, early_s: float = 0.0) -> None:
        self.now = now
        self.early_s = early_s
        self.mistakes: list[object] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(lambda _, context: self.mistakes.append(context))

    def time(self) -> float:
        return self.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(max(self.now, when - self.early_s), callback, *args, context=context)

    def tell(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a story to its end; a task that it forgot, or a mistake that nobody saw, fails the test."""
        try:
            result = self.run_until_complete(story)
        finally:
            left = [task for task in asyncio.all_tasks(self) if not task.done()]
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.wait(left))
            assert left == []
            assert self.mistakes == []
        return result

    def close(self) -> None:
        """Close it; a failure that nobody has looked at fails the test."""
        gc.collect(1)  # what a test has made is young
        super().close()
        assert self.mistakes == []

    async def settle(self) -> None:
        """Let everything happen that can happen without the clock."""
        for _ in range(20):
            await asyncio.sleep(0)  # timed: not at all, it lets the others run
