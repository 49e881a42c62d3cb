"""Anthropic's Messages: events and documents.

Shapes: https://docs.anthropic.com/en/api/messages-streaming and ``/messages``.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.simulator.answers import Answer, Choice, Finish, Usage
from gateway.simulator.asked import Asked
from gateway.simulator.models import UsagePlace
from gateway.simulator.refusals import Refused
from gateway.simulator.rendering import Part, Pause, Stamp, Step, named_event

_FIRST_OUTPUT_TOKENS = 1
"""What ``message_start`` reports as written so far; the real API sends a small number too."""


def input_usage(usage: Usage) -> dict[str, Any]:
    """Returns the input side as Anthropic reports it: three disjoint kinds."""
    return {
        "input_tokens": usage.fresh,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cached,
    }


class Message:
    """``POST /v1/messages``. There is one choice only."""

    def __init__(self, asked: Asked, answer: Answer, place: UsagePlace, stamp: Stamp) -> None:
        self._model = asked.model
        self._usage = answer.usage
        self._choice = answer.choices[0]
        self._place = place
        self._stamp = stamp
        self._id = stamp.new_id("msg_")
        self._call_id = stamp.new_id("toolu_") if self._choice.tool else ""

    def stream(self) -> Iterator[Step]:
        yield Step(Part.PREAMBLE, named_event({"type": "message_start", "message": self._start()}))
        index, thinking = 0, self._thinking()
        if thinking is not None:
            yield Step(Part.PREAMBLE, _block_start(0, {"type": "thinking", "thinking": "", "signature": ""}) + _PING)
            signature = {"type": "signature_delta", "signature": thinking["signature"]}
            yield Step(Part.CONTENT, _delta(0, signature) + _block_stop(0), 0, Pause.THOUGHT)
            index = 1
        choice = self._choice
        if choice.pieces or choice.tool:
            part = Part.CONTENT if choice.tool else Part.PREAMBLE
            ping = _PING if index == 0 else b""
            yield Step(part, _block_start(index, self._block("", choice)) + ping)
            kind, key = ("input_json_delta", "partial_json") if choice.tool else ("text_delta", "text")
            for piece in choice.pieces:
                yield Step(Part.CONTENT, _delta(index, {"type": kind, key: piece}), 1, Pause.TOKEN)
            yield Step(Part.FINISH, _block_stop(index))
        yield Step(Part.FINISH, named_event(self._end()))
        yield Step(Part.CLOSING, named_event({"type": "message_stop"}))

    def document(self) -> bytes:
        message = self._envelope()
        choice = self._choice
        content: list[dict[str, Any]] = []
        if (thinking := self._thinking()) is not None:
            content.append(thinking)
        if choice.pieces or choice.tool:
            content.append(self._block(choice.text, choice))
        message["content"] = content
        message |= self._stop(choice)
        if self._place is not UsagePlace.ABSENT:
            message["usage"] = self._full_usage(self._usage.output)
        return orjson.dumps(message)

    def error_event(self, refused: Refused, *, first: bool) -> bytes:
        return named_event(refused.document(anthropic=True, request_id=self._stamp.request_id))

    def _envelope(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _start(self) -> dict[str, Any]:
        message = self._envelope()
        if self._place is UsagePlace.USUAL:
            message["usage"] = self._full_usage(_FIRST_OUTPUT_TOKENS)
        elif self._place is UsagePlace.IN_FINISH:
            message["usage"] = {"input_tokens": 0, "output_tokens": 0}
        return message

    def _end(self) -> dict[str, Any]:
        event: dict[str, Any] = {"type": "message_delta", "delta": self._stop(self._choice)}
        if self._place is not UsagePlace.ABSENT:
            event["usage"] = {**input_usage(self._usage), **self._output_usage(self._usage.output)}
        return event

    def _full_usage(self, output_tokens: int) -> dict[str, Any]:
        usage = self._usage
        return {
            **input_usage(usage),
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write,
                "ephemeral_1h_input_tokens": usage.cache_write_1h,
            },
            **self._output_usage(output_tokens),
            "service_tier": "standard",
        }

    def _output_usage(self, output_tokens: int) -> dict[str, Any]:
        reported: dict[str, Any] = {"output_tokens": output_tokens}
        if self._usage.reasoning:
            thought = min(self._usage.reasoning, output_tokens)
            reported["output_tokens_details"] = {"thinking_tokens": thought}
        return reported

    def _thinking(self) -> dict[str, Any] | None:
        """The thinking block, its text left out as the API does with ``display: omitted``."""
        if not self._usage.reasoning:
            return None
        return {"type": "thinking", "thinking": "", "signature": f"sig-{self._id.removeprefix('msg_')}"}

    def _block(self, text: str, choice: Choice) -> dict[str, Any]:
        if not choice.tool:
            return {"type": "text", "text": text}
        return {"type": "tool_use", "id": self._call_id, "name": choice.tool, "input": _object_of(text)}

    @staticmethod
    def _stop(choice: Choice) -> dict[str, Any]:
        if choice.stop is not None:
            return {"stop_reason": "stop_sequence", "stop_sequence": choice.stop}
        return {"stop_reason": _STOP_REASONS[choice.finish], "stop_sequence": None}


_STOP_REASONS = {Finish.STOP: "end_turn", Finish.LENGTH: "max_tokens", Finish.TOOL_CALLS: "tool_use"}
_PING = named_event({"type": "ping"})


def _object_of(arguments: str) -> Any:
    """The input of a tool call; empty where the arguments were cut by ``max_tokens``."""
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {}


def _block_start(index: int, block: dict[str, Any]) -> bytes:
    return named_event({"type": "content_block_start", "index": index, "content_block": block})


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return named_event({"type": "content_block_delta", "index": index, "delta": delta})


def _block_stop(index: int) -> bytes:
    return named_event({"type": "content_block_stop", "index": index})
