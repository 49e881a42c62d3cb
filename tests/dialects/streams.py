"""Streams of every shape met in practice, each event with what it means, written by hand."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.flow import EventReader, Kind
from gateway.core.tokens import Source, Usage
from gateway.dialects.anthropic import Messages
from gateway.dialects.openai import ChatCompletions
from gateway.dialects.responses import Responses


@dataclass(frozen=True, slots=True)
class Piece:
    """One event. ``finishes``: a body that ends cleanly behind it is a whole stream; ``says``: its text, if new."""

    raw: bytes
    kind: Kind
    finishes: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """One stream, who reads it, and the usage that is known at its end."""

    name: str
    new_reader: Callable[[], EventReader]
    pieces: tuple[Piece, ...]
    usage: Usage | None

    @property
    def raw(self) -> bytes:
        """The stream as the provider sends it."""
        return b"".join(piece.raw for piece in self.pieces)

    @property
    def wanted(self) -> bytes:
        """The stream as the client gets it: less the hidden usage event."""
        return visible(self.pieces)


def visible(pieces: tuple[Piece, ...]) -> bytes:
    """Everything but hidden events."""
    return b"".join(piece.raw for piece in pieces if piece.kind is not Kind.HIDDEN)


def text(doc: object) -> bytes:
    """Compact JSON, text outside ASCII as it is."""
    return json.dumps(doc, ensure_ascii=False, separators=(",", ":")).encode()


def data(doc: object) -> bytes:
    """A nameless event."""
    return b"data: " + text(doc) + b"\n\n"


def named(doc: Mapping[str, Any]) -> bytes:
    """An event under its own type."""
    return f"event: {doc['type']}\n".encode() + data(doc)


def chat(delta: Mapping[str, Any], finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """One chunk of chat/completions."""
    choice = {"index": index, "delta": dict(delta), "finish_reason": finish}
    return data({"id": "c", "choices": [choice], **fields})


PRE, SAY, HIDE, CLOSE, ERR = Kind.PREAMBLE, Kind.CONTENT, Kind.HIDDEN, Kind.CLOSING, Kind.ERROR
USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
TOKENS = Usage(input=11, output=3, source=Source.REPORTED)

ROLE = Piece(chat({"role": "assistant", "content": "", "refusal": None}), PRE)
HI = Piece(chat({"content": "Hé"}), SAY, says="Hé")
STOP = Piece(chat({}, "stop"), SAY, finishes=True)
DONE = Piece(b"data: [DONE]\n\n", CLOSE, finishes=True)
LAST_USAGE = data({"id": "c", "choices": [], "usage": USAGE})


def _hiding() -> EventReader:
    return ChatCompletions().reader(hide_usage=True)


def _showing() -> EventReader:
    return ChatCompletions().reader(hide_usage=False)


def _null(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    return chat(delta, finish, usage=None)


def _openai(name: str, *pieces: Piece, usage: Usage | None = None, shown: bool = False) -> Shape:
    return Shape(f"openai {name}", _showing if shown else _hiding, pieces, usage)


_TOOL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
_ARGUMENTS = '{"a":"\n\n"}'
_FILTERS = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]

OPENAI_SHAPES = (
    _openai("plain", ROLE, HI, HI, STOP, DONE),
    _openai(
        "usage null in each chunk, then hidden",
        Piece(_null({"role": "assistant", "content": ""}), PRE),
        Piece(_null({"content": "a"}), SAY, says="a"),
        Piece(_null({}, "stop"), SAY, finishes=True),
        Piece(LAST_USAGE, HIDE),
        DONE,
        usage=TOKENS,
    ),
    _openai(
        "final usage chunk that was asked for", ROLE, HI, STOP, Piece(LAST_USAGE, PRE), DONE, usage=TOKENS, shown=True
    ),
    _openai("usage in the finishing chunk", HI, Piece(chat({}, "stop", usage=USAGE), SAY, True), DONE, usage=TOKENS),
    _openai(
        "groq", ROLE, HI, Piece(chat({}, "stop", x_groq={"id": "r", "usage": USAGE}), SAY, True), DONE, usage=TOKENS
    ),
    _openai("no DONE", ROLE, HI, STOP),
    _openai("no DONE, usage last", HI, STOP, Piece(LAST_USAGE, HIDE), usage=TOKENS),
    _openai("DONE only", DONE),
    _openai("DONE without finish reason", HI, HI, DONE),
    _openai("empty finish reasons", Piece(chat({"content": "a"}, ""), SAY, says="a"), STOP),
    _openai(
        "two choices",
        ROLE,
        HI,
        Piece(chat({"content": "b"}, index=1), SAY, says="b"),
        STOP,
        Piece(chat({"content": "c"}, index=1), SAY, True, "c"),
        Piece(chat({}, "length", index=1), SAY, True),
        DONE,
    ),
    _openai(
        "tool call",
        Piece(chat({"role": "assistant", "content": None}), PRE),
        Piece(chat({"tool_calls": [_TOOL]}), SAY),
        Piece(chat({"tool_calls": [{"index": 0, "function": {"arguments": _ARGUMENTS}}]}), SAY, says=_ARGUMENTS),
        Piece(chat({}, "tool_calls"), SAY, True),
        DONE,
    ),
    _openai(
        "reasoning",
        Piece(chat({"role": "assistant", "content": None, "reasoning_content": ""}), PRE),
        Piece(chat({"content": None, "reasoning_content": "hm"}), SAY, says="hm"),
        HI,
        STOP,
        DONE,
    ),
    _openai(
        "azure", Piece(data({"id": "", "choices": [], "prompt_filter_results": _FILTERS}), PRE), ROLE, HI, STOP, DONE
    ),
    _openai("comments between", Piece(b": OPENROUTER PROCESSING\n\n", PRE), HI, Piece(b":\n\n", PRE), STOP, DONE),
    _openai("error at once", Piece(data({"error": {"message": "busy", "type": "server_error"}}), ERR), DONE),
    _openai("error in the middle", ROLE, HI, Piece(data({"error": {"message": "busy"}, "choices": []}), ERR)),
    _openai("named error", HI, Piece(b'event: error\ndata: {"message":"busy"}\n\n', ERR)),
    _openai("no JSON", Piece(b"data: hello\n\n", SAY), DONE),
    _openai(
        "text completion",
        Piece(data({"choices": [{"index": 0, "text": "", "finish_reason": None}]}), PRE),
        Piece(data({"choices": [{"index": 0, "text": "a", "finish_reason": None}]}), SAY, says="a"),
        Piece(data({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}), SAY, True),
        DONE,
    ),
)

_STARTED = {"type": "message", "id": "m", "content": [], "usage": {"input_tokens": 11, "output_tokens": 1}}
_START = Piece(named({"type": "message_start", "message": _STARTED}), PRE)
_PING = Piece(named({"type": "ping"}), PRE)
_BLOCK_STOP = Piece(named({"type": "content_block_stop", "index": 0}), SAY)
_MESSAGE_STOP = Piece(named({"type": "message_stop"}), CLOSE, finishes=True)
_STARTED_ONLY = Usage(input=11, output=1, source=Source.REPORTED)


def block_start(**block: Any) -> bytes:
    """The start of a content block."""
    return named({"type": "content_block_start", "index": 0, "content_block": block})


def block_delta(**delta: Any) -> bytes:
    """A piece of a content block."""
    return named({"type": "content_block_delta", "index": 0, "delta": delta})


def _message_end(reason: str) -> Piece:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return Piece(named({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}}), SAY, True)


_INPUT = '{"event: message_stop\n\n'
_TEXT_START = Piece(block_start(type="text", text=""), PRE)
_TEXT = Piece(block_delta(type="text_delta", text="Hé"), SAY, says="Hé")


def _anthropic(name: str, *pieces: Piece, usage: Usage | None = TOKENS) -> Shape:
    return Shape(f"anthropic {name}", lambda: Messages().reader(hide_usage=True), pieces, usage)


ANTHROPIC_SHAPES = (
    _anthropic("plain", _START, _TEXT_START, _PING, _TEXT, _TEXT, _BLOCK_STOP, _message_end("end_turn"), _MESSAGE_STOP),
    _anthropic(
        "thinking",
        _START,
        Piece(block_start(type="thinking", thinking="", signature=""), PRE),
        Piece(block_delta(type="thinking_delta", thinking="hm"), SAY, says="hm"),
        Piece(block_delta(type="signature_delta", signature="c2ln"), SAY),
        _BLOCK_STOP,
        _TEXT_START,
        _TEXT,
        _message_end("end_turn"),
        _MESSAGE_STOP,
    ),
    _anthropic(
        "tool use",
        _START,
        Piece(block_start(type="tool_use", id="t", name="f", input={}), SAY),
        Piece(block_delta(type="input_json_delta", partial_json=_INPUT), SAY, says=_INPUT),
        _BLOCK_STOP,
        _message_end("tool_use"),
        _MESSAGE_STOP,
    ),
    _anthropic(
        "pings only, then an error",
        _START,
        _PING,
        Piece(named({"type": "error", "error": {}}), ERR),
        usage=_STARTED_ONLY,
    ),
    _anthropic(
        "error in the middle",
        _START,
        _TEXT_START,
        _TEXT,
        Piece(named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), ERR),
        usage=_STARTED_ONLY,
    ),
    _anthropic(
        "unnamed events",
        Piece(data({"type": "ping"}), PRE),
        Piece(data({"type": "message_stop"}), CLOSE, True),
        usage=None,
    ),
)


def answer(status: str, usage: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The answer object that Responses events carry."""
    return {"id": "resp_1", "object": "response", "status": status, "usage": usage}


def delta(kind: str, text_: str, **fields: Any) -> bytes:
    """A piece of an answer of the Responses endpoint."""
    return named({"type": f"response.{kind}.delta", "item_id": "i", "output_index": 0, "delta": text_, **fields})


_COUNTED = {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}
_CREATED = Piece(named({"type": "response.created", "response": answer("in_progress")}), PRE)
_IN_PROGRESS = Piece(named({"type": "response.in_progress", "response": answer("in_progress")}), PRE)
_ADDED = Piece(named({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}}), SAY)
_SAID = Piece(named({"type": "response.output_text.done", "text": "HéHé"}), SAY)
_COMPLETED = Piece(named({"type": "response.completed", "response": answer("completed", _COUNTED)}), CLOSE, True)


def _responses(name: str, *pieces: Piece, usage: Usage | None = TOKENS) -> Shape:
    return Shape(f"responses {name}", lambda: Responses().reader(hide_usage=True), pieces, usage)


_OUT = Piece(delta("output_text", "Hé"), SAY, says="Hé")

RESPONSES_SHAPES = (
    _responses("plain", _CREATED, _IN_PROGRESS, _ADDED, _OUT, _OUT, _SAID, _COMPLETED),
    _responses(
        "incomplete",
        _CREATED,
        _OUT,
        Piece(named({"type": "response.incomplete", "response": answer("incomplete", _COUNTED)}), CLOSE, True),
    ),
    _responses("refusal", _CREATED, Piece(delta("refusal", "No."), SAY, says="No."), _COMPLETED),
    _responses(
        "reasoning and a tool call",
        _CREATED,
        Piece(delta("reasoning_summary_text", "hm"), SAY, says="hm"),
        Piece(delta("function_call_arguments", '{"a":1}'), SAY, says='{"a":1}'),
        _COMPLETED,
    ),
    _responses("queued", Piece(named({"type": "response.queued", "response": answer("queued")}), PRE), _COMPLETED),
    _responses("completed, then DONE", _OUT, _COMPLETED, DONE),
    _responses(
        "failed",
        _CREATED,
        _OUT,
        Piece(named({"type": "response.failed", "response": answer("failed")}), ERR),
        usage=None,
    ),
    _responses("error event", _CREATED, Piece(named({"type": "error", "message": "busy"}), ERR), usage=None),
)

SHAPES = OPENAI_SHAPES + ANTHROPIC_SHAPES + RESPONSES_SHAPES
