"""How an answer ended, as its client sees it."""

from enum import StrEnum
from typing import Final

import orjson

from gateway.traffic.cast import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Question


class Ending(StrEnum):
    """What became of one request."""

    WHOLE = "whole"
    """The whole answer came."""
    LEFT = "left"
    """Its client went away, as the schedule had it."""
    REFUSED = "refused"
    """A status of the 400s: a limit, a budget, a key."""
    FAILED = "failed"
    """A status of the 500s: no provider could serve it."""
    BROKEN = "broken"
    """It began well; then came an error event, or the end too early."""
    UNREACHABLE = "unreachable"
    """The gateway did not take it, or answered something that is no answer."""


CLOSING: Final = {
    CHAT: b"data: [DONE]",
    MESSAGES: b"event: message_stop",
    RESPONSES: b"event: response.completed",
}
"""The line that only a stream's whole answer has, by route."""

MAX_LINE_BYTES: Final = 64 * 1024
"""What is kept of a line; the lines that are looked for are shorter by far."""


class StreamWatch:
    """Looks for the closing line in a stream, however it is cut into pieces."""

    def __init__(self, question: Question) -> None:
        self._closing = CLOSING[question.route]
        self._line = b""
        self.is_whole = False

    def feed(self, piece: bytes) -> None:
        """Take in the next bytes."""
        *lines, rest = (self._line + piece).split(b"\n")
        self.is_whole = self.is_whole or any(line.rstrip(b"\r") == self._closing for line in lines)
        self._line = rest[:MAX_LINE_BYTES]

    @property
    def ending(self) -> Ending:
        """What it comes to, now that the stream has ended."""
        return Ending.WHOLE if self.is_whole else Ending.BROKEN


def ending_of(question: Question, status: int, body: bytes) -> tuple[Ending, str]:
    """Return how an answer ended that came whole, and the gateway's word for what was wrong (empty: nothing was)."""
    if status < 300:
        is_answer = b'"embedding"' in body if question.route == EMBEDDINGS else body.startswith(b"{")
        return (Ending.WHOLE, "") if is_answer else (Ending.BROKEN, "no answer")
    if 400 <= status < 600:
        return Ending.REFUSED if status < 500 else Ending.FAILED, word_of(body) or str(status)
    return Ending.UNREACHABLE, str(status)


def word_of(body: bytes) -> str:
    """Return the ``code`` of an error (else its ``type``), in either dialect; empty where there is none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ""
    return next((word for key in ("code", "type") if isinstance(word := error.get(key), str)), "")
