"""What all endpoints share: the fields they check, and the text that an answer holds."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import KINDS, GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import ServerEvent, parse_event
from gateway.core.tokens import Usage
from gateway.dialects import DIALECTS, OPERATIONS
from gateway.dialects.operation import (
    MAX_CHOICES,
    MAX_OUTPUT_TOKENS,
    Operation,
    answer_text,
    count,
    flag,
    loads,
    model_name,
    need_list,
    text_bytes,
    text_span,
)

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        "type",
        "error",
        "choices",
        "usage",
        "delta",
        "response",
        "id",
        "message",
        "content_block",
        "x_groq",
        "finish_reason",
    ]
)
WORDS = st.sampled_from(["error", "message_delta", "content_block_start", "response.completed", "response.x.done"])
DOCUMENTS = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(FIELDS, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=8,
)

NAMES = [
    "model",
    "messages",
    "prompt",
    "input",
    "max_tokens",
    "stream",
    "n",
    "stream_options",
    "tools",
    "system",
    "background",
]


def good(operation: Operation) -> dict[str, Any]:
    """The least request that an endpoint accepts."""
    return {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "prompt": "Hi",
        "input": "Hi",
        "max_tokens": 5,
    }


def param_refused(operation: Operation, document: Mapping[str, Any]) -> str | None:
    """The field that a refusal names."""
    with pytest.raises(GatewayError) as refusal:
        operation.view(document)
    assert refusal.value.code == "invalid_request"
    assert f"`{refusal.value.param}" in refusal.value.message
    return refusal.value.param


@every_operation
@pytest.mark.parametrize("model", [None, "", 7, ["m"], {}, True, "a b", "é", "m\n", "m\x00", 'm"', "m;", "x" * 129])
def test_bad_model_names_are_refused(operation: Operation, model: object) -> None:
    """By a strict pattern, before the name is used for anything, and without quoting it."""
    assert param_refused(operation, good(operation) | {"model": model}) == "model"


@every_operation
@pytest.mark.parametrize("model", ["m", "gpt-4o-mini", "ft:gpt:org/x@2024_01", "meta-llama/Llama-3:8b", "x" * 128])
def test_model_names(operation: Operation, model: str) -> None:
    """All that providers use."""
    assert operation.view(good(operation) | {"model": model}).model == model


@every_operation
def test_a_missing_model_is_refused(operation: Operation) -> None:
    """The sentence says where models are listed."""
    document = good(operation)
    del document["model"]
    with pytest.raises(GatewayError, match="GET /v1/models"):
        operation.view(document)


@every_operation
def test_the_least_request_is_accepted(operation: Operation) -> None:
    """One answer, not streamed, with an estimate of its prompt."""
    view = operation.view(good(operation))
    assert (view.stream, view.choices, view.continues) == (False, 1, None)
    assert view.prompt_tokens > 0


def test_fields_are_checked_by_type() -> None:
    """True is no number, 1 is no switch, null is absent."""
    document = {
        "t": True,
        "f": False,
        "n": None,
        "one": 1,
        "zero": 0,
        "float": 2.0,
        "text": "1",
        "most": 9,
        "list": [0],
    }
    assert [flag(document, name) for name in ("t", "f", "n", "absent")] == [True, False, False, False]
    assert [count(document, name, 9) for name in ("one", "most", "n", "absent")] == [1, 9, None, None]
    for name in ("one", "zero", "text", "list"):
        with pytest.raises(GatewayError, match=f"`{name}` must be true or false"):
            flag(document, name)
    for name in ("zero", "t", "f", "float", "text", "list"):
        with pytest.raises(GatewayError, match=f"`{name}` must be a whole number from 1 to 9"):
            count(document, name, 9)
    with pytest.raises(GatewayError, match="from 1 to 8"):
        count(document, "most", 8)
    need_list(document, "list")
    for bad in ("text", "absent", "n"):
        with pytest.raises(GatewayError, match=f"`{bad}` must be a list"):
            need_list(document, bad)
    with pytest.raises(GatewayError, match="at least one item"):
        need_list({"list": []}, "list")
    assert model_name({"model": "m"}) == "m"
    assert (MAX_CHOICES, MAX_OUTPUT_TOKENS) == (128, 10_000_000)


@every_operation
@given(st.data())
def test_a_request_is_read_or_refused(operation: Operation, draw: st.DataObject) -> None:
    """Fields of any JSON type: nothing but a refusal is raised, and it names a field."""
    document = good(operation)
    for name in draw.draw(st.lists(st.sampled_from(NAMES), max_size=3)):
        document[name] = draw.draw(JSON)
    try:
        view = operation.view(document)
    except GatewayError as error:
        refused_field = error.param
    else:
        refused_field = "model"
        assert 1 <= view.choices <= MAX_CHOICES
        assert view.max_output is None or 1 <= view.max_output <= MAX_OUTPUT_TOKENS
        assert view.prompt_tokens >= 0
    assert refused_field in document


@every_operation
@given(DOCUMENTS, st.sampled_from([b"", b"error", b"x.delta"]))
def test_any_event_is_read(operation: Operation, document: object, name: bytes) -> None:
    """A provider is untrusted input: whatever JSON it sends, the reader says what it means and raises nothing."""
    reader = operation.reader(hide_usage=True)
    assert reader.see(ServerEvent(name, orjson.dumps(document))) in Kind
    assert reader.usage() is None or isinstance(reader.usage(), Usage)
    assert reader.text_bytes >= 0


@every_operation
@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 5000, b'"\\ud800"', b"1", b"null", b"[]", b"NaN"])
def test_events_that_are_no_objects_are_content(operation: Operation, data: bytes) -> None:
    """They pass on to the client, who sees what the provider sent."""
    assert operation.reader(hide_usage=True).see(ServerEvent(b"", data)) is Kind.CONTENT


@every_operation
@given(JSON)
def test_any_answer_is_reported(operation: Operation, value: object) -> None:
    """Usage of any type: a figure or none."""
    for document in ({"usage": value, "id": value}, {"usage": {"prompt_tokens": value, "output_tokens": value}}):
        assert operation.report(document).usage is None or operation.priced


@pytest.mark.parametrize("code", KINDS)
@every_operation
def test_errors_are_errors_of_the_dialect(operation: Operation, code: str) -> None:
    """Bodies and events of every code are recognised as what they are, on one line each."""
    error = GatewayError(code, 'Say "é"\n\ndata: x\r\n instead.', param="model")
    assert operation.dialect.is_error(orjson.loads(operation.dialect.error_body(error, "req-1")))
    event = operation.error_event(error, "req-1")
    assert event.endswith(b"\n\n")
    assert b"\r" not in event
    read = parse_event(event)
    assert operation.reader(hide_usage=False).see(read) is Kind.ERROR
    assert event == (b"event: " + read.name + b"\n" if read.name else b"") + b"data: " + (read.data or b"") + b"\n\n"


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(
    "document",
    [None, 1, [], {}, {"error": None}, {"error": "x"}, {"error": {}}, {"error": {"message": 1}}, {"detail": "x"}],
)
def test_other_documents_are_no_errors(dialect: Any, document: object) -> None:
    """They are not relayed as if the client could read them."""
    assert not dialect.is_error(document)
    assert not dialect.is_error(document | {"type": "error"} if isinstance(document, dict) else document)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "Hi"}}]}, "Hi"),
        ({"choices": [{"text": "Hi"}]}, "Hi"),
        ({"delta": {"type": "text_delta", "text": "Hi"}}, "Hi"),
        ({"delta": {"type": "input_json_delta", "partial_json": "{}"}}, "{}"),
        ({"type": "response.output_text.delta", "item_id": "x", "delta": "Hi"}, "Hi"),
        ({"choices": [{"delta": {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]}}]}, "{}"),
        ({"role": "assistant", "content": None, "id": "x"}, ""),
        ([{"text": "a"}, "b", 3], "a"),
        (None, ""),
    ],
)
def test_answer_text(document: object, text: str) -> None:
    """What the model said, none of its envelope."""
    assert answer_text(document) == text
    assert text_bytes(document) == len(text)


@pytest.mark.parametrize("data", ['{"text":"é\U0001f600"}'.encode(), b'{"text":"\\u00e9\\ud83d\\ude00"}'])
def test_text_is_counted_in_bytes_of_utf8(data: bytes) -> None:
    """However the JSON spells it; what is no JSON has none."""
    assert text_bytes(loads(data)) == 6
    assert text_bytes(loads(data[:-1])) == 0


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"text":"Hi"}', b"Hi"),
        (b'{"text":""}', b""),
        (b'{"x":"\\n","text":"Hi","y":"\\n"}', b"Hi"),
        (b'{"text":"a\\nb"}', None),
        (b'{"text":"a\\"b"}', None),
        (b'{"text": "Hi"}', None),
        (b'{"text":null}', None),
        (b'{"text":"Hi', None),
        (b'{"x":"\\"text\\":\\"no\\""}', None),
        (b"", None),
    ],
)
def test_where_the_text_stands(data: bytes, text: bytes | None) -> None:
    """Between its quotes, where a look is enough to know."""
    span = text_span(data, b'"text":"')
    assert (None if span is None else data[span[0] : span[1]]) == text


def test_routes_are_unique() -> None:
    """One operation per path, and every dialect has one."""
    assert len({operation.path for operation in OPERATIONS}) == len(OPERATIONS) == 6
    assert {operation.dialect.name for operation in OPERATIONS} == set(DIALECTS) == {"openai", "anthropic"}
    assert [operation.path for operation in OPERATIONS if not operation.priced] == ["/v1/messages/count_tokens"]
