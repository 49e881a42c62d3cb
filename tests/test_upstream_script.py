"""The steps as bytes: what goes on the wire, what a correct client reads, which scripts are impossible."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provider_answers import (
    OPENAI_USAGE,
    anthropic_stream,
    openai_answer,
    openai_stream,
    responses_stream,
)
from tests.raw_http import Malformed, dechunk, parse_chunk, parse_head
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    ScriptError,
    Write,
    body_of,
    check,
    chunk,
    chunks,
    close,
    end,
    event,
    head,
    is_complete,
    raw,
    reset,
    says_close,
    split,
    sse,
    stall,
    together,
    trailers,
    wait,
    wire_of,
)

LENGTH_5 = ("Content-Length", "5")
PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@pytest.mark.parametrize(
    ("step", "wire"),
    [
        (head(200, LENGTH_5), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (head(429, reason="Slow Down", version="HTTP/1.0"), b"HTTP/1.0 429 Slow Down\r\n\r\n"),
        (head(200, ("X", "1"), ("x", "2")), b"HTTP/1.1 200 OK\r\nX: 1\r\nx: 2\r\n\r\n"),
        (raw(b"\x00\xff"), b"\x00\xff"),
        (chunk(b"a" * 26), b"1a\r\n" + b"a" * 26 + b"\r\n"),
        (chunk(b"a", b"name=1"), b"1;name=1\r\na\r\n"),
        (event({"a": "é"}), b'12\r\ndata: {"a":"\xc3\xa9"}\n\n\r\n'),
        (event("[DONE]"), b"e\r\ndata: [DONE]\n\n\r\n"),
        (event({}, "ping"), b"16\r\nevent: ping\ndata: {}\n\n\r\n"),
        (end(), b"0\r\n\r\n"),
        (trailers(("A", "1")), b"0\r\nA: 1\r\n\r\n"),
        (together(chunk(b"a"), end()), b"1\r\na\r\n0\r\n\r\n"),
    ],
)
def test_step_puts_its_bytes_on_the_wire(step: Write, wire: bytes) -> None:
    """Every writing step has exactly these bytes."""
    assert step.wire == wire


def test_split_cuts_where_it_is_told() -> None:
    """The pieces have the sizes given; what is left is the last one."""
    assert split(b"abcdef", [1, 2]).pieces == (b"a", b"bc", b"def")
    assert split(chunk(b"ab"), [3, 4]).pieces == (b"2\r\n", b"ab\r\n")
    assert split(head(204), [4]).status == 204


@pytest.mark.parametrize("sizes", [[0], [-1], [7], [3, 4]])
def test_split_refuses_cuts_that_are_none(sizes: list[int]) -> None:
    """A cut of nothing, or behind the end, is a mistake of the test."""
    with pytest.raises(ScriptError, match="cannot cut"):
        split(b"abcdef", sizes)


@given(PAYLOADS, st.booleans())
def test_body_is_the_payload_whatever_the_chunks(payloads: list[bytes], with_trailers: bool) -> None:
    """Framing a body and reading it back gives the same bytes, and the end is found."""
    script: Script = [
        head(200, CHUNKED),
        chunks(payloads),
        trailers(("A", "1"), ("B", "")) if with_trailers else end(),
    ]
    assert body_of(script) == b"".join(payloads)
    assert is_complete(script)
    assert wire_of(script).startswith(b"".join(chunk(payload).wire for payload in payloads))


@given(PAYLOADS.filter(bool), st.data())
def test_cut_framing_is_never_whole(payloads: list[bytes], data: st.DataObject) -> None:
    """Every prefix of a chunked body reads as a prefix of the payload, and as unfinished."""
    wire = b"".join(chunk(payload).wire for payload in payloads) + end().wire
    body = dechunk(wire[: data.draw(st.integers(0, len(wire) - 1))])
    assert not body.complete
    assert b"".join(payloads).startswith(body.payload)


@pytest.mark.parametrize(
    "wire",
    [
        b"g\r\n",
        b"\r\n",
        b"-1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1\r\nab\r\n",
        b"0\r\nno field\r\n\r\n",
    ],
)
def test_broken_framing_is_malformed(wire: bytes) -> None:
    """What RFC 9112 does not allow is told apart from what is not complete yet."""
    with pytest.raises(Malformed):
        parse_chunk(wire)


@pytest.mark.parametrize("raw_head", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", b"A b\r\n c\r\n\r\n"])
def test_broken_heads_are_malformed(raw_head: bytes) -> None:
    """A start line of one word, a space before the colon and a folded line are refused."""
    with pytest.raises(Malformed):
        parse_head(raw_head)


def test_head_keeps_fields_as_sent() -> None:
    """Order, spelling and repetition stay; one value is asked for where only one may be."""
    parsed = parse_head(b"GET /a HTTP/1.1\r\nX-B: 1\r\nx-b: 2\r\nC:\t3 \r\n\r\n")
    assert parsed.headers == (("X-B", "1"), ("x-b", "2"), ("C", "3"))
    assert parsed.all("X-b") == ["1", "2"]
    assert parsed.get("c") == "3"
    assert parsed.get("d") is None
    with pytest.raises(Malformed):
        parsed.get("x-b")


@pytest.mark.parametrize(
    ("script", "complete"),
    [
        ([head(200, LENGTH_5), raw(b"hello")], True),
        ([head(200, LENGTH_5), raw(b"hell")], False),
        ([head(200, LENGTH_5), raw(b"hello!")], False),
        ([head(204)], True),
        ([head(204), raw(b"x")], False),
        ([head(200), raw(b"until the end")], False),
        ([head(100), head(200, LENGTH_5), raw(b"hello")], True),
        ([head(100)], False),
        ([head(200, CHUNKED), chunk(b"a")], False),
        ([head(200, CHUNKED), chunk(b"a"), end(), raw(b"more")], False),
        ([head(200, CHUNKED), raw(b"broken"), end()], False),
        ([together(head(200, CHUNKED), chunk(b"a")), end()], True),
        ([raw(b"HTTP/1.1 200 OK\r\n\r\n")], False),
        ([], False),
    ],
)
def test_a_whole_answer_is_recognised(script: Script, complete: bool) -> None:
    """An answer that ends by its own framing may stand alone; any other must say how it ends."""
    assert is_complete(script) is complete
    if complete:
        assert check(script)
    else:
        with pytest.raises(ScriptError, match="not whole"):
            check(script)
        assert check([script, close()])


@pytest.mark.parametrize("leave", [stall(), reset(), close()])
def test_steps_behind_the_last_are_refused(leave: Write) -> None:
    """Nothing can be played after the connection was left."""
    with pytest.raises(ScriptError, match="never played"):
        check([head(200, CHUNKED), leave, end()])


def test_impossible_steps_are_refused() -> None:
    """An empty chunk would end the body; a head cannot follow other bytes in one write."""
    with pytest.raises(ScriptError, match="empty chunk"):
        chunk(b"")
    with pytest.raises(ScriptError, match="first step"):
        together(chunk(b"a"), head(200))


def test_answers_that_close_are_recognised() -> None:
    """The answer's own head says whether the connection stays."""
    assert says_close([head(200, LENGTH_5, ("connection", "Close")), raw(b"hello")])
    assert says_close([head(200, LENGTH_5, version="HTTP/1.0"), raw(b"hello")])
    assert not says_close([head(200, LENGTH_5), raw(b"hello")])


def test_scripts_nest() -> None:
    """Lists in scripts are opened in order, and what writes nothing adds no bytes."""
    script: Script = [[head(200, SSE, CHUNKED)], [chunk(b"a"), [wait(asyncio.Event()), chunk(b"b")]], end()]
    assert len(check(script)) == 5
    assert body_of(script) == b"ab"


@pytest.mark.parametrize("n", [0, 1, 5])
def test_builders_make_whole_answers(n: int) -> None:
    """The providers' answers are complete scripts, with as many content events as asked for."""
    chat = openai_stream(n, usage=OPENAI_USAGE)
    assert body_of(chat).count(b'"content":"') == n + 1
    assert body_of(chat).count(b'"usage":null') == n + 2
    assert body_of(chat).endswith(sse("[DONE]"))
    assert body_of(anthropic_stream(n)).count(b"text_delta") == n
    assert body_of(responses_stream(n)).count(b"event: response.output_text.delta\n") == n
    for script in (chat, anthropic_stream(n), responses_stream(n), openai_answer()):
        assert is_complete(script)


def test_builders_can_leave_the_ending_out() -> None:
    """An unfinished stream lacks what closes it, and must say how it ends."""
    script = openai_stream(2, finish=None, done=False, finished=False)
    assert b'finish_reason":"' not in body_of(script)
    assert b"[DONE]" not in body_of(script)
    with pytest.raises(ScriptError, match="not whole"):
        check(script)
    assert b"message_stop" not in body_of(anthropic_stream(2, stop=None))
    assert b"response.completed" not in body_of(responses_stream(2, closing=None))
