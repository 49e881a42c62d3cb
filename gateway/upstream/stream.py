"""What the line sees of an upstream event stream, whichever way its bytes travel."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.core.allowance import MOST_WEIGHT, UNLIMITED, Allowance, weight
from gateway.core.clock import Clock
from gateway.core.flow import EventFlow
from gateway.core.outcome import Outcome

log = logging.getLogger("gateway")

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


More = Callable[[], Awaitable[int | None]]
"""Asks for more output tokens: how many the stream may have in all, None for a no."""


async def _no_more() -> None:
    """Say no: there is nobody to be asked."""


class UpstreamStream(ABC):
    """One event stream from its head to its end.

    The line calls, in this order: :meth:`first` (wait for content), :meth:`take` and :meth:`begin` (hand over the
    client), :meth:`ended` (wait for the end; the closing event is then still here), :meth:`finish` (let it go).
    :meth:`abort` may come at any moment and may come twice. Where the client has left, :meth:`detach` lets the rest
    come without it. Where what comes must be paid for first, :meth:`allow` says how much is.

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
        "_detached",
        "_limits",
        "_more",
        "_owing",
        "_ready",
        "_room",
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
        self._detached = False
        # The client is behind, or the allowance used up, so nothing is read: the silence is not the provider's.
        self._throttled = self._owing = False
        self._allowance = UNLIMITED
        self._more: More = _no_more
        self._room = MOST_WEIGHT  # see gateway.core.allowance

    @abstractmethod
    async def first(self) -> None:
        """Wait until there is content, or the stream has ended without: look at :attr:`outcome` then."""

    def take(self) -> bytes:
        """The payload bytes that are ready to go: preamble and first content."""
        ready, self._ready = bytes(self._ready), bytearray()
        return ready

    def peek(self) -> bytes:
        """The same, and they stay."""
        return bytes(self._ready)

    def allow(self, tokens: int, more: More) -> None:
        """Let so many output tokens come, as a settlement would estimate them; before :meth:`begin`.

        The read that passes them goes to the client, and is the last until :meth:`ended` has asked for more: then
        reading goes on, or the stream ends as `budget_cut`. An error is a no, and so are no more tokens than before.
        Nobody is asked once the stream has ended, and whoever is being asked then is cancelled.
        """
        self._allowance, self._more = Allowance(tokens), more
        self._weigh()

    @abstractmethod
    def begin(self, sink: Any) -> None:
        """From now on bytes go to `sink` as they come: a :class:`Sink`, or what the way of the bytes needs more."""

    @abstractmethod
    async def ended(self) -> Outcome:
        """Wait for the end and say what it was. Nothing that follows content is lost or delayed meanwhile."""

    @abstractmethod
    async def finish(self) -> None:
        """Let the closing event go, wait (shortly) for the body's end, and end the client's body."""

    def abort(self) -> None:
        """Close the upstream connection at once, if it is still ours."""
        # Whoever is asked for more may know the stream: each would keep the other.
        self._more = _no_more
        self._break_off()

    @abstractmethod
    def _break_off(self) -> None:
        """Close the upstream connection; forget the client."""

    def detach(self, max_tokens: int, max_s: float) -> bool:
        """Let the client go and the rest come: from here on bytes go nowhere, and nothing waits for anybody.

        :meth:`ended` and :meth:`finish` follow as usual. After about `max_tokens` more tokens the stream ends itself as
        `client_closed`, after `max_s` more seconds it is overdue. No other allowance holds any more.

        Returns:
            False where the stream has ended already: nothing more comes.
        """
        if self.outcome is Outcome.CLIENT_CLOSED and not self._detached:
            # The client's end was not the provider's.
            self.outcome = None
        if self.outcome is not None:
            return False
        total_s = self._clock() - self.opened_at + max_s
        if self._limits.total_s is None or total_s < self._limits.total_s:
            self._limits = replace(self._limits, total_s=total_s)
        if self._throttled or self._owing:
            self._throttled, self._owing, self.last_at = False, False, self._clock()
        self._detached = True
        self._allowance = Allowance(max_tokens, self.events, self.text_bytes)
        self._weigh()
        self._let_client_go()
        return True

    @abstractmethod
    def _let_client_go(self) -> None:
        """Forget the client; read on if it held reading back. From here on bytes go nowhere."""

    def _feed(self, payload: bytes) -> bytes:
        """Take payload bytes into the flow; return those that may go downstream now."""
        flow = self.flow
        before = weight(flow.events, flow.text_bytes)
        out = flow.feed(payload)
        self._room += before - weight(flow.events, flow.text_bytes)
        return out

    def _weigh(self) -> None:
        """Look whether what has come is still within the allowance, and when to look again."""
        self._room = self._allowance.room(self.events, self.text_bytes)
        if self._room >= 0 or self.outcome is not None:
            return
        if self._detached:
            self.fail(Outcome.CLIENT_CLOSED)
        elif not self._owing:
            self._owing = True
            self._hold_back()
            self._wake()

    @abstractmethod
    def _hold_back(self) -> None:
        """Read nothing from upstream until :meth:`ended` has got more."""

    async def _top_up(self) -> None:
        """Ask for more tokens, for as long as the stream has not ended; a no ends it."""
        asking = asyncio.ensure_future(self._more())
        asking.add_done_callback(lambda _: self._wake())
        try:
            while self.outcome is None and not asking.done():
                await self._woken()
        finally:
            asking.cancel()
            (answer,) = await asyncio.gather(asking, return_exceptions=True)
        if self.outcome is not None:
            return
        if isinstance(answer, BaseException):
            log.error("a stream is cut: asking for its next tokens failed", exc_info=answer)
        if isinstance(answer, int) and answer > self._allowance.tokens:
            self._owing, self.last_at = False, self._clock()
            self._allowance = Allowance(answer)
            self._weigh()
        else:
            self.fail(Outcome.BUDGET_CUT)

    def fail(self, outcome: Outcome) -> None:
        """End the stream from our side. Later causes do not change the first."""
        self.outcome = self.outcome or outcome
        self.abort()
        self._wake()

    def is_stalled(self, now: float) -> bool:
        """Whether the provider has been silent for too long."""
        return not (self.outcome or self._throttled or self._owing) and now - self.last_at > self._limits.stall_s

    def is_overdue(self, now: float) -> bool:
        """Whether the stream lasts longer than it may."""
        total_s = self._limits.total_s
        return self.outcome is None and total_s is not None and now - self.opened_at > total_s

    @property
    def events(self) -> int:
        """Content events so far."""
        self._fold()
        return self.flow.events

    @property
    def text_bytes(self) -> int:
        """Bytes of the answer's own text so far, about."""
        self._fold()
        return self.flow.text_bytes

    @abstractmethod
    def _fold(self) -> None:
        """Give the flow what was counted beside it."""

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
