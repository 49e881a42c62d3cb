"""Answers as the providers send them, as scripts for the scripted upstream.

Shapes: https://platform.openai.com/docs/api-reference/chat/streaming,
https://platform.openai.com/docs/api-reference/responses-streaming and
https://docs.anthropic.com/en/docs/build-with-claude/streaming. Nothing in them is left to chance.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.upstream_script import CHUNKED, JSON, SSE, Step, Write, end, event, head, raw

Doc = dict[str, Any]

OPENAI_USAGE: Mapping[str, Any] = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
RESPONSES_USAGE: Mapping[str, Any] = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 14,
}
ANTHROPIC_USAGE: Mapping[str, Any] = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 3,
}


def words(n: int) -> list[str]:
    """Returns n pieces of text, some with multi-byte characters."""
    return [("tokén " if i % 3 else "word ") + f"{i} " for i in range(n)]


def unary(document: object, *headers: tuple[str, str], status: int = 200) -> list[Step]:
    """A JSON answer with ``Content-Length``."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return [head(status, JSON, ("Content-Length", str(len(body))), *headers), raw(body)]


def event_stream(*events: Write, finished: bool = True, headers: Sequence[tuple[str, str]] = ()) -> list[Step]:
    """A chunked event stream; unfinished, it lacks the terminal chunk and the test says how it ends."""
    return [head(200, SSE, CHUNKED, *headers), *events, *([end()] if finished else [])]


# OpenAI


def openai_chunk(
    delta: Mapping[str, Any], *, finish: str | None = None, model: str = "gpt-4o-mini", **fields: Any
) -> Doc:
    """One ``chat.completion.chunk``; more fields (``usage``, say) go behind the choices."""
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
    return _chat_chunk(model, [choice]) | fields


def openai_stream(
    n: int = 3,
    *,
    usage: Mapping[str, Any] | None = None,
    done: bool = True,
    finish: str | None = "stop",
    usage_in_finish: bool = False,
    model: str = "gpt-4o-mini",
    finished: bool = True,
) -> list[Step]:
    """A chat stream: a role, n content deltas, the finish reason, the usage, ``[DONE]``.

    Args:
        n: content events.
        usage: as with ``include_usage``: null in every chunk, then an event of its own with ``choices: []``.
        done: whether ``[DONE]`` is sent.
        finish: the finish reason; None leaves its event out.
        usage_in_finish: the usage comes in the finishing event instead, as some servers do it.
        model: the model that the provider names.
        finished: whether the terminal chunk is sent.
    """
    null: Doc = {"usage": None} if usage is not None and not usage_in_finish else {}
    docs = [openai_chunk({"role": "assistant", "content": "", "refusal": None}, model=model, **null)]
    docs += [openai_chunk({"content": word}, model=model, **null) for word in words(n)]
    if finish is not None:
        last = {"usage": dict(usage)} if usage is not None and usage_in_finish else null
        docs.append(openai_chunk({}, finish=finish, model=model, **last))
    if usage is not None and not usage_in_finish:
        docs.append(_chat_chunk(model, []) | {"usage": dict(usage)})
    events = [event(doc) for doc in docs]
    return event_stream(*events, *([event("[DONE]")] if done else []), finished=finished)


def openai_answer(
    text: str = "Hello.", *, usage: Mapping[str, Any] | None = OPENAI_USAGE, model: str = "gpt-4o-mini"
) -> list[Step]:
    """A chat completion."""
    message: Doc = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return unary(_completion("chat.completion", model, [choice], usage))


def completions_answer(text: str = "Hello.", *, model: str = "gpt-3.5-turbo-instruct") -> list[Step]:
    """A legacy text completion."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    return unary(_completion("text_completion", model, [choice], OPENAI_USAGE))


def completions_stream(n: int = 3, *, model: str = "gpt-3.5-turbo-instruct") -> list[Step]:
    """A legacy text completion as a stream."""
    choices = [{"index": 0, "text": word, "logprobs": None, "finish_reason": None} for word in words(n)]
    choices.append({"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"})
    events = [event(_completion("text_completion", model, [choice], None)) for choice in choices]
    return event_stream(*events, event("[DONE]"))


def embeddings_answer(vectors: Sequence[Sequence[float]] = ((0.5, -0.25),)) -> list[Step]:
    """An embeddings answer."""
    data = [{"object": "embedding", "index": i, "embedding": list(v)} for i, v in enumerate(vectors)]
    usage = {"prompt_tokens": 11, "total_tokens": 11}
    return unary({"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage})


def responses_answer(text: str = "Hello.", *, model: str = "gpt-4o-mini") -> list[Step]:
    """An answer of the Responses API."""
    return unary(_response(model, "completed", [_output_message("completed", text)], RESPONSES_USAGE))


def responses_stream(
    n: int = 3,
    *,
    usage: Mapping[str, Any] | None = RESPONSES_USAGE,
    closing: str | None = "completed",
    model: str = "gpt-4o-mini",
    finished: bool = True,
) -> list[Step]:
    """A stream of the Responses API.

    Args:
        n: text deltas.
        usage: in the closing event.
        closing: ``completed``, ``incomplete`` or ``failed``; None leaves the closing event out.
        model: the model that the provider names.
        finished: whether the terminal chunk is sent.
    """
    deltas = words(n)
    text, part_at = "".join(deltas), {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    docs: list[Doc] = [
        {"type": "response.created", "response": _response(model, "in_progress", [], None)},
        {"type": "response.in_progress", "response": _response(model, "in_progress", [], None)},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": _output_message("in_progress", None),
        },
        {"type": "response.content_part.added", **part_at, "part": empty},
        *({"type": "response.output_text.delta", **part_at, "delta": d, "logprobs": []} for d in deltas),
        {"type": "response.output_text.done", **part_at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **part_at, "part": empty | {"text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": _output_message("completed", text)},
    ]
    if closing is not None:
        output = [_output_message("completed", text)]
        docs.append({"type": f"response.{closing}", "response": _response(model, closing, output, usage)})
    events = [event(doc | {"sequence_number": i}, doc["type"]) for i, doc in enumerate(docs)]
    return event_stream(*events, finished=finished)


# Anthropic


def anthropic_stream(
    n: int = 3,
    *,
    usage: Mapping[str, Any] = ANTHROPIC_USAGE,
    stop: str | None = "end_turn",
    ping: bool = True,
    model: str = "claude-sonnet-4-5",
    finished: bool = True,
) -> list[Step]:
    """A messages stream.

    Args:
        n: text deltas.
        usage: the final usage: inputs come in ``message_start``, the output tokens in ``message_delta``.
        stop: the stop reason; None leaves out ``message_delta`` and ``message_stop``.
        ping: whether a ``ping`` follows the start of the block.
        model: the model that the provider names.
        finished: whether the terminal chunk is sent.
    """
    started = _message(model, [], None, {**usage, "output_tokens": 1})
    docs: list[Doc] = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *([{"type": "ping"}] if ping else []),
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in words(n)
        ),
        {"type": "content_block_stop", "index": 0},
    ]
    if stop is not None:
        delta = {"stop_reason": stop, "stop_sequence": None}
        output = {"output_tokens": usage["output_tokens"]}
        docs += [{"type": "message_delta", "delta": delta, "usage": output}, {"type": "message_stop"}]
    return event_stream(*(event(doc, doc["type"]) for doc in docs), finished=finished)


def anthropic_answer(
    text: str = "Hello.", *, usage: Mapping[str, Any] = ANTHROPIC_USAGE, model: str = "claude-sonnet-4-5"
) -> list[Step]:
    """An answer of the messages API."""
    return unary(_message(model, [{"type": "text", "text": text}], "end_turn", usage))


# Errors


def openai_error_doc(message: str = "The server had an error.", kind: str = "server_error") -> Doc:
    """The body of OpenAI's errors; also what an error event in a stream carries."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def anthropic_error_doc(message: str = "Internal server error", kind: str = "api_error") -> Doc:
    """The body of Anthropic's errors; also what ``event: error`` carries."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"}


def openai_error(status: int, *headers: tuple[str, str], kind: str = "server_error") -> list[Step]:
    """An error answer of OpenAI."""
    return unary(openai_error_doc(kind=kind), *headers, status=status)


def anthropic_error(status: int, *headers: tuple[str, str], kind: str = "api_error") -> list[Step]:
    """An error answer of Anthropic."""
    return unary(anthropic_error_doc(kind=kind), *headers, status=status)


def _chat_chunk(model: str, choices: list[Doc]) -> Doc:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
        "choices": choices,
    }


def _completion(kind: str, model: str, choices: list[Doc], usage: Mapping[str, Any] | None) -> Doc:
    doc: Doc = {"id": "cmpl-scripted", "object": kind, "created": 1_760_000_000, "model": model}
    return doc | {"choices": choices} | ({"usage": dict(usage)} if usage is not None else {})


def _message(model: str, content: list[Doc], stop: str | None, usage: Mapping[str, Any]) -> Doc:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": dict(usage),
    }


def _output_message(status: str, text: str | None) -> Doc:
    part: Doc = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    content = [] if text is None else [part]
    return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content}


def _response(model: str, status: str, output: list[Doc], usage: Mapping[str, Any] | None) -> Doc:
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": dict(usage) if usage is not None else None,
    }
