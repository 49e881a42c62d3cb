"""One event stream on its way from upstream to downstream: what is held, what goes on, what waits at the end.

Sans-IO: payload bytes in, payload bytes out. Both relay paths (the spliced and the plain one) drive this machine,
so both make the same promises:

* nothing leaves before the first content (:data:`HELD_LIMIT_BYTES` is the exception), so until then another
  target can still answer;
* what leaves ends at an event boundary, so a typed error event can always follow. (A client cannot act on half
  an event: waiting for the rest costs it nothing. Only events over :data:`PARTIAL_LIMIT_BYTES` go in pieces.)
* the closing event, and everything behind it, waits for :meth:`EventFlow.release`;
* the bytes are the provider's own, less the one usage event that the gateway asked for itself.
"""

from enum import Enum
from typing import Protocol

from gateway.core.outcome import Outcome
from gateway.core.sse import ServerEvent, event_end, parse_event
from gateway.core.tokens import Usage

HELD_LIMIT_BYTES = 64 * 1024
"""Preamble held back at most; more commits the stream."""

PARTIAL_LIMIT_BYTES = 64 * 1024
"""An unfinished event larger than this is relayed in pieces instead of being kept."""

EVENT_LIMIT_BYTES = 8 * 1024 * 1024
"""An event larger than this breaks the stream: an upstream is untrusted input."""


class Kind(Enum):
    """What one event means to the line."""

    PREAMBLE = "preamble"
    """Commits nothing: a comment, a role-only delta, `message_start`."""
    CONTENT = "content"
    """Anything that a client may act on."""
    HIDDEN = "hidden"
    """The usage event that the gateway asked for and the client did not."""
    CLOSING = "closing"
    """The event after which SDKs stop reading."""
    ERROR = "error"
    """The provider's own error, inside a 200."""


class EventReader(Protocol):
    """What a dialect knows of the events of one stream; holds what they said so far."""

    @property
    def finished(self) -> bool:
        """A finish reason or a closing event was seen: with a clean end the stream is whole."""

    @property
    def ending(self) -> bool:
        """The closing event may come next: every event is looked at from here on."""

    @property
    def response_id(self) -> str | None:
        """Under which name a later request may continue this answer; None where that is not possible."""

    def see(self, event: ServerEvent) -> Kind:
        """Take one whole event."""

    def plain_events(self, data: bytes) -> int:
        """How many events `data` holds if all of them are plain content; 0 when any needs a look.

        `data` is whole chunks of whole events, chunk framing included. Called for every chunk: no parsing.
        """

    def text_span(self, data: bytes) -> tuple[int, int] | None:
        """Where the text stands in `data`, one plain event: behind its opening quote, up to its closing one."""

    def usage(self) -> Usage | None:
        """What the provider reported so far; None if it reported nothing."""

    @property
    def text_bytes(self) -> int:
        """Bytes of the answer's own text in the event seen last; what repeats earlier text has none."""

    def opens_closing(self, partial: bytes) -> bool:
        """Whether an unfinished event is known to be the closing one."""


class Phase(Enum):
    HELD = "held"
    FLOWING = "flowing"
    CLOSING = "closing"
    """The closing event is complete and waits."""
    RELEASED = "released"
    """The closing event has gone; what still comes follows it at once."""


class EventTooLarge(ValueError):
    """One event exceeded :data:`EVENT_LIMIT_BYTES`."""


class EventFlow:
    """The state of one stream.

    Attributes:
        phase: see :class:`Phase`; it only moves forward.
        error: the provider sent an error event.
        events: events with text of the answer in them; about a token each with most providers.
        text_bytes: bytes of that text, about.
    """

    __slots__ = (
        "_envelope_bytes",
        "_pending",
        "_scanned",
        "_sent",
        "_waiting",
        "error",
        "events",
        "phase",
        "reader",
        "text_bytes",
    )

    def __init__(self, reader: EventReader) -> None:
        self.reader = reader
        self.phase = Phase.HELD
        self.error = False
        self.events = 0
        self.text_bytes = 0
        self._envelope_bytes = 0
        self._waiting = bytearray()
        self._pending = bytearray()
        self._scanned = 0
        self._sent = 0

    def count(self, events: int, size: int) -> int:
        """Plain events passed without a look: so many, of so many bytes. Their text is what the last event's
        envelope leaves of them: so many bytes are returned.
        """
        text_bytes = max(0, size - events * self._envelope_bytes)
        self.events += events
        self.text_bytes += text_bytes
        return text_bytes

    @property
    def at_boundary(self) -> bool:
        """Downstream stands between two events."""
        return not self._sent

    @property
    def open(self) -> bool:
        """Whole plain events may pass without a look: flowing, nothing pending, the end not near, and an event with
        text was seen, so that what passes can be counted.
        """
        return (
            self.phase is Phase.FLOWING
            and not self._pending
            and not self.reader.ending
            and not self.error
            and self._envelope_bytes > 0
        )

    def feed(self, payload: bytes) -> bytes:
        """Take payload bytes in any split; return those that may go downstream now.

        Raises:
            EventTooLarge: the stream must be broken off.
        """
        self._pending += payload
        out = bytearray()
        start = 0
        while (end := event_end(self._pending, max(start, self._scanned - 3))) >= 0:
            out += self._take(start, end)
            start = self._scanned = end
        if start:
            del self._pending[:start]
        self._scanned = len(self._pending)
        out += self._overflow()
        return bytes(out)

    def _take(self, start: int, end: int) -> bytes:
        """Decide about the event at pending[start:end]; return what of it goes on now."""
        event = bytes(memoryview(self._pending)[start:end])
        sent, self._sent = self._sent, 0
        failed = self.error and self.phase is Phase.FLOWING
        kind = self.reader.see(parse_event(event))
        # what stands behind an error event would go on or not as the reads happen to fall
        if failed or (kind is Kind.HIDDEN and not sent):
            return b""
        if kind is Kind.ERROR:
            self._failed()
        elif kind is Kind.CONTENT and (text := self.reader.text_bytes):
            self.events += 1
            self.text_bytes += text
            self._envelope_bytes = len(event) - text
        return self._place(event[sent:], kind)

    def _place(self, data: bytes, kind: Kind) -> bytes:
        if self.phase is Phase.HELD:
            self._waiting += data
            if kind is Kind.CLOSING:
                self.phase = Phase.CLOSING
            elif (kind is Kind.CONTENT or len(self._waiting) > HELD_LIMIT_BYTES) and not self.error:
                return self._commit()
            return b""
        if self.phase is Phase.FLOWING and kind is Kind.CLOSING:
            self.phase = Phase.CLOSING
        if self.phase is Phase.CLOSING:
            self._waiting += data
            return b""
        return data

    def _commit(self) -> bytes:
        self.phase = Phase.FLOWING
        held = bytes(self._waiting)
        self._waiting.clear()
        return held

    def _overflow(self) -> bytes:
        """What of a large unfinished event must go on so that memory stays bounded."""
        size = len(self._pending)
        if size > EVENT_LIMIT_BYTES:
            raise EventTooLarge
        if size - self._sent <= PARTIAL_LIMIT_BYTES or self.reader.opens_closing(bytes(self._pending[:256])):
            return b""
        piece = bytes(self._pending[self._sent :])
        self._sent = size
        if self.phase is Phase.HELD:
            return self._commit() + piece
        if self.phase is Phase.CLOSING:
            self._waiting += piece
            return b""
        return piece

    def end(self) -> None:
        """The body is over: an unfinished last event is taken as it stands, and waits with the closing event."""
        if self._pending:
            rest = bytes(self._pending[self._sent :])
            kind = self.reader.see(parse_event(bytes(self._pending)))
            if kind is Kind.ERROR:
                self._failed()
            if kind is not Kind.HIDDEN or self._sent:
                self._waiting += rest
            self._pending.clear()

    def _failed(self) -> None:
        """An error event came. Behind the closing event it changes nothing: no SDK reads on to see it."""
        if self.phase in (Phase.HELD, Phase.FLOWING):
            self.error = True

    def release(self) -> bytes:
        """Let go what waited: the closing event and all behind it."""
        self.phase = Phase.RELEASED
        waiting = bytes(self._waiting)
        self._waiting.clear()
        return waiting

    def verdict(self, *, clean: bool) -> Outcome:
        """What the stream was, judged at its end. `clean`: the body ended as HTTP says, not by a broken connection.

        Once the closing event is complete the stream is a success, whatever the connection does next.
        """
        if self.error:
            return Outcome.STREAM_ERROR
        if self.phase in (Phase.CLOSING, Phase.RELEASED) or (clean and self.reader.finished):
            return Outcome.SUCCESS
        return Outcome.TRUNCATED
