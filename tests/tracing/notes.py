"""Notes what tracing is told, instead of tracing it."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.proxy.answers import Answer
from gateway.proxy.exchange import Attempt, Exchange, Order


@dataclass(frozen=True)
class NotedTrace:
    """Headers of a trace that nobody collects."""

    headers: Mapping[str, str]


class Notes:
    """A journal and spans.

    Attributes:
        told: all of it, in order.
    """

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def write(self, exchange: Exchange, now: float) -> None:
        self.told.append(("write", exchange, now))

    def attempt(self, exchange: Exchange, order: Order, attempt: Attempt) -> None:
        attempt.trace = NotedTrace({"traceparent": "from-the-notes"})
        self.told.append(("attempt", attempt.target))

    def answered(self, attempt: Attempt, answer: Answer) -> None:
        self.told.append(("answered", attempt.target))

    def end(self, exchange: Exchange, now: float) -> None:
        self.told.append(("end", exchange, now))
