"""OpenAI's Responses endpoint."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.errors import GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import ServerEvent, format_event
from gateway.core.tokens import Usage, estimate_prompt, usage_from_openai
from gateway.dialects import operation as op
from gateway.dialects.openai import OPENAI

_PREAMBLE = frozenset({"response.created", "response.queued", "response.in_progress"})
_CLOSING = frozenset({"response.completed", "response.incomplete"})
_CLOSING_PREFIXES = tuple(b"event: response." + word for word in (b"completed", b"incomplete", b"failed"))


class ResponsesEventReader:
    """Events of a Responses stream.

    https://platform.openai.com/docs/api-reference/responses-streaming
    """

    __slots__ = ("_ending", "_finished", "_response_id", "_text_bytes", "_usage")

    def __init__(self) -> None:
        self._usage: object = None
        self._finished = self._ending = False
        self._text_bytes = 0
        self._response_id: str | None = None

    @property
    def response_id(self) -> str | None:
        return self._response_id

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def ending(self) -> bool:
        return self._ending

    def usage(self) -> Usage | None:
        return usage_from_openai(self._usage) if self._usage is not None else None

    def opens_closing(self, partial: bytes) -> bool:
        return partial.startswith(_CLOSING_PREFIXES)

    def plain_events(self, data: bytes) -> int:
        deltas = data.count(b".delta\ndata: {")
        return deltas if deltas == data.count(b"\n\n") else 0

    @property
    def text_bytes(self) -> int:
        return self._text_bytes

    def text_span(self, data: bytes) -> tuple[int, int] | None:
        return op.text_span(data, b'"delta":"')

    def see(self, event: ServerEvent) -> Kind:
        self._text_bytes = 0
        if event.data is None:
            return Kind.PREAMBLE
        if event.data.strip() == b"[DONE]":
            return Kind.CLOSING
        document = op.loads(event.data)
        if not isinstance(document, dict):
            return Kind.ERROR if event.name == b"error" else Kind.CONTENT
        name = document.get("type")
        if not isinstance(name, str) or not name:
            name = event.name.decode("utf-8", "replace")
        response = document.get("response")
        if isinstance(response, dict):
            self._usage = response.get("usage") or self._usage
            if isinstance(response.get("id"), str):
                self._response_id = response["id"]
        if name in _PREAMBLE:
            return Kind.PREAMBLE
        if name in _CLOSING:
            self._finished = self._ending = True
            return Kind.CLOSING
        if name in ("error", "response.failed") or document.get("error"):
            return Kind.ERROR
        if name.endswith(".delta"):
            self._text_bytes = op.text_bytes(document)
        elif name.endswith(".done"):
            self._ending = True
        return Kind.CONTENT


class Responses:
    """https://platform.openai.com/docs/api-reference/responses/create"""

    name = "responses"
    dialect = OPENAI
    path = "/v1/responses"
    upstream_path = "/responses"
    priced = True
    generates = True
    output_limit = "max_output_tokens"

    def view(self, document: Mapping[str, Any]) -> op.RequestView:
        model = op.model_name(document)
        if op.flag(document, "background"):
            op.refuse(
                "`background: true` is not served: the answer would live at one provider, unseen by the gateway. "
                "Leave it out and stream.",
                "background",
            )
        previous = document.get("previous_response_id")
        if previous is not None and not isinstance(previous, str):
            op.refuse("`previous_response_id` must be a string.", "previous_response_id")
        return op.RequestView(
            model=model,
            stream=op.flag(document, "stream"),
            choices=1,
            max_output=op.count(document, "max_output_tokens", op.MAX_OUTPUT_TOKENS),
            usage_asked=True,
            prompt_tokens=estimate_prompt(document),
            continues=previous,
        )

    def asks_usage(self, document: Mapping[str, Any]) -> dict[str, bytes]:
        """Nothing to ask: `response.completed` always carries usage."""
        return {}

    def reader(self, *, hide_usage: bool) -> ResponsesEventReader:
        return ResponsesEventReader()

    def report(self, document: Mapping[str, Any]) -> op.Report:
        identity = document.get("id")
        return op.Report(usage_from_openai(document.get("usage")), identity if isinstance(identity, str) else None)

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """The `error` event of the API, with the `error` member at which SDKs raise."""
        body = {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "error": OPENAI.error_object(error),
        }
        return format_event(orjson.dumps(body), b"error")
