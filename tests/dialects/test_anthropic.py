"""Anthropic's dialect: requests, events, and errors as its SDK sees them."""

from typing import Any

import anthropic
import orjson
import pytest

from gateway.core.errors import KINDS, GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import parse_event
from gateway.core.tokens import Source, Usage
from gateway.dialects.anthropic import ANTHROPIC, API_VERSION, CountTokens, Messages
from tests.dialects.sdks import REQUEST_ID, anthropic_sdk, broken_off, refused
from tests.dialects.streams import ANTHROPIC_SHAPES, Shape, block_start, named
from tests.dialects.test_operation import param_refused

MESSAGES = Messages()
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}


@pytest.mark.parametrize("shape", ANTHROPIC_SHAPES, ids=lambda shape: shape.name)
def test_events_mean_what_they_mean(shape: Shape) -> None:
    """Event by event; from the stop reason on a clean end is whole and the closing event may come."""
    reader = shape.new_reader()
    finished = False
    for piece in shape.pieces:
        assert reader.see(parse_event(piece.raw)) is piece.kind
        assert reader.text_bytes == len(piece.says.encode())
        finished = finished or piece.finishes
        assert reader.finished == reader.ending == finished
    assert reader.response_id is None


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b": ping\n\n", Kind.PREAMBLE),
        (block_start(type="text", text=""), Kind.PREAMBLE),
        (block_start(type="thinking", thinking=""), Kind.PREAMBLE),
        (block_start(type="redacted_thinking", data="x"), Kind.CONTENT),
        (block_start(type="server_tool_use", name="web_search"), Kind.CONTENT),
        (named({"type": "unheard_of"}), Kind.CONTENT),
        (b"event: ping\ndata: {}\n\n", Kind.PREAMBLE),
        (b"event: error\ndata: {}\n\n", Kind.ERROR),
        (b"event: error\ndata: overloaded\n\n", Kind.ERROR),
        (b"data: overloaded\n\n", Kind.CONTENT),
    ],
)
def test_single_events(event: bytes, kind: Kind) -> None:
    """The type of the document decides, else the event's name."""
    assert MESSAGES.reader(hide_usage=True).see(parse_event(event)) is kind


def test_a_delta_without_stop_reason_ends_nothing() -> None:
    """Its usage counts."""
    reader = MESSAGES.reader(hide_usage=True)
    reader.see(
        parse_event(named({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 2}}))
    )
    assert not reader.finished
    assert reader.usage() == Usage(output=2, source=Source.REPORTED)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stream": 1}, "stream"),
        ({"stream": "false"}, "stream"),
    ],
)
def test_bad_requests(fields: dict[str, Any], param: str) -> None:
    """Each refusal names its field."""
    assert param_refused(MESSAGES, ASKED | fields) == param


def test_requests() -> None:
    """Usage always comes by itself, so nothing is asked for."""
    view = MESSAGES.view(ASKED | {"stream": True, "system": "Be brief.", "unknown": [1]})
    assert (view.stream, view.choices, view.max_output, view.usage_asked) == (True, 1, 9, True)
    assert MESSAGES.asks_usage(ASKED) == {}


def test_counting_tokens_costs_nothing() -> None:
    """No output is named and none is charged."""
    document = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    assert CountTokens().view(document).max_output is None
    assert CountTokens().report({"input_tokens": 11, "usage": {"input_tokens": 11}}).usage is None
    assert param_refused(CountTokens(), document | {"messages": []}) == "messages"


def test_answers_report_their_usage() -> None:
    """Cached kinds apart from the input."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 6, "output_tokens": 3}
    assert MESSAGES.report({"usage": usage}).usage == Usage(input=5, cached_input=6, output=3, source=Source.REPORTED)
    assert MESSAGES.report({}).usage is None


def test_credentials() -> None:
    """A provider key travels in its own header; the version is one that the API knows."""
    assert ANTHROPIC.credential("sk-1") == {"x-api-key": "sk-1"}
    assert API_VERSION == "2023-06-01"


@pytest.mark.parametrize("code", KINDS)
def test_the_sdk_reads_our_refusals(code: str) -> None:
    """Status, type, message and request id arrive in its own exception; the body is its own error model."""
    error = GatewayError(code, "Do this.", param="model")
    with pytest.raises(anthropic.APIStatusError, match=r"Do this\.") as seen:
        anthropic_sdk(refused(MESSAGES, error)).messages.create(model="m", messages=[], max_tokens=1)
    assert (seen.value.status_code, seen.value.type) == (error.status, error.kind.anthropic_type)
    assert (seen.value.api_message, seen.value.request_id) == ("Do this.", REQUEST_ID)
    if error.kind.anthropic_type != "request_too_large":  # documented, but not in the SDK's model
        body = orjson.loads(ANTHROPIC.error_body(error, REQUEST_ID))
        assert anthropic.types.ErrorResponse.model_validate(body).error.type == error.kind.anthropic_type


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unauthorized", anthropic.AuthenticationError),
        ("forbidden_model", anthropic.PermissionDeniedError),
        ("model_not_found", anthropic.NotFoundError),
        ("rate_limited", anthropic.RateLimitError),
        ("invalid_request", anthropic.BadRequestError),
        ("stalled", anthropic.InternalServerError),
    ],
)
def test_the_sdk_raises_the_class_that_programs_catch(code: str, kind: type[anthropic.APIStatusError]) -> None:
    """By status."""
    with pytest.raises(kind):
        anthropic_sdk(refused(MESSAGES, GatewayError(code, "No."))).models.list()


def test_the_sdk_reads_our_error_event() -> None:
    """It raises in the middle of the stream, after the events that came."""
    error = GatewayError("stalled", "The provider went silent.")
    answer = broken_off(MESSAGES, error, *(piece.raw for piece in ANTHROPIC_SHAPES[0].pieces[:2]))
    stream = iter(anthropic_sdk(answer).messages.create(model="m", messages=[], max_tokens=1, stream=True))
    assert [next(stream).type, next(stream).type] == ["message_start", "content_block_start"]
    with pytest.raises(anthropic.APIStatusError, match="The provider went silent") as seen:
        next(stream)
    assert seen.value.type == "api_error"
