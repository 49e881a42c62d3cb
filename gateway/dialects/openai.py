"""OpenAI's dialect: errors, and the endpoints chat/completions, completions and embeddings."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.errors import GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import ServerEvent, format_event
from gateway.core.tokens import Usage, estimate_prompt, usage_from_openai
from gateway.dialects import operation as op

DONE = b"[DONE]"


class OpenAIDialect:
    """https://platform.openai.com/docs/guides/error-codes"""

    name = "openai"

    def credential(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def error_object(self, error: GatewayError) -> dict[str, object]:
        return {
            "message": error.message,
            "type": error.kind.openai_type,
            "param": error.param,
            "code": error.code,
        }

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        return orjson.dumps({"error": self.error_object(error)})

    def is_error(self, document: object) -> bool:
        return (
            isinstance(document, dict)
            and isinstance(document.get("error"), dict)
            and isinstance(document["error"].get("message"), str)
        )


OPENAI = OpenAIDialect()


class ChatEventReader:
    """Events of a chat/completions or completions stream.

    https://platform.openai.com/docs/api-reference/chat-streaming
    """

    __slots__ = ("_done", "_finished", "_hide_usage", "_null_finish", "_null_usage", "_text_bytes", "_usage")

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self._usage: object = None
        self._finished = self._done = False
        self._text_bytes = 0
        # Servers differ in the space after a colon; the first events say which it is here.
        self._null_finish = b'"finish_reason":null'
        self._null_usage = b'"usage":null'

    @property
    def response_id(self) -> str | None:
        return None

    @property
    def finished(self) -> bool:
        return self._finished or self._done

    @property
    def ending(self) -> bool:
        return self._finished

    def usage(self) -> Usage | None:
        return usage_from_openai(self._usage) if self._usage is not None else None

    def opens_closing(self, partial: bytes) -> bool:
        return partial.startswith((b"data: [", b"data:["))

    def plain_events(self, data: bytes) -> int:
        # A line break before it: the text of an answer may well contain the rest, but never a raw line break.
        events = data.count(b"\ndata: {")
        if events != data.count(b"\n\n"):
            return 0
        finish = data.count(b'"finish_reason"')
        if finish and finish != data.count(self._null_finish):
            return 0
        usage = data.count(b'"usage"')
        if usage and usage != data.count(self._null_usage):
            return 0
        # Without quotes: it may be the event's name.
        return 0 if b"error" in data else events

    @property
    def text_bytes(self) -> int:
        return self._text_bytes

    def text_span(self, data: bytes) -> tuple[int, int] | None:
        return op.text_span(data, b'"content":"')

    def see(self, event: ServerEvent) -> Kind:
        self._text_bytes = 0
        if event.data is None:
            return Kind.PREAMBLE
        if event.data.strip() == DONE:
            self._done = True
            return Kind.CLOSING
        if event.name == b"error":
            return Kind.ERROR
        document = op.loads(event.data)
        if not isinstance(document, dict):
            return Kind.CONTENT
        if document.get("error"):
            return Kind.ERROR
        return self._see_chunk(document, event.data)

    def _see_chunk(self, document: dict[str, Any], data: bytes) -> Kind:
        if b'"finish_reason": null' in data:
            self._null_finish = b'"finish_reason": null'
        if b'"usage": null' in data:
            self._null_usage = b'"usage": null'
        usage = document.get("usage") or _groq_usage(document)
        if isinstance(usage, dict):
            self._usage = usage
        choices = document.get("choices")
        if choices == []:
            return Kind.HIDDEN if self._hide_usage and isinstance(usage, dict) else Kind.PREAMBLE
        if not isinstance(choices, list):
            return Kind.CONTENT
        content = False
        for choice in choices:
            if not isinstance(choice, dict):
                return Kind.CONTENT
            # Some servers write "" where OpenAI writes null.
            if choice.get("finish_reason") not in (None, ""):
                self._finished = content = True
            content = content or _has_content(choice)
        self._text_bytes = op.text_bytes(choices) if content else 0
        return Kind.CONTENT if content else Kind.PREAMBLE


def _groq_usage(document: dict[str, Any]) -> object:
    """Groq's streams carry usage one level down (https://console.groq.com/docs/api-reference)."""
    groq = document.get("x_groq")
    return groq.get("usage") if isinstance(groq, dict) else None


def _has_content(choice: dict[str, Any]) -> bool:
    if choice.get("text"):
        return True
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return "text" not in choice
    return any(value and name != "role" for name, value in delta.items())


class _Endpoint:
    """What the three endpoints share."""

    dialect = OPENAI
    priced = True
    generates = True
    output_limit: str | None = None

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return format_event(OPENAI.error_body(error, request_id))

    def reader(self, *, hide_usage: bool) -> ChatEventReader:
        return ChatEventReader(hide_usage=hide_usage)

    def report(self, document: Mapping[str, Any]) -> op.Report:
        return op.Report(usage_from_openai(document.get("usage")))

    def asks_usage(self, document: Mapping[str, Any]) -> dict[str, bytes]:
        options = document.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:
            return {}
        return {"stream_options": orjson.dumps({**(options or {}), "include_usage": True})}


class ChatCompletions(_Endpoint):
    """https://platform.openai.com/docs/api-reference/chat/create"""

    name = "chat"
    path = "/v1/chat/completions"
    upstream_path = "/chat/completions"
    output_limit: str | None = "max_completion_tokens"

    def view(self, document: Mapping[str, Any]) -> op.RequestView:
        model = op.model_name(document)
        self._check_prompt(document)
        options = document.get("stream_options")
        if options is not None and not isinstance(options, dict):
            op.refuse("`stream_options` must be an object.", "stream_options")
        max_output = op.count(document, "max_completion_tokens", op.MAX_OUTPUT_TOKENS)
        return op.RequestView(
            model=model,
            stream=op.flag(document, "stream"),
            choices=self._choices(document),
            max_output=max_output or op.count(document, "max_tokens", op.MAX_OUTPUT_TOKENS),
            usage_asked=isinstance(options, dict) and options.get("include_usage") is True,
            prompt_tokens=estimate_prompt(document),
        )

    def _check_prompt(self, document: Mapping[str, Any]) -> None:
        op.need_list(document, "messages")

    def _choices(self, document: Mapping[str, Any]) -> int:
        return op.count(document, "n", op.MAX_CHOICES) or 1


class Completions(ChatCompletions):
    """https://platform.openai.com/docs/api-reference/completions/create"""

    name = "text_completion"
    path = "/v1/completions"
    upstream_path = "/completions"
    # without a maximum it writes 16 tokens: a larger one that nobody asked for would change the answer
    output_limit = None

    def _check_prompt(self, document: Mapping[str, Any]) -> None:
        if not isinstance(document.get("prompt"), str | list):
            op.refuse("`prompt` must be a string or a list.", "prompt")

    def _choices(self, document: Mapping[str, Any]) -> int:
        """Answers that are generated, whether they are sent or not: `best_of` of each prompt, else `n`."""
        each = max(op.count(document, "best_of", op.MAX_CHOICES) or 1, super()._choices(document))
        prompt = document["prompt"]
        # a list of numbers is one prompt, as tokens
        return each * (len(prompt) if isinstance(prompt, list) and not all(type(p) is int for p in prompt) else 1)


class Embeddings(_Endpoint):
    """https://platform.openai.com/docs/api-reference/embeddings/create"""

    name = "embeddings"
    generates = False
    path = "/v1/embeddings"
    upstream_path = "/embeddings"

    def view(self, document: Mapping[str, Any]) -> op.RequestView:
        model = op.model_name(document)
        if not isinstance(document.get("input"), str | list) or not document["input"]:
            op.refuse("`input` must be a string or a list, and not empty.", "input")
        return op.RequestView(model, False, 1, None, False, estimate_prompt(document))
