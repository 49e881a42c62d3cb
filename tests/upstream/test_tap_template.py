"""The shortcut of the hot path against the full look: what a stream learned of its events lets nothing else pass."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.framing import LAST_CHUNK, chunk
from gateway.dialects import Operation
from gateway.upstream.tap import MAX_LESSONS
from tests.dialects.streams import DONE, STOP, block_delta, chat, delta
from tests.dialects.test_plain_events import (
    CHAT,
    CHAT_EVENTS,
    MESSAGES,
    MESSAGES_EVENTS,
    RESPONSES,
    RESPONSES_EVENTS,
    TEXTS,
)
from tests.upstream.passage import Passage, passed

PLACE = "@"
"""Where the text of a form goes; no form has one elsewhere."""


Form = Callable[[str], bytes]


def _spaced(text: str) -> bytes:
    return b'data: {"choices": [{"delta": {"content": "%b"}, "finish_reason": null}]}\n\n' % text.encode()


FORMS: dict[str, tuple[Operation, st.SearchStrategy[bytes], list[Form]]] = {
    "chat": (
        CHAT,
        CHAT_EVENTS,
        [
            lambda text: chat({"content": text}),
            lambda text: chat({"role": "assistant", "content": text}, usage=None),
            lambda text: chat({"content": text}, logprobs=None, service_tier="default"),
            lambda text: chat({"reasoning_content": text}),
            lambda text: b': "content":"%b"\n' % text.encode() + chat({"content": "a"}),
            _spaced,
        ],
    ),
    "messages": (
        MESSAGES,
        MESSAGES_EVENTS,
        [
            lambda text: block_delta(type="text_delta", text=text),
            lambda text: block_delta(text=text, type="text_delta"),
            lambda text: block_delta(type="input_json_delta", partial_json=text),
        ],
    ),
    "responses": (
        RESPONSES,
        RESPONSES_EVENTS,
        [
            lambda text: delta("output_text", text),
            lambda text: delta("output_text", text, obfuscation="xyz"),
            lambda text: delta("function_call_arguments", text),
        ],
    ),
}

CONTROLS: dict[str, list[bytes]] = {
    "chat": [
        b"\n\ndata: [DONE]\n\ndata: {",
        b"\r\rdata: [DONE]\r\rdata: {",
        b'"}}],"usage":{"prompt_tokens":7},"choices":[{"delta":{"content":"',
        b'"},"finish_reason":"stop"},{"delta":{"content":"',
        b'"}}],"error":{"message":"busy"},"choices":[{"delta":{"content":"',
    ],
    "messages": [
        b'"}}\n\nevent: message_stop\ndata: {}\n\ndata: {"x":{"y":"',
        b"\n\nevent: message_stop\ndata: {}\n\ndata: ",
        b"\r\revent: error\rdata: busy\r\rdata: ",
        b'"},"type":"message_stop","x":{"y":"',
        b'"},"type":"error","x":{"y":"',
    ],
    "responses": [
        b"\n\ndata: [DONE]\n\ndata: {",
        b"\r\revent: error\rdata: busy\r\rdata: ",
        b'","type":"response.completed","x":"',
        b'","response":{"id":"resp_9","usage":{"input_tokens":7}},"x":"',
    ],
}
"""What would mean something to the line if it were not text; all of it is text wherever JSON escapes it."""

NOISE = st.sampled_from([b"\\", b'"', b"\n", b"\r", b"word", b"error", b"\xff\x00", b"\\u0022"]) | st.binary(max_size=3)


@st.composite
def events_like(draw: st.DrawFn, form: Form, controls: list[bytes]) -> bytes:
    """An event of a form: any text as JSON writes it, any bytes in its place, another word, or a piece cut out."""
    how = draw(st.sampled_from(["written", "forged", "forged", "swapped", "cut"]))
    if how == "written":
        return form(draw(TEXTS))
    if how == "swapped":
        # as long as the word that it replaces: lengths alone tell nothing
        return form(draw(TEXTS)).replace(b":null", draw(st.sampled_from([b':"ok"', b":true", b":nil_"])))
    before, _, behind = form(PLACE).partition(PLACE.encode())
    if how == "forged":
        return before + b"".join(draw(st.lists(st.sampled_from(controls) | NOISE, max_size=2))) + behind
    # the end of what stands before the text may be the beginning of what stands behind it
    return before[: len(before) - draw(st.integers(0, 12))] + behind[draw(st.integers(0, 12)) :]


@st.composite
def reads(draw: st.DrawFn, dialect: str, forms: Sequence[Form]) -> list[bytes]:
    """One event in a chunk of its own, mostly; else several, sizes that are wrong, and reads cut in two."""
    event = FORMS[dialect][1]
    like = st.sampled_from(forms).flatmap(lambda form: events_like(form, CONTROLS[dialect]))
    events = draw(st.lists(like | like | event, min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 2]))))
    framed = b""
    for payload in [b"".join(events)] if draw(st.booleans()) else events:
        size = len(payload) + draw(st.sampled_from([0] * 12 + [-1, 1, 2, -9]))
        spelling = draw(
            st.sampled_from([b"%x", b"%x", b"%x", b"%X", b"00%x", b"%x;a=b", b"%x;a=a-long-extension", b"0x%x"])
        )
        framed += spelling % max(size, 0) + b"\r\n" + payload + b"\r\n"
    at = draw(st.sampled_from([0] * 8 + [1])) and draw(st.integers(0, len(framed)))
    return [part for part in (framed[:at], framed[at:]) if part]


@pytest.mark.parametrize("dialect", FORMS)
@given(st.data())
def test_the_shortcut_passes_nothing_that_the_full_look_would_not(dialect: str, draw: st.DataObject) -> None:
    """Whatever comes, in whatever framing: client, outcome and what is known are the same at every read."""
    operation, _, forms = FORMS[dialect]
    chosen = draw.draw(st.lists(st.sampled_from(forms), min_size=1, max_size=2))
    quick = Passage(operation, forms[0]("a"))
    full = Passage(operation, forms[0]("a"), lessons=0)
    # a stream learns from its second event on
    for data in [chunk(form("learned")) for form in chosen]:
        quick.read(data)
        full.read(data)
    for parts in draw.draw(st.lists(reads(dialect, chosen), max_size=6)):
        for data in parts:
            quick.read(data)
            full.read(data)
            assert quick.state() == full.state()
    quick.read(LAST_CHUNK)
    full.read(LAST_CHUNK)
    assert quick.state() == full.state()


@pytest.mark.parametrize(
    ("dialect", "form", "control"),
    [(dialect, form, control) for dialect in FORMS for form in FORMS[dialect][2][:2] for control in CONTROLS[dialect]],
)
def test_what_stands_where_text_should_is_not_taken_for_text(dialect: str, form: Form, control: bytes) -> None:
    """An event that leaves its string, or its line, in any of the ways there are: looked at, and nothing lost."""
    operation = FORMS[dialect][0]
    quick, full = Passage(operation, form("a")), Passage(operation, form("a"), lessons=0)
    before, _, behind = form(PLACE).partition(PLACE.encode())
    for passage in (quick, full):
        passed(passage, [form("b"), form("c"), before + control + behind])
        assert passage.client.payload.startswith(form("a") + form("b") + form("c"))
    assert quick.state() == full.state()
    assert (quick.stream.looks, full.stream.looks) == (2, 3)


def test_a_finish_reason_as_wide_as_none_is_seen() -> None:
    """What stands behind the text is compared, not measured."""
    form = FORMS["chat"][2][0]
    stream = passed(Passage(CHAT, form("a")), [form("b"), form("c"), form("d").replace(b":null", b':"ok"')])
    assert (stream.looks, stream.flow.reader.finished) == (2, True)


UNESCAPED = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=20)


@pytest.mark.parametrize("dialect", FORMS)
@given(st.lists(UNESCAPED, min_size=2, max_size=12))
def test_one_event_teaches_the_form_of_all(dialect: str, texts: list[str]) -> None:
    """One full look, and none after it; events and text are counted to the byte, as they are without the shortcut."""
    operation, _, (form, *_) = FORMS[dialect]
    quick = passed(Passage(operation, form("a")), map(form, texts))
    full = passed(Passage(operation, form("a"), lessons=0), map(form, texts))
    assert (quick.looks, full.looks) == (1, len(texts))
    assert quick.events == full.events == 1 + len(texts)
    assert quick.text_bytes == full.text_bytes == 1 + sum(len(text.encode()) for text in texts)


def test_another_form_is_learned_in_its_turn() -> None:
    """Each change of form costs one look, up to the limit; from there on the forms it does not know always do."""
    form, other = FORMS["chat"][2][:2]
    stream = passed(Passage(CHAT, form("a")), [form("b"), form("c"), other("d"), other("e"), form("f"), form("g")])
    assert stream.looks == 3
    passage = Passage(CHAT, form("a"))
    turns = [form, other] * (MAX_LESSONS // 2)
    stream = passed(passage, [turn("b") for turn in turns])
    assert stream.looks == MAX_LESSONS
    passed(passage, [other("c"), form("d"), other("e"), form("f")])
    assert stream.looks == MAX_LESSONS + 2
    assert stream.events == 1 + MAX_LESSONS + 4


def test_the_end_is_seen_behind_any_number_of_shortcuts() -> None:
    """A finish reason and the closing event are never taken for what was learned."""
    passage = Passage(CHAT, chat({"content": "a"}))
    stream = passed(passage, [chat({"content": "b"})] * 50)
    assert (stream.looks, stream.flow.reader.finished) == (1, False)
    passed(passage, [STOP.raw])
    assert stream.flow.reader.finished
    passed(passage, [DONE.raw])
    assert passage.client.payload == chat({"content": "a"}) + chat({"content": "b"}) * 50 + STOP.raw
    assert stream.outcome == "success"
