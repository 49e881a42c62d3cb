"""OpenAI's dialect: requests, usage to ask for, answers, and errors as its SDK sees them."""

from typing import Any

import openai
import orjson
import pytest

from gateway.core.errors import KINDS, GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import parse_event
from gateway.core.tokens import Source, Usage
from gateway.dialects.openai import OPENAI, ChatCompletions, Completions, Embeddings
from tests.dialects.sdks import broken_off, openai_sdk, refused
from tests.dialects.streams import OPENAI_SHAPES, Shape, chat
from tests.dialects.test_operation import param_refused

CHAT = ChatCompletions()
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("shape", OPENAI_SHAPES, ids=lambda shape: shape.name)
def test_events_mean_what_they_mean(shape: Shape) -> None:
    """Event by event, with the text that is new in it, and whether a clean end would be whole."""
    reader = shape.new_reader()
    finished = False
    for piece in shape.pieces:
        assert reader.see(parse_event(piece.raw)) is piece.kind
        assert reader.text_bytes == len(piece.says.encode())
        finished = finished or piece.finishes
        assert reader.finished == finished
    assert reader.response_id is None


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({}, Kind.PREAMBLE),
        ({"role": "assistant"}, Kind.PREAMBLE),
        ({"role": "assistant", "content": ""}, Kind.PREAMBLE),
        ({"content": None, "tool_calls": [], "function_call": {}, "refusal": None}, Kind.PREAMBLE),
        ({"content": " "}, Kind.CONTENT),
        ({"refusal": "No"}, Kind.CONTENT),
        ({"reasoning": "hm"}, Kind.CONTENT),
        ({"audio": {"id": "a"}}, Kind.CONTENT),
        ({"unknown": {"x": 0}}, Kind.CONTENT),
        ({"content": [{"type": "text", "text": ""}]}, Kind.CONTENT),
    ],
)
def test_first_content(delta: dict[str, Any], kind: Kind) -> None:
    """A closed set of preamble commits nothing; anything else does."""
    assert CHAT.reader(hide_usage=True).see(parse_event(chat(delta))) is kind


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 10_000_001}, "max_tokens"),
        ({"max_completion_tokens": 0.5}, "max_completion_tokens"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": "usage"}, "stream_options"),
        ({"stream_options": False}, "stream_options"),
    ],
)
def test_bad_chat_requests(fields: dict[str, Any], param: str) -> None:
    """Each refusal names its field."""
    assert param_refused(CHAT, ASKED | fields) == param


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({}, (False, 1, None, False)),
        ({"stream": True, "n": 128}, (True, 128, None, False)),
        ({"stream": None, "n": None, "max_tokens": None, "stream_options": None}, (False, 1, None, False)),
        ({"max_tokens": 7}, (False, 1, 7, False)),
        ({"max_tokens": 7, "max_completion_tokens": 5}, (False, 1, 5, False)),
        ({"stream_options": {}}, (False, 1, None, False)),
        ({"stream_options": {"include_usage": False}}, (False, 1, None, False)),
        ({"stream_options": {"include_usage": 1}}, (False, 1, None, False)),
        ({"stream_options": {"include_usage": True}}, (False, 1, None, True)),
        ({"tools": 1, "unknown": {"deep": []}}, (False, 1, None, False)),
    ],
)
def test_chat_requests(fields: dict[str, Any], read: tuple[bool, int, int | None, bool]) -> None:
    """Stream, choices, output at most, and whether the client itself asks for usage."""
    view = CHAT.view(ASKED | fields)
    assert (view.stream, view.choices, view.max_output, view.usage_asked) == read


@pytest.mark.parametrize(
    ("prompt", "accepted"), [("Hi", True), ([1, 2], True), (["Hi"], True), (None, False), (7, False), ({}, False)]
)
def test_completions_need_a_prompt(prompt: object, accepted: bool) -> None:
    """Text, texts or token ids."""
    if accepted:
        assert Completions().view({"model": "m", "prompt": prompt}).prompt_tokens > 0
    else:
        assert param_refused(Completions(), {"model": "m", "prompt": prompt}) == "prompt"


@pytest.mark.parametrize(
    ("value", "accepted"),
    [("Hi", True), (["Hi"], True), ([[1]], True), ("", False), ([], False), (None, False), (1, False)],
)
def test_embeddings_need_an_input(value: object, accepted: bool) -> None:
    """And never stream."""
    if accepted:
        assert not Embeddings().view({"model": "m", "input": value, "stream": True}).stream
    else:
        assert param_refused(Embeddings(), {"model": "m", "input": value}) == "input"


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "x": 1}}, {"include_usage": True, "x": 1}),
        ({"stream_options": {"include_usage": True, "x": 1}}, None),
    ],
)
def test_usage_is_asked_for(options: dict[str, Any], asks: dict[str, Any] | None) -> None:
    """Only where the client did not; its other options stay."""
    changes = {name: orjson.loads(value) for name, value in CHAT.asks_usage(ASKED | options).items()}
    assert changes == ({} if asks is None else {"stream_options": asks})


def test_answers_report_their_usage() -> None:
    """Whole answers too."""
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    assert CHAT.report({"id": "c", "usage": usage}).usage == Usage(input=11, output=3, source=Source.REPORTED)
    assert CHAT.report({"id": "c"}).usage is None
    assert CHAT.report({"id": "c"}).response_id is None


def test_credentials() -> None:
    """A provider key travels as a bearer token."""
    assert OPENAI.credential("sk-1") == {"authorization": "Bearer sk-1"}


@pytest.mark.parametrize("code", KINDS)
def test_the_sdk_reads_our_refusals(code: str) -> None:
    """Status, code, type, param and message arrive in its own exception."""
    error = GatewayError(code, "Do this.", param="model")
    with pytest.raises(openai.APIStatusError) as seen:
        openai_sdk(refused(CHAT, error)).chat.completions.create(model="m", messages=[])
    assert (seen.value.status_code, seen.value.code, seen.value.param) == (error.status, code, "model")
    assert seen.value.type == error.kind.openai_type
    assert "Do this." in str(seen.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unauthorized", openai.AuthenticationError),
        ("forbidden_model", openai.PermissionDeniedError),
        ("model_not_found", openai.NotFoundError),
        ("rate_limited", openai.RateLimitError),
        ("invalid_request", openai.BadRequestError),
        ("overloaded", openai.InternalServerError),
    ],
)
def test_the_sdk_raises_the_class_that_programs_catch(code: str, kind: type[openai.APIStatusError]) -> None:
    """By status."""
    with pytest.raises(kind):
        openai_sdk(refused(CHAT, GatewayError(code, "No."))).models.list()


def test_the_sdk_reads_our_error_event() -> None:
    """It raises in the middle of the stream, after the content that came."""
    answer = broken_off(CHAT, GatewayError("stalled", "The provider went silent."), chat({"content": "Hi"}))
    stream = openai_sdk(answer).chat.completions.create(model="m", messages=[], stream=True)
    assert next(stream).choices[0].delta.content == "Hi"
    with pytest.raises(openai.APIError, match="The provider went silent") as seen:
        next(stream)
    assert (seen.value.code, seen.value.type) == ("stalled", "server_error")
