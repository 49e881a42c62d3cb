"""Bodies read strictly, and changed without touching another byte."""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.body import MAX_DEPTH, parse_strict, splice
from gateway.core.errors import GatewayError


def nested(levels: int) -> bytes:
    """An object that is so many levels deep."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"{}", {}),
        (b' \r\n\t{"a" : 1 }\n', {"a": 1}),
        (b'{"a":{"a":{"a":null}},"b":[{"a":1},{"a":2}]}', {"a": {"a": {"a": None}}, "b": [{"a": 1}, {"a": 2}]}),
        (b'{"a":999999999999999999,"b":-999999999999999999}', {"a": 10**18 - 1, "b": 1 - 10**18}),
        (b'{"a":1e2,"b":-0.5,"c":1.00000000000000000000001}', {"a": 100.0, "b": -0.5, "c": 1.0}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
        ('{"é\U0001f600":"\u2028"}'.encode(), {"é\U0001f600": "\u2028"}),
        (b'{"":0,"NaN":"NaN Infinity -Infinity"}', {"": 0, "NaN": "NaN Infinity -Infinity"}),
        (b'{"a":"' + b"[{" * 500 + b'"}', {"a": "[{" * 500}),
        (b'{"a":"' + b'\\"[' * 500 + b'"}', {"a": '"[' * 500}),
        (b'{"a":[' + b"[]," * 500 + b"[]]}", {"a": [[]] * 501}),
    ],
)
def test_accepted(body: bytes, document: dict[str, Any]) -> None:
    """What every parser reads the same."""
    assert parse_strict(body) == document


SECRET = b"hunter2"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"hunter2", "not valid JSON"),
        (b'{"a":hunter2}', "line 1, column 6"),
        (b'{"a":"hunter2"', "not valid JSON"),
        (b'{"a":"hunter2"}}', "Extra data"),
        (b'{"a":"hunter2",}', "not valid JSON"),
        (b"{'a':'hunter2'}", "not valid JSON"),
        (b'{"a":"hunter2\n"}', "control character"),
        (b'{"a":"hunter2\\x"}', "escape"),
        (b'{"a":01}', "not valid JSON"),
        (b'{"a":+1}', "not valid JSON"),
        (b'{"a":.5}', "not valid JSON"),
        (b'{"a":0x10}', "not valid JSON"),
        (b'{"a":tru}', "not valid JSON"),
        (b'{"a"\x0b:1}', "not valid JSON"),
        (b'{"a":1}//hunter2', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        ('{"a":"hunter2"}'.encode("utf-16"), "not valid UTF-8"),
        ('{"a":"hunter2"}'.encode("utf-16-le"), "not valid JSON"),
        (b'{"a":"hunter2\xff"}', "not valid UTF-8"),
        (b'{"a":"hunter2\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"a":"hunter2\xc0\xaf"}', "not valid UTF-8"),
        (b'["hunter2"]', "must be a JSON object"),
        (b'"hunter2"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":1,"a":"hunter2"}', "same key twice"),
        (b'{"model":1,"mod\\u0065l":"hunter2"}', "same key twice"),
        (b'{"a":[{"b":1,"b":1}]}', "same key twice"),
        (b'{"a":NaN}', "NaN or Infinity"),
        (b'{"a":[Infinity]}', "NaN or Infinity"),
        (b'{"a":-Infinity}', "NaN or Infinity"),
        (b'{"a":1000000000000000000}', "more than 18 digits"),
        (b'{"a":-1000000000000000000}', "more than 18 digits"),
        (b'{"a":' + b"1" * 10_000 + b"}", "more than 18 digits"),
        (b'{"a":"hunter2\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "surrogate"),
        (b'{"\\ud83d":"hunter2"}', "surrogate"),
        (b'{"a":["\\ud83dhunter2\\ude00"]}', "surrogate"),
        (nested(MAX_DEPTH + 1), "200 levels"),
        (b'{"a":' * 100_000, "200 levels"),
        (b"[" * 100_000, "200 levels"),
    ],
)
def test_refused(body: bytes, says: str) -> None:
    """Each with a sentence that says what is wrong and quotes nothing."""
    with pytest.raises(GatewayError) as refusal:
        parse_strict(body)
    assert refusal.value.code == "invalid_request"
    assert refusal.value.status == 400
    assert says in refusal.value.message
    assert SECRET.decode() not in refusal.value.message


def test_depth_is_counted_to_the_level() -> None:
    """200 levels pass, of lists and of objects."""
    assert parse_strict(nested(MAX_DEPTH))
    assert parse_strict(b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1))


@pytest.mark.parametrize("end", [b"", b"\\", b'"'], ids=["open", "escape", "closed"])
def test_depth_is_counted_in_one_pass(end: bytes) -> None:
    """A string of nothing but escaped quotes: reading it anew from each of them takes minutes, not milliseconds."""
    body = b"[" * (MAX_DEPTH + 1) + b'"' + b'\\"' * 50_000 + end
    since = time.process_time()
    with pytest.raises(GatewayError, match="200 levels"):
        parse_strict(body)
    assert time.process_time() - since < 2


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]":,\\u0d8a1eN \n'), max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing but a refusal is raised, and what is accepted the standard parser reads the same."""
    code = ""
    try:
        document = parse_strict(body)
    except GatewayError as error:
        code = error.code
    assert code == "invalid_request" or document == json.loads(body)


SPACE = st.text(" \t\r\n", max_size=2)
KEYS = st.sampled_from(["model", "stream_options", "x", "", 'a"b', "models", "mod\\el", "é"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
INTEGERS = st.integers(-(10**18) + 1, 10**18 - 1)
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | KEYS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@st.composite
def spelled(draw: st.DrawFn, value: object) -> str:
    """JSON text of a value: any white space, any character escaped or not."""
    if isinstance(value, str):
        characters = (json.dumps(c, ensure_ascii=draw(st.booleans()))[1:-1] for c in value)
        return (
            '"'
            + "".join(
                f"\\u{ord(c):04x}" if c.isalpha() and c < "\x7f" and draw(st.booleans()) else c for c in characters
            )
            + '"'
        )
    if isinstance(value, list):
        return "[" + ",".join(draw(SPACE) + draw(spelled(item)) + draw(SPACE) for item in value) + "]"
    if isinstance(value, dict):
        members = (
            draw(SPACE) + draw(spelled(key)) + draw(SPACE) + ":" + draw(SPACE) + draw(spelled(item)) + draw(SPACE)
            for key, item in value.items()
        )
        return "{" + ",".join(members) + "}"
    return json.dumps(value)


@dataclass(frozen=True)
class Member:
    """A top-level member: what stands before its value, the value, what stands behind it."""

    name: str
    before: str
    value: str
    behind: str


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, list[Member], dict[str, Any]]:
    """What stands before the opening brace and in it, the members, and the document."""
    document = draw(st.dictionaries(KEYS, VALUES, max_size=5))
    members = [
        Member(name, draw(spelled(name)) + draw(SPACE) + ":" + draw(SPACE), draw(spelled(value)), draw(SPACE))
        for name, value in document.items()
    ]
    return draw(SPACE), members, document


def joined(space: str, added: str, members: list[Member]) -> bytes:
    """The body of these members."""
    comma = "," if added and members else ""
    return (space + "{" + added + comma + ",".join(m.before + m.value + m.behind for m in members) + "}").encode()


CHANGES = st.dictionaries(
    st.sampled_from(["model", "stream_options", "x", 'a"b']),
    st.sampled_from(['"b"', '{"include_usage":true}', '"model"', "{}", "[1, 2]", '"stream_options\\""']),
    max_size=3,
)


@given(bodies(), CHANGES)
def test_a_change_touches_nothing_else(body: tuple[str, list[Member], dict[str, Any]], changes: dict[str, str]) -> None:
    """The values change where they stand, new members come first; every other byte is the client's."""
    space, members, document = body
    raw = joined(space, "", members)
    assert parse_strict(raw) == document
    added = ",".join(f"{json.dumps(name)}:{value}" for name, value in changes.items() if name not in document)
    changed = [replace(m, value=changes.get(m.name, m.value)) for m in members]
    result = splice(raw, document, {name: value.encode() for name, value in changes.items()})
    assert result == joined(space, added, changed)
    assert parse_strict(result) == document | {name: json.loads(value) for name, value in changes.items()}


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b'{"model":"a"}', b'{"model":"b"}'),
        (b'{ "model"\t: "a" }', b'{ "model"\t: "b" }'),
        (b'{"x":{"model":"a"},"model":"a","y":["model"]}', b'{"x":{"model":"a"},"model":"b","y":["model"]}'),
        (b'{"x":{"model":"a"}}', b'{"model":"b","x":{"model":"a"}}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"a"}', b'{"x":"\\"model\\":\\"a\\"","model":"b"}'),
        (b'{"x":"model","model":"a"}', b'{"x":"model","model":"b"}'),
        (b'{"mod\\u0065l":"a","x":"model"}', b'{"mod\\u0065l":"b","x":"model"}'),
        (b'{"mod\\u0065l":"a","x":{"model":"a"}}', b'{"mod\\u0065l":"b","x":{"model":"a"}}'),
        (b'{"x":"}{","model" : "a" ,"y":1}', b'{"x":"}{","model" : "b" ,"y":1}'),
        (b'{"model":"a\\"b,}"}', b'{"model":"b"}'),
        (b"{}", b'{"model":"b"}'),
        (b" { }", b' {"model":"b" }'),
        (b'{"x":1}', b'{"model":"b","x":1}'),
    ],
)
def test_the_model_is_changed_at_the_top_only(body: bytes, result: bytes) -> None:
    """Nested keys, values and text of the same name stay; an escaped spelling is the same key."""
    assert splice(body, parse_strict(body), {"model": b'"b"'}) == result
