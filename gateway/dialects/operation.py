"""What the line needs to know of an endpoint, whatever its dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import orjson

from gateway.core.errors import GatewayError
from gateway.core.flow import EventReader
from gateway.core.routing import is_model_name
from gateway.core.tokens import Usage

MAX_OUTPUT_TOKENS = 10_000_000
MAX_CHOICES = 128
"""OpenAI's own limit of `n` (https://platform.openai.com/docs/api-reference/chat/create)."""


@dataclass(frozen=True, slots=True)
class RequestView:
    """The few fields of a request that the gateway reads; the rest passes unseen.

    ``choices`` are the answers that are generated, ``max_output`` is tokens of each, None if the request names none;
    ``prompt_tokens`` is an estimate; ``usage_asked``: the client itself wants the final usage event; ``continues``: the
    id of the answer that the request continues, which only the target that gave it knows.
    """

    model: str
    stream: bool
    choices: int
    max_output: int | None
    usage_asked: bool
    prompt_tokens: int
    continues: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a whole, non-streamed answer says: its usage, and the id under which it can be continued."""

    usage: Usage | None
    response_id: str | None = None


class Dialect(Protocol):
    """The shapes that all endpoints of one dialect share."""

    name: str

    def credential(self, key: str) -> dict[str, str]:
        """Request headers that carry a provider key."""

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """The JSON body of an error answer."""

    def is_error(self, document: object) -> bool:
        """Whether a JSON document is an error object of this dialect."""


class Operation(Protocol):
    """One endpoint.

    Attributes:
        name: the word in logs and traces (OpenTelemetry's `gen_ai.operation.name` where it has one).
        path: the route that clients call.
        upstream_path: what is appended to the provider's base URL.
        priced: the answer costs money; an unpriced model is refused.
        generates: the answer is written by the model, token by token.
        output_limit: the request field that bounds the tokens of each answer, None where none may be put in.
    """

    @property
    def name(self) -> str: ...
    @property
    def dialect(self) -> Dialect: ...
    @property
    def path(self) -> str: ...
    @property
    def upstream_path(self) -> str: ...
    @property
    def priced(self) -> bool: ...
    @property
    def generates(self) -> bool: ...
    @property
    def output_limit(self) -> str | None: ...

    def view(self, document: Mapping[str, Any]) -> RequestView:
        """Read the request. Raises GatewayError (`invalid_request`) naming the field that is wrong."""

    def asks_usage(self, document: Mapping[str, Any]) -> dict[str, bytes]:
        """The members to change so that a stream ends with its usage; empty if it does anyway."""

    def reader(self, *, hide_usage: bool) -> EventReader:
        """A reader for one stream of this endpoint."""

    def report(self, document: Mapping[str, Any]) -> Report:
        """Read a whole answer."""

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """The typed error event that ends a stream of this endpoint."""


def refuse(message: str, param: str) -> NoReturn:
    raise GatewayError("invalid_request", message, param=param)


def model_name(document: Mapping[str, Any]) -> str:
    model = document.get("model")
    if not isinstance(model, str) or not model:
        refuse("`model` is missing. Name a model; GET /v1/models lists those you may use.", "model")
    if not is_model_name(model):
        refuse("`model` is not a model name: up to 128 letters, digits and . _ : / @ - are allowed.", "model")
    return model


def flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        refuse(f"`{name}` must be true or false.", name)
    return value


def count(document: Mapping[str, Any], name: str, most: int) -> int | None:
    """A positive integer up to `most`, or None if the field is absent or null."""
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        refuse(f"`{name}` must be a whole number from 1 to {most}.", name)
    return value


def need_list(document: Mapping[str, Any], name: str) -> None:
    value = document.get(name)
    if not isinstance(value, list) or not value:
        refuse(f"`{name}` must be a list with at least one item.", name)


_ANSWER_TEXT = frozenset(
    (
        "content",
        "text",
        "thinking",
        "reasoning",
        "reasoning_content",
        "refusal",
        "arguments",
        "input",
        "delta",
        "partial_json",
    )
)


def answer_text(document: object) -> str:
    """All text that an answer, or an event of one, holds, joined: what an estimate of its output goes by."""
    found: list[str] = []
    stack = [document]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            for name, value in item.items():
                if isinstance(value, str):
                    if name in _ANSWER_TEXT:
                        found.append(value)
                else:
                    stack.append(value)
        elif isinstance(item, list):
            stack.extend(item)
    return "".join(found)


def text_bytes(document: object) -> int:
    """How many bytes of the answer's own text an event carries, as it stands in JSON without escapes."""
    return len(answer_text(document).encode("utf-8", "replace"))


def text_span(data: bytes, key: bytes) -> tuple[int, int] | None:
    """Where the string behind `key` (its quotes, the colon and the opening quote included) stands in `data`.

    None if it is not there, or has an escape in it: then its end would take more than a look.
    """
    at = data.find(key)
    start = at + len(key)
    stop = data.find(b'"', start)
    if at < 0 or stop < 0 or data.find(b"\\", start, stop) >= 0:
        return None
    return start, stop


def loads(data: bytes) -> object:
    """Parse an event's data; None if it is not JSON, which the caller takes for content."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
