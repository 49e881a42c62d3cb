"""OpenAI's Chat Completions and Completions: chunks and documents.

Shapes: https://platform.openai.com/docs/api-reference/chat-streaming and ``/completions``.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

import orjson

from gateway.simulator.answers import Answer, Choice, Finish, Usage
from gateway.simulator.asked import Asked
from gateway.simulator.models import UsagePlace
from gateway.simulator.refusals import Refused
from gateway.simulator.rendering import Part, Pause, Stamp, Step, data_event


def usage_document(usage: Usage) -> dict[str, Any]:
    """Returns usage as OpenAI reports it: prompt tokens contain the cached ones."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class _Completion:
    """What the two routes share: the envelope of a chunk, the order of events, the places of usage."""

    id_prefix = ""
    stream_object = ""
    document_object = ""
    fixed: Mapping[str, str] = MappingProxyType({})
    """Fields of every chunk and document that never vary."""

    def __init__(self, asked: Asked, answer: Answer, place: UsagePlace, stamp: Stamp) -> None:
        self._answer = answer
        self._place = place
        self._asks_usage = asked.include_usage and place is UsagePlace.USUAL
        self._stamp = stamp
        self._id = stamp.new_id(self.id_prefix)
        self._model = asked.model

    def stream(self) -> Iterator[Step]:
        choices = self._answer.choices
        yield from self._openings()
        frames = [self._frame(index, choice) for index, choice in enumerate(choices)]
        pause = Pause.THOUGHT if self._answer.usage.reasoning else Pause.TOKEN
        for row in zip_longest(*(choice.pieces for choice in choices)):
            for (before, after), piece in zip(frames, row, strict=True):
                if piece is not None:
                    yield Step(Part.CONTENT, before + orjson.dumps(piece) + after, 1, pause)
                    pause = Pause.NONE
            pause = Pause.TOKEN
        # a thought that left no token for the answer passes all the same
        pause = pause if pause is Pause.THOUGHT else Pause.NONE
        for index, choice in enumerate(choices):
            last = index == len(choices) - 1
            in_finish = self._place is UsagePlace.IN_FINISH and last
            data = self._chunk([self._closing(index, choice)], with_usage=in_finish)
            yield Step(Part.FINISH, data, 0, pause)
            pause = Pause.NONE
        if self._asks_usage:
            yield Step(Part.FINISH, self._chunk([], with_usage=True))
        yield Step(Part.CLOSING, data_event(b"[DONE]"))

    def document(self) -> bytes:
        choices = [self._whole(index, choice) for index, choice in enumerate(self._answer.choices)]
        document = self._envelope(self.document_object, choices)
        if self._place is not UsagePlace.ABSENT:
            document["usage"] = usage_document(self._answer.usage)
        return orjson.dumps(document)

    def error_event(self, refused: Refused, *, first: bool) -> bytes:
        return data_event(refused.body(anthropic=False, request_id=self._stamp.request_id))

    def _chunk(self, choices: list[dict[str, Any]], *, with_usage: bool = False) -> bytes:
        chunk = self._envelope(self.stream_object, choices)
        if with_usage:
            chunk["usage"] = usage_document(self._answer.usage)
        elif self._asks_usage:
            chunk["usage"] = None
        return data_event(orjson.dumps(chunk))

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._stamp.created,
            "model": self._model,
            **self.fixed,
            "choices": choices,
        }

    def _frame(self, index: int, choice: Choice) -> tuple[bytes, bytes]:
        """The bytes of a chunk before and after its piece: per token only the piece is encoded."""
        mark = f"{self._id}:piece"
        before, after = self._chunk([self._delta(index, choice, mark)]).split(orjson.dumps(mark))
        return before, after

    def _openings(self) -> Iterator[Step]:
        raise NotImplementedError

    def _delta(self, index: int, choice: Choice, piece: str) -> dict[str, Any]:
        raise NotImplementedError

    def _closing(self, index: int, choice: Choice) -> dict[str, Any]:
        raise NotImplementedError

    def _whole(self, index: int, choice: Choice) -> dict[str, Any]:
        raise NotImplementedError


class ChatCompletion(_Completion):
    """``POST /v1/chat/completions``."""

    id_prefix = "chatcmpl-"
    stream_object = "chat.completion.chunk"
    document_object = "chat.completion"
    fixed = MappingProxyType({"service_tier": "default", "system_fingerprint": "fp_simulator"})

    def __init__(self, asked: Asked, answer: Answer, place: UsagePlace, stamp: Stamp) -> None:
        super().__init__(asked, answer, place, stamp)
        self._call_ids = [stamp.new_id("call_") if choice.tool else "" for choice in answer.choices]

    def _openings(self) -> Iterator[Step]:
        for index, choice in enumerate(self._answer.choices):
            delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
            part = Part.PREAMBLE
            if choice.tool:
                delta["content"] = None
                delta["tool_calls"] = [{"index": 0, **self._call(index, choice.tool, "")}]
                part = Part.CONTENT
            yield Step(part, self._chunk([self._choice(index, delta)]))

    def _delta(self, index: int, choice: Choice, piece: str) -> dict[str, Any]:
        if choice.tool:
            return self._choice(index, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        return self._choice(index, {"content": piece})

    def _closing(self, index: int, choice: Choice) -> dict[str, Any]:
        return self._choice(index, {}, choice.finish)

    def _whole(self, index: int, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
        if choice.tool:
            message["tool_calls"] = [self._call(index, choice.tool, choice.text)]
        else:
            message["content"] = choice.text
        return {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish}

    def _call(self, index: int, name: str, arguments: str) -> dict[str, Any]:
        return {
            "id": self._call_ids[index],
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }

    @staticmethod
    def _choice(index: int, delta: dict[str, Any], finish: Finish | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


class TextCompletion(_Completion):
    """``POST /v1/completions``, the older route: chunks and document have one shape."""

    id_prefix = "cmpl-"
    stream_object = document_object = "text_completion"

    def _openings(self) -> Iterator[Step]:
        return iter(())

    def _delta(self, index: int, choice: Choice, piece: str) -> dict[str, Any]:
        return self._choice(index, piece)

    def _closing(self, index: int, choice: Choice) -> dict[str, Any]:
        return self._choice(index, "", choice.finish)

    def _whole(self, index: int, choice: Choice) -> dict[str, Any]:
        return self._choice(index, choice.text, choice.finish)

    @staticmethod
    def _choice(index: int, text: str, finish: Finish | None = None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
