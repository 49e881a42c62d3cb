"""What the simulator was asked and how each answer ended: bounded, without any prompt or credential."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from gateway.core.clock import Clock


class Ended(StrEnum):
    """How an exchange ended, as the provider sees it."""

    OPEN = "open"
    COMPLETE = "complete"
    REFUSED = "refused"
    FAULT = "fault"
    """The answer broke as its model is meant to."""
    CLIENT_LEFT = "client_left"
    CLOSED = "closed"
    """The simulator was closed meanwhile."""


@dataclass(slots=True)
class Entry:
    """One request. Times are seconds since the simulator started; ``status`` is 0 while no head was sent."""

    id: str
    path: str
    started_s: float
    model: str = ""
    stream: bool = False
    status: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    """Tokens of the answer that were sent."""
    ended: Ended = Ended.OPEN
    ended_s: float | None = None


class Journal:
    """The last ``size`` requests, oldest first, and totals over all of them."""

    def __init__(self, size: int, clock: Clock) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._clock = clock
        self._began = clock()
        self._waiting: list[asyncio.Future[None]] = []
        self.open = 0
        self.requests = 0
        self.tokens = 0

    def begin(self, request_id: str, path: str) -> Entry:
        entry = Entry(request_id, path, started_s=self._now())
        self._entries.append(entry)
        self.requests += 1
        self.open += 1
        self._wake()
        return entry

    def end(self, entry: Entry, ended: Ended) -> None:
        """Writes down how the request ended; only the first call counts."""
        if entry.ended is not Ended.OPEN:
            return
        entry.ended = ended
        entry.ended_s = self._now()
        self.open -= 1
        self.tokens += entry.tokens
        self._wake()

    async def until(self, holds: Callable[["Journal"], bool]) -> None:
        """Waits until a condition holds; it is asked whenever a request begins or ends."""
        while not holds(self):
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    @property
    def entries(self) -> list[Entry]:
        return list(self._entries)

    def document(self) -> dict[str, Any]:
        """Returns what ``GET /__simulator/log`` answers."""
        return {
            "open": self.open,
            "requests": self.requests,
            "tokens": self.tokens,
            "recent": [asdict(entry) for entry in self._entries],
        }

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    def _now(self) -> float:
        return round(self._clock() - self._began, 6)
