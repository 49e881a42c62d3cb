"""Anthropic's dialect: errors, and the endpoints messages and messages/count_tokens."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.errors import GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import ServerEvent, format_event
from gateway.core.tokens import AnthropicUsage, Usage, estimate_prompt
from gateway.dialects import operation as op

API_VERSION = "2023-06-01"
"""Sent where the client names none (https://docs.anthropic.com/en/api/versioning)."""


class AnthropicDialect:
    """https://docs.anthropic.com/en/api/errors"""

    name = "anthropic"

    def credential(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        return orjson.dumps(
            {
                "type": "error",
                "error": {
                    "type": error.kind.anthropic_type,
                    "message": error.message,
                    "code": error.code,
                    "param": error.param,
                },
                "request_id": request_id,
            }
        )

    def is_error(self, document: object) -> bool:
        return (
            isinstance(document, dict)
            and document.get("type") == "error"
            and isinstance(document.get("error"), dict)
            and isinstance(document["error"].get("message"), str)
        )


ANTHROPIC = AnthropicDialect()


class MessagesEventReader:
    """Events of a messages stream (https://docs.anthropic.com/en/docs/build-with-claude/streaming)."""

    __slots__ = ("_finished", "_text_bytes", "_usage")

    def __init__(self) -> None:
        self._usage = AnthropicUsage()
        self._finished = False
        self._text_bytes = 0

    @property
    def response_id(self) -> str | None:
        return None

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def ending(self) -> bool:
        return self._finished

    def usage(self) -> Usage | None:
        return self._usage.usage()

    def opens_closing(self, partial: bytes) -> bool:
        return partial.startswith(b"event: message_stop")

    def plain_events(self, data: bytes) -> int:
        deltas = data.count(b"event: content_block_delta\n")
        return deltas if deltas == data.count(b"\n\n") else 0

    @property
    def text_bytes(self) -> int:
        return self._text_bytes

    def text_span(self, data: bytes) -> tuple[int, int] | None:
        return op.text_span(data, b'"text":"')

    def see(self, event: ServerEvent) -> Kind:
        self._text_bytes = 0
        if event.data is None:
            return Kind.PREAMBLE
        document = op.loads(event.data)
        if not isinstance(document, dict):
            return Kind.ERROR if event.name == b"error" else Kind.CONTENT
        match document.get("type") or event.name.decode("utf-8", "replace"):
            case "message_start":
                message = document.get("message")
                self._usage.see(message.get("usage") if isinstance(message, dict) else None)
                return Kind.PREAMBLE
            case "ping":
                return Kind.PREAMBLE
            case "content_block_start":
                block = document.get("content_block")
                silent = isinstance(block, dict) and block.get("type") in ("text", "thinking")
                return Kind.PREAMBLE if silent else Kind.CONTENT
            case "content_block_delta":
                self._text_bytes = op.text_bytes(document)
                return Kind.CONTENT
            case "message_delta":
                self._usage.see(document.get("usage"))
                delta = document.get("delta")
                if isinstance(delta, dict) and delta.get("stop_reason") is not None:
                    self._finished = True
                return Kind.CONTENT
            case "message_stop":
                self._finished = True
                return Kind.CLOSING
            case "error":
                return Kind.ERROR
            case _:
                return Kind.CONTENT


class Messages:
    """https://docs.anthropic.com/en/api/messages"""

    name = "chat"
    dialect = ANTHROPIC
    path = "/v1/messages"
    upstream_path = "/v1/messages"
    priced = True
    generates = True
    output_limit = None

    def view(self, document: Mapping[str, Any]) -> op.RequestView:
        model = op.model_name(document)
        op.need_list(document, "messages")
        max_output = op.count(document, "max_tokens", op.MAX_OUTPUT_TOKENS)
        if max_output is None and self.priced:
            op.refuse("`max_tokens` is missing. Anthropic's API requires it.", "max_tokens")
        return op.RequestView(
            model=model,
            stream=op.flag(document, "stream"),
            choices=1,
            max_output=max_output,
            usage_asked=True,
            prompt_tokens=estimate_prompt(document),
        )

    def asks_usage(self, document: Mapping[str, Any]) -> dict[str, bytes]:
        """Nothing to ask: `message_start` and `message_delta` always carry usage."""
        return {}

    def reader(self, *, hide_usage: bool) -> MessagesEventReader:
        return MessagesEventReader()

    def report(self, document: Mapping[str, Any]) -> op.Report:
        usage = AnthropicUsage()
        usage.see(document.get("usage"))
        return op.Report(usage.usage())

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return format_event(ANTHROPIC.error_body(error, request_id), b"error")


class CountTokens(Messages):
    """https://docs.anthropic.com/en/api/messages-count-tokens: free of charge, so its answers cost nothing."""

    name = "count_tokens"
    path = "/v1/messages/count_tokens"
    upstream_path = "/v1/messages/count_tokens"
    priced = False
    generates = False

    def report(self, document: Mapping[str, Any]) -> op.Report:
        return op.Report(None)
