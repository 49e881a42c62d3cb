"""What the line sees of an upstream event stream, whichever way its bytes travel."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.core.clock import Clock
from gateway.core.flow import EventFlow
from gateway.core.outcome import Outcome
from gateway.core.tokens import estimate_output

END_GRACE_S = 1.0
"""How long the body's end may come after the closing event; then the connection is given up, not the client."""


SLOW_S = 0.001
"""A wait for the client shorter than this is no wait."""


class Sink(Protocol):
    """The client's side, as a stream needs it."""

    async def send(self, payload: bytes) -> None:
        """Send payload bytes and wait while the client is slow. Raises ConnectionError when it is gone."""

    async def end(self) -> None:
        """End the body."""


class Gaps(Protocol):
    """Where the time between chunks is counted: a histogram's own cells, moved without a call per chunk.

    ``counts`` has one more entry than ``bounds`` (seconds, ascending).
    """

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float

    def observe(self, value: float) -> None:
        """Count one gap of `value` seconds."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Seconds: the provider's silence, patience with a client that takes nothing, the whole stream (None: any)."""

    stall_s: float
    write_timeout_s: float
    total_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Allowance:
    """So many more tokens may come behind these figures."""

    tokens: int
    events: int
    text_bytes: int


class UpstreamStream(ABC):
    """One event stream from its head to its end.

    The line calls, in this order: :meth:`first` (wait for content), :meth:`take` and :meth:`begin` (hand over the
    client), :meth:`ended` (wait for the end; the closing event is then still here), :meth:`finish` (let it go).
    :meth:`abort` may come at any moment and may come twice. Where the client has left, :meth:`detach` lets the rest
    come without it.

    A client that takes nothing more ends the stream as `client_closed` and leaves the connection as it is: whether it
    is read on is for the line to decide.

    Attributes:
        outcome: how the stream ended; None while it runs.
        first_at, last_at: clock readings of the first content and of the last bytes.
        slow_s: seconds of each pause for a slow client, for the settlement to observe.
    """

    __slots__ = (
        "_allowance",
        "_clock",
        "_limits",
        "_ready",
        "_throttled",
        "_waiter",
        "first_at",
        "flow",
        "gaps",
        "last_at",
        "opened_at",
        "outcome",
        "slow_s",
    )

    def __init__(self, flow: EventFlow, gaps: Gaps, limits: StreamLimits, clock: Clock) -> None:
        self.flow = flow
        self.gaps = gaps
        self.outcome: Outcome | None = None
        self.first_at: float | None = None
        self.opened_at = self.last_at = clock()
        self.slow_s: list[float] = []
        self._limits = limits
        self._clock = clock
        self._ready = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._allowance: _Allowance | None = None
        # The client is behind, so nothing is read: the silence is not the provider's.
        self._throttled = False

    @abstractmethod
    async def first(self) -> None:
        """Wait until there is content, or the stream has ended without: look at :attr:`outcome` then."""

    def take(self) -> bytes:
        """The payload bytes that are ready to go: preamble and first content."""
        ready = bytes(self._ready)
        self._ready.clear()
        return ready

    @abstractmethod
    def begin(self, sink: Any) -> None:
        """From now on bytes go to `sink` as they come: a :class:`Sink`, or what the way of the bytes needs more."""

    @abstractmethod
    async def ended(self) -> Outcome:
        """Wait for the end and say what it was. Nothing that follows content is lost or delayed meanwhile."""

    @abstractmethod
    async def finish(self) -> None:
        """Let the closing event go, wait (shortly) for the body's end, and end the client's body."""

    @abstractmethod
    def abort(self) -> None:
        """Close the upstream connection at once, if it is still ours."""

    def detach(self, max_tokens: int, max_s: float) -> bool:
        """Let the client go and the rest come: from here on bytes go nowhere, and nothing waits for anybody.

        :meth:`ended` and :meth:`finish` follow as usual. After about `max_tokens` more tokens the stream ends itself as
        `client_closed`, after `max_s` more seconds it is overdue.

        Returns:
            False where the stream has ended already: nothing more comes.
        """
        if self.outcome is Outcome.CLIENT_CLOSED and self._allowance is None:
            # The client's end was not the provider's.
            self.outcome = None
        if self.outcome is not None:
            return False
        self._allowance = _Allowance(max_tokens, self.events, self.text_bytes)
        total_s = self._clock() - self.opened_at + max_s
        if self._limits.total_s is None or total_s < self._limits.total_s:
            self._limits = replace(self._limits, total_s=total_s)
        self._let_client_go()
        return True

    @abstractmethod
    def _let_client_go(self) -> None:
        """Forget the client; read on if it held reading back. From here on all that would reach it is spent."""

    def _spend(self, _: bytes = b"") -> None:
        """Something came that goes nowhere."""
        allowance = self._allowance
        if allowance is None or self.outcome is not None:
            return
        spent = estimate_output(self.events - allowance.events, self.text_bytes - allowance.text_bytes)
        if spent > allowance.tokens:
            self.fail(Outcome.CLIENT_CLOSED)

    def fail(self, outcome: Outcome) -> None:
        """End the stream from our side. Later causes do not change the first."""
        if self.outcome is None:
            self.outcome = outcome
        self.abort()
        self._wake()

    def is_stalled(self, now: float) -> bool:
        """Whether the provider has been silent for too long."""
        return self.outcome is None and not self._throttled and now - self.last_at > self._limits.stall_s

    def is_overdue(self, now: float) -> bool:
        """Whether the stream lasts longer than it may."""
        total_s = self._limits.total_s
        return self.outcome is None and total_s is not None and now - self.opened_at > total_s

    @property
    def events(self) -> int:
        """Content events so far."""
        return self.flow.events

    @property
    def text_bytes(self) -> int:
        """Bytes of the answer's own text so far, about."""
        return self.flow.text_bytes

    @property
    def at_event_boundary(self) -> bool:
        """Whether an event of ours may be put in now."""
        return self.flow.at_boundary

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _within_write_timeout(self, waiting: Awaitable[None]) -> None:
        """Wait for a slow client; give it up after the write timeout, and upstream too if it only has to end."""
        since = self._clock()
        try:
            async with asyncio.timeout(self._limits.write_timeout_s):
                await waiting
        except (TimeoutError, ConnectionError):
            if self.outcome is None:
                self.outcome = Outcome.CLIENT_CLOSED
            else:
                self.abort()
        now = self._clock()
        if now - since > SLOW_S:
            self.slow_s.append(now - since)
            self.last_at = now
