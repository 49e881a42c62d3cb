"""OpenAI's Responses: events and documents.

Shapes: https://platform.openai.com/docs/api-reference/responses-streaming. The stream knows no
``[DONE]``: its closing event is ``response.completed`` or ``response.incomplete``, and usage stands there.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.simulator.answers import Answer, Finish, Usage
from gateway.simulator.asked import Asked
from gateway.simulator.models import UsagePlace
from gateway.simulator.refusals import Refused
from gateway.simulator.rendering import Part, Pause, Stamp, Step, named_event

Json = dict[str, Any]


def usage_document(usage: Usage) -> Json:
    """Returns usage as the Responses route reports it: input tokens contain the cached ones."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.output,
    }


class Response:
    """``POST /v1/responses``. There is one choice only."""

    def __init__(self, asked: Asked, answer: Answer, place: UsagePlace, stamp: Stamp) -> None:
        self._asked = asked
        self._usage = answer.usage
        self._choice = answer.choices[0]
        self._reports = place is not UsagePlace.ABSENT
        self._created = stamp.created
        self._id = stamp.new_id("resp_")
        self._item_id = stamp.new_id("fc_" if self._choice.tool else "msg_")
        self._call_id = stamp.new_id("call_") if self._choice.tool else ""
        self._reasoning_id = stamp.new_id("rs_") if answer.usage.reasoning else ""
        self._sequence = 0

    def stream(self) -> Iterator[Step]:
        yield Step(Part.PREAMBLE, self._event("response.created", response=self._running()))
        yield Step(Part.PREAMBLE, self._event("response.in_progress", response=self._running()))
        index = 0
        if self._reasoning_id:
            thought = self._thought()
            added = self._event("response.output_item.added", output_index=0, item=thought)
            yield Step(Part.PREAMBLE, added)
            done = self._event("response.output_item.done", output_index=0, item=thought)
            yield Step(Part.CONTENT, done, 0, Pause.THOUGHT)
            index = 1
        if self._choice.tool:
            yield from self._stream_call(index)
        elif self._choice.pieces:
            yield from self._stream_text(index)
        yield Step(Part.CLOSING, self._event(f"response.{self._status}", response=self._finished()))

    def document(self) -> bytes:
        return orjson.dumps(self._finished())

    def error_event(self, refused: Refused, *, first: bool) -> bytes:
        """An ``error`` event where nothing was begun, else ``response.failed``."""
        said = refused.wording
        if first:
            return self._event("error", code="server_error", message=said.openai, param=said.param)
        failed = self._running() | {
            "status": "failed",
            "error": {"code": "server_error", "message": said.openai},
        }
        return self._event("response.failed", response=failed)

    @property
    def _status(self) -> str:
        return "incomplete" if self._choice.finish is Finish.LENGTH else "completed"

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return named_event(event)

    def _stream_text(self, index: int) -> Iterator[Step]:
        choice = self._choice
        where: Json = {"item_id": self._item_id, "output_index": index, "content_index": 0}
        item = {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        yield Step(Part.PREAMBLE, self._event("response.output_item.added", output_index=index, item=item))
        yield Step(Part.PREAMBLE, self._event("response.content_part.added", **where, part=_text_part("")))
        for piece in choice.pieces:
            data = self._event("response.output_text.delta", **where, delta=piece, logprobs=[])
            yield Step(Part.CONTENT, data, 1, Pause.TOKEN)
        text = choice.text
        done = self._event("response.output_text.done", **where, text=text, logprobs=[])
        yield Step(Part.FINISH, done)
        yield Step(Part.FINISH, self._event("response.content_part.done", **where, part=_text_part(text)))
        yield Step(Part.FINISH, self._item_done(index))

    def _stream_call(self, index: int) -> Iterator[Step]:
        where: Json = {"item_id": self._item_id, "output_index": index}
        item = self._item() | {"status": "in_progress", "arguments": ""}
        yield Step(Part.CONTENT, self._event("response.output_item.added", output_index=index, item=item))
        for piece in self._choice.pieces:
            data = self._event("response.function_call_arguments.delta", **where, delta=piece)
            yield Step(Part.CONTENT, data, 1, Pause.TOKEN)
        text = self._choice.text
        done = self._event("response.function_call_arguments.done", **where, name=self._choice.tool, arguments=text)
        yield Step(Part.FINISH, done)
        yield Step(Part.FINISH, self._item_done(index))

    def _item_done(self, index: int) -> bytes:
        return self._event("response.output_item.done", output_index=index, item=self._item())

    def _item(self) -> Json:
        """The message or the function call, whole."""
        if self._choice.tool:
            return {
                "id": self._item_id,
                "type": "function_call",
                "status": self._status,
                "call_id": self._call_id,
                "name": self._choice.tool,
                "arguments": self._choice.text,
            }
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": self._status,
            "content": [_text_part(self._choice.text)],
        }

    def _thought(self) -> Json:
        return {"id": self._reasoning_id, "type": "reasoning", "summary": []}

    def _running(self) -> Json:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._asked.model,
            "output": [],
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "usage": None,
            **self._asked.echo,
        }

    def _finished(self) -> Json:
        response = self._running() | {"status": self._status}
        output = [self._thought()] if self._reasoning_id else []
        if self._choice.tool or self._choice.pieces:
            output.append(self._item())
        response["output"] = output
        if self._status == "incomplete":
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        if self._reports:
            response["usage"] = usage_document(self._usage)
        return response


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
