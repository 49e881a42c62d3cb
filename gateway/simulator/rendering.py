"""What every dialect makes of an answer: one document, or a sequence of timed steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

import orjson

from gateway.simulator.refusals import Refused


class Part(Enum):
    """What a step is to the stream; the faults are told in these words."""

    PREAMBLE = auto()
    CONTENT = auto()
    FINISH = auto()
    CLOSING = auto()
    """The closing event: ``[DONE]``, ``message_stop``, ``response.completed``."""


class Pause(Enum):
    """What passes before a step is sent."""

    NONE = auto()
    TOKEN = auto()
    THOUGHT = auto()


class Step(NamedTuple):
    """One write: whole events, and how many tokens of the answer they carry."""

    part: Part
    data: bytes
    tokens: int = 0
    pause: Pause = Pause.NONE


@dataclass(frozen=True, slots=True)
class Stamp:
    """What no request decides: ``created`` is in Unix seconds, ``new_id`` makes an identifier of a prefix."""

    created: int
    request_id: str
    new_id: Callable[[str], str]


class Rendering(Protocol):
    """An answer in the shape of one route."""

    def stream(self) -> Iterator[Step]:
        """Yields the events, lazily: a live stream holds no bytes that were not sent yet."""

    def document(self) -> bytes:
        """Returns the answer that is not streamed."""

    def error_event(self, refused: Refused, *, first: bool) -> bytes:
        """Returns the event that reports a failure inside a stream."""


def data_event(payload: bytes) -> bytes:
    """An event without a name, as Chat Completions sends them."""
    return b"data: %b\n\n" % payload


def named_event(payload: dict[str, Any]) -> bytes:
    """An event named by its ``type``, as Messages and Responses send them."""
    return b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), orjson.dumps(payload))
