"""A crowd before one gate, on a loop whose time stands still: a test decides what falls into one turn."""

import asyncio

from gateway.core.errors import GatewayError
from gateway.upstream.gate import Gate
from tests.raw_connection import read_boundary

QUEUE_S = 1.0
LONG_S = 1000.0
NAME = "the provider one"


class HandLoop(asyncio.SelectorEventLoop):
    """A loop whose time only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()
        self._mistakes: list[object] = []
        self.set_exception_handler(lambda _, context: self._mistakes.append(context))

    def time(self) -> float:
        return self.now

    def turn(self) -> None:
        """Let everything happen that can happen now; a callback that fails fails the test."""
        self.run_until_complete(read_boundary())
        assert self._mistakes == []

    def timers(self) -> int:
        """How many are still to come."""
        return sum(not timer.cancelled() for timer in self._scheduled)  # type: ignore[attr-defined]


class Crowd:
    """Requests before one gate. They act when the loop turns, so that a test decides what falls into one turn."""

    def __init__(self, limit: int = 1, max_queued: int = 10, queue_s: float = QUEUE_S) -> None:
        self.loop = HandLoop()
        self.gate = Gate(limit, max_queued, queue_s, NAME)
        self.entered: list[int] = []
        self.refused: dict[int, GatewayError] = {}
        self.waited: dict[int, float] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def arrive(self, left_s: float = LONG_S) -> int:
        """A request asks for a place; returns its number."""
        number = len(self.tasks)
        self.tasks[number] = self.loop.create_task(self._enter(number, left_s))
        return number

    async def _enter(self, number: int, left_s: float) -> None:
        try:
            self.waited[number] = await self.gate.enter(left_s)
            self.entered.append(number)
        except GatewayError as refusal:
            self.refused[number] = refusal

    def queue(self, count: int) -> list[int]:
        """Take all places but those taken already, then let so many wait."""
        while self.gate.enter_now():
            pass
        numbers = [self.arrive() for _ in range(count)]
        self.turn()
        return numbers

    def turn(self, after_s: float = 0.0) -> None:
        self.loop.now += after_s
        self.loop.turn()

    def gone(self, number: int) -> bool:
        """Whether the request was cancelled and knows it."""
        return self.tasks[number].cancelled()

    def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.turn()
        self.loop.close()
