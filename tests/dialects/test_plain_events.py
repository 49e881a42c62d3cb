"""The fast look at whole chunks against the slow one: it may be too careful, but never lets pass what needs a look."""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.flow import EventFlow, EventReader, Kind
from gateway.core.framing import chunk, is_whole_events
from gateway.core.sse import event_end, parse_event
from gateway.dialects import OPERATIONS
from tests.dialects.streams import SHAPES, Shape, block_delta, chat, delta

READERS = {operation.path: operation for operation in OPERATIONS}
CHAT, MESSAGES, RESPONSES = (READERS[path] for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"))

MARKERS = [
    "data: {",
    "\ndata: [DONE]\n\n",
    '"finish_reason":"stop"',
    '"finish_reason":null',
    '"usage":{}',
    '\\"usage\\": null',
    '"error"',
    "error",
    "event: error",
    "event: content_block_delta\n",
    "\nevent: message_stop\n",
    ".delta\ndata: {",
    "[DONE]",
    "\n\n",
    "\r\n\r\n",
    "\u2028é\U0001f600",
    "",
    "word ",
]
TEXTS = st.lists(
    st.sampled_from(MARKERS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=3
).map("".join)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (",", " : "), (" , ", ":")])
USAGES = st.sampled_from([None, {}, {"prompt_tokens": 1, "completion_tokens": 2}])


@st.composite
def written(draw: st.DrawFn, document: dict[str, Any], name: str = "") -> bytes:
    """An event in any spelling of its JSON and of its fields."""
    members = draw(st.permutations(list(document.items())))
    body = json.dumps(dict(members), separators=draw(SEPARATORS), ensure_ascii=draw(st.booleans()))
    before = draw(st.sampled_from(["", "", "", ": hm\n", "id: 7\n", "retry: 1\n"]))
    head = draw(st.sampled_from([f"event: {name}\n", f"event:{name}\n"])) if name else ""
    return (before + head + draw(st.sampled_from(["data: ", "data: ", "data:"])) + body + "\n\n").encode()


@st.composite
def chat_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A chunk of chat/completions or completions: plain, finishing, counting, failing, silent."""
    text = draw(TEXTS)
    choices: list[dict[str, Any]] = [
        {"delta": {"content": text}},
        {"delta": {"role": "assistant", "content": text}},
        {"delta": {"content": None, "reasoning_content": text, "refusal": None}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}},
        {"delta": {"content": text, "finish_reason": None}},
        {"delta": {}},
        {"text": text},
    ]
    null: dict[str, Any] = {"finish_reason": None}
    finish = draw(st.sampled_from([{}, null, null, {"finish_reason": "stop"}, {"finish_reason": ""}]))
    one, other = draw(st.sampled_from(choices)), draw(st.sampled_from(choices))
    mores: list[dict[str, Any]] = [
        *({}, {}, {"usage": draw(USAGES)}, {"x_groq": {"usage": draw(USAGES)}}),
        *({"error": {"message": text}}, {"error": None}, {"system_fingerprint": text}),
    ]
    carried = draw(st.sampled_from([[one | finish], [one | finish], [other | null, one | finish], []]))
    return {"id": "c", "choices": carried, **draw(st.sampled_from(mores))}


CHAT_EVENTS = st.one_of(
    chat_documents().flatmap(written),
    chat_documents().flatmap(written),
    chat_documents().flatmap(lambda document: written(document, "error")),
    TEXTS.flatmap(lambda text: written({"message": text}, "error")),
    st.sampled_from(
        [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b": data: {\n\n", b": ping\n\n", b"data: {\n\n", b"\n\n"]
    ),
)
MESSAGES_EVENTS = st.one_of(
    TEXTS.map(lambda text: block_delta(type="text_delta", text=text)),
    TEXTS.flatmap(
        lambda text: written({"type": "content_block_delta", "delta": {"partial_json": text}}, "content_block_delta")
    ),
    st.sampled_from(["ping", "message_stop", "error", "content_block_stop"]).flatmap(
        lambda name: written({"type": name}, name)
    ),
    TEXTS.flatmap(
        lambda text: written(
            {"type": "message_delta", "delta": {"stop_reason": text}, "usage": {"output_tokens": 1}}, "message_delta"
        )
    ),
    TEXTS.flatmap(lambda text: written({"type": "error", "error": {"message": text}})),
    st.just(b": ping\n\n"),
)
RESPONSES_EVENTS = st.one_of(
    TEXTS.map(lambda text: delta("output_text", text)),
    TEXTS.flatmap(lambda text: written({"type": "response.refusal.delta", "delta": text}, "response.refusal.delta")),
    st.sampled_from(
        ["completed", "incomplete", "failed", "in_progress", "output_text.done", "output_item.added"]
    ).flatmap(
        lambda word: written(
            {"type": f"response.{word}", "response": {"usage": {"output_tokens": 1}}}, f"response.{word}"
        )
    ),
    TEXTS.flatmap(lambda text: written({"type": "error", "message": text}, "error")),
    st.just(b"data: [DONE]\n\n"),
)


def text_of(text: str) -> bytes:
    """How a text stands in JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def framed(events: Sequence[bytes], cuts: set[int]) -> bytes:
    """Whole events in chunks, a new one before each cut."""
    chunks = [b""]
    for index, event in enumerate(events):
        if index in cuts:
            chunks.append(b"")
        chunks[-1] += event
    return b"".join(chunk(payload) for payload in chunks)


def agrees(reader: EventReader, events: Sequence[bytes], data: bytes) -> int:
    """Check the fast look against the slow one; return what the fast one said."""
    said = reader.plain_events(data)
    if said:
        slow = copy.deepcopy(reader)
        kinds = [slow.see(parse_event(event)) for event in events]
        assert set(kinds) <= {Kind.CONTENT, Kind.PREAMBLE}
        assert all(parse_event(event).data is not None for event in events)
        assert not slow.ending
        assert not slow.finished
        assert slow.usage() == reader.usage()
        assert slow.response_id == reader.response_id
        assert said == len(events)
    return said


def opened(events: Sequence[bytes], reader: EventReader) -> EventFlow:
    """A flow that has seen content, and these events."""
    flow = EventFlow(reader)
    flow.feed(b"".join(events))
    return flow


@pytest.mark.parametrize(
    ("operation", "first", "event"),
    [
        (CHAT, chat({"content": "a"}), CHAT_EVENTS),
        (MESSAGES, block_delta(text="a"), MESSAGES_EVENTS),
        (RESPONSES, delta("output_text", "a"), RESPONSES_EVENTS),
    ],
    ids=["chat", "messages", "responses"],
)
@given(st.data())
def test_nothing_that_needs_a_look_passes(
    operation: Any, first: bytes, event: st.SearchStrategy[bytes], draw: st.DataObject
) -> None:
    """Any events in any chunks, behind any stream that is still open."""
    seen = draw.draw(st.lists(event, max_size=2))
    flow = opened([first, *seen], operation.reader(hide_usage=draw.draw(st.booleans())))
    if not flow.open:
        flow = opened([first], operation.reader(hide_usage=True))
    assert flow.open
    events = draw.draw(st.lists(event, min_size=1, max_size=4))
    data = framed(events, draw.draw(st.sets(st.integers(1, 3))))
    # an event of fields without a line end of its own would make the generator, not the reader, wrong
    assert all(event_end(one, 0) == len(one) for one in events if one != b"\n\n")
    assert is_whole_events(data)
    agrees(flow.reader, events, data)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_event_by_event_and_together(shape: Shape) -> None:
    """From wherever the stream is open, the rest of it in one read, or the next events."""
    flow = EventFlow(shape.new_reader())
    events = [piece.raw for piece in shape.pieces]
    for at, event in enumerate(events):
        flow.feed(event)
        if flow.open:
            for stop in range(at + 2, len(events) + 1):
                for cuts in (set[int](), set(range(len(events)))):
                    agrees(flow.reader, events[at + 1 : stop], framed(events[at + 1 : stop], cuts))


@pytest.mark.parametrize(
    ("operation", "before", "event"),
    [
        (CHAT, b"", chat({"content": "Hé"})),
        (CHAT, b"", chat({"content": 'say "finish_reason" and data: {'})),
        (CHAT, b"", chat({"content": "a"}, usage=None)),
        (CHAT, b"", b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'),
        (
            CHAT,
            b'data: {"choices": [{"delta": {"role": "assistant"}, "finish_reason": null}], "usage": null}\n\n',
            b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": null}], "usage": null}\n\n',
        ),
        (CHAT, b"", chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"usage":1}'}}]})),
        (MESSAGES, b"", block_delta(type="text_delta", text="Hé\n\n")),
        (MESSAGES, b"", block_delta(type="input_json_delta", partial_json='{"error"')),
        (RESPONSES, b"", delta("output_text", "Hé\n\n[DONE]")),
        (RESPONSES, b"", delta("function_call_arguments", '{"error":1}')),
    ],
)
def test_plain_content_passes(operation: Any, before: bytes, event: bytes) -> None:
    """What streams are made of needs no look, in one chunk or in several; how servers space is learned."""
    reader = operation.reader(hide_usage=True)
    opened([before], reader)
    for count in (1, 2, 5):
        assert agrees(reader, [event] * count, framed([event] * count, set())) == count
        assert agrees(reader, [event] * count, framed([event] * count, set(range(1, count)))) == count


@pytest.mark.parametrize(
    ("operation", "event"),
    [
        (CHAT, lambda text: chat({"content": text})),
        (CHAT, lambda text: chat({"role": "assistant", "content": text}, usage=None)),
        (MESSAGES, lambda text: block_delta(type="text_delta", text=text)),
        (RESPONSES, lambda text: delta("output_text", text)),
    ],
    ids=["chat", "chat with usage", "messages", "responses"],
)
@given(TEXTS, st.binary(max_size=20) | TEXTS.map(str.encode))
def test_what_differs_in_its_text_alone_is_plain_too(
    operation: Any, event: Callable[[str], bytes], text: str, other: bytes
) -> None:
    """The text's place is where it stands, and no other text there, however broken, ends the string or the event."""
    raw = event(text)
    reader = operation.reader(hide_usage=True)
    opened([event("a")], reader)
    span = reader.text_span(chunk(raw))
    if span is None:
        assert b"\\" in text_of(text)
        return
    data = chunk(raw)
    assert data[span[0] : span[1]] == text_of(text)
    assert data[span[0] - 1 : span[0]] == data[span[1] : span[1] + 1] == b'"'
    seen = copy.deepcopy(reader)
    seen.see(parse_event(raw))
    assert seen.text_bytes == span[1] - span[0]
    if reader.plain_events(data):
        for unwanted in (b'"', b"\n", b"\r"):
            other = other.replace(unwanted, b"")
        head = len(data) - len(raw) - len(b"\r\n")
        changed = raw[: span[0] - head] + other + raw[span[1] - head :]
        assert event_end(changed, 0) == len(changed)
        slow = copy.deepcopy(reader)
        assert slow.see(parse_event(changed)) in (Kind.CONTENT, Kind.PREAMBLE)
        assert (slow.ending, slow.finished, slow.usage()) == (False, False, reader.usage())


@pytest.mark.parametrize(
    "data",
    [
        chat({"content": "data: {"}) + b"data: [DONE]\n\n",
        chat({"content": "data: {"}) + b": ping\n\n",
        b'event: error\ndata: {"message":"busy"}\n\n',
        b'event:error\ndata: {"message":"busy"}\n\n',
        chat({"content": "a"}, "stop"),
        chat({"content": "a"}) + chat({}, "length"),
        chat({"content": "a"}, usage={"prompt_tokens": 1}),
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason" : "stop"}]}\n\n',
        b'data: {"choices":[],"usage" : {"prompt_tokens":1}}\n\n',
        b'data: {"choices":[{"finish_reason":"stop","x":{"finish_reason":null}}]}\n\n',
    ],
)
def test_what_once_could_have_passed(data: bytes) -> None:
    """Text that looks like an event, errors by name, unusual spacing: all need a look."""
    assert CHAT.reader(hide_usage=True).plain_events(chunk(data)) == 0
