"""How much text a stream has carried, from its bytes alone: what is charged where a broken stream reports nothing."""

import json
from collections.abc import Callable

import pytest

from gateway.core.flow import EventFlow
from gateway.core.framing import chunk
from gateway.core.tokens import estimate_output
from gateway.dialects import OPERATIONS, Operation
from tests.dialects.streams import ANTHROPIC_SHAPES, ROLE, STOP, block_delta, block_start, chat, data, delta, named

CHAT, MESSAGES, RESPONSES = (
    next(operation for operation in OPERATIONS if operation.path == path)
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses")
)
PROSE = (
    'The quick brown fox, said "Reynard" (a name from the 12th century), jumps over the lazy dog.\n\n'
    "* It's `code`: for naïve readers — and for others; see https://example.org/a?b=1.\n"
)


def tokens(text: str, size: int) -> list[str]:
    """A text in pieces of so many characters on average, as a tokenizer cuts it: not all of one length."""
    pieces, at, turn = [], 0, 0
    while at < len(text):
        length = max(1, size + (-2, 1, 0, 2, -1)[turn % 5])
        pieces.append(text[at : at + length])
        at, turn = at + length, turn + 1
    return pieces


def fed(operation: Operation, events: list[bytes]) -> EventFlow:
    """The flow of a stream that broke off behind these events."""
    flow = EventFlow(operation.reader(hide_usage=True))
    flow.feed(b"".join(events))
    return flow


def passed(operation: Operation, before: list[bytes], events: list[bytes]) -> EventFlow:
    """The same where only the beginning was looked at: what is plain passed in chunks of its own, unseen."""
    flow = fed(operation, [*before, events[0]])
    for event in events[1:]:
        count = flow.reader.plain_events(chunk(event)) if flow.open else 0
        if count:
            flow.count(count, len(event))
        else:
            flow.feed(event)
    return flow


OPENING = [piece.raw for piece in ANTHROPIC_SHAPES[0].pieces[:2]]
TOOL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
TOOL_USE = block_start(type="tool_use", id="t", name="f", input={})
ITEM_ADDED = named({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}})
CJK = "敏捷的棕色狐狸跳过了懒狗。"


def escaped(event: bytes) -> bytes:
    """The same event from a server that writes ASCII only."""
    head, at, document = event.rpartition(b"data: ")
    return head + at + json.dumps(json.loads(document), separators=(",", ":")).encode() + b"\n\n"


SPEAKERS = pytest.mark.parametrize(
    ("operation", "before", "event"),
    [
        (CHAT, [ROLE.raw], lambda text: chat({"content": text})),
        (CHAT, [ROLE.raw], lambda text: chat({"reasoning_content": text})),
        (CHAT, [], lambda text: chat({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})),
        (CHAT, [], lambda text: data({"choices": [{"index": 0, "text": text, "finish_reason": None}]})),
        (MESSAGES, OPENING, lambda text: block_delta(type="text_delta", text=text)),
        (MESSAGES, OPENING, lambda text: block_delta(type="input_json_delta", partial_json=text)),
        (RESPONSES, [], lambda text: delta("output_text", text)),
    ],
    ids=["chat", "reasoning", "tool call", "text completion", "messages", "tool use", "responses"],
)


@SPEAKERS
@pytest.mark.parametrize("size", [4, 40], ids=["a token per event", "ten tokens per event"])
@pytest.mark.parametrize("language", [PROSE, CJK], ids=["western", "east asian"])
def test_text_of_a_broken_stream(
    operation: Operation, before: list[bytes], event: Callable[[str], bytes], size: int, language: str
) -> None:
    """Exactly what the model said, however the server writes it, where every event was looked at."""
    text = language * 20
    events = [event(piece) for piece in tokens(text, size)]
    for written in (events, [escaped(one) for one in events]):
        flow = fed(operation, before + written)
        assert flow.events == len(events)
        assert flow.text_bytes == len(text.encode())


@SPEAKERS
@pytest.mark.parametrize("size", [4, 40], ids=["a token per event", "ten tokens per event"])
def test_text_that_passed_unseen(
    operation: Operation, before: list[bytes], event: Callable[[str], bytes], size: int
) -> None:
    """Within a tenth, from a hundred events on: escapes are all that an envelope's size does not know of."""
    text = PROSE * (3 * size)
    events = [event(piece) for piece in tokens(text, size)]
    assert len(events) > 100
    flow = passed(operation, before, events)
    assert flow.events == len(events)
    assert flow.text_bytes == pytest.approx(len(text.encode()), rel=0.1)


@pytest.mark.parametrize(
    ("operation", "opening", "event"),
    [
        (CHAT, chat({"tool_calls": [TOOL]}), lambda text: chat({"tool_calls": [{"function": {"arguments": text}}]})),
        (MESSAGES, TOOL_USE, lambda text: block_delta(type="input_json_delta", partial_json=text)),
        (RESPONSES, ITEM_ADDED, lambda text: delta("output_text", text, sequence_number=7)),
    ],
    ids=["chat", "messages", "responses"],
)
def test_text_behind_content_that_has_none(operation: Operation, opening: bytes, event: Callable[[str], bytes]) -> None:
    """A call's name, an item's start: the stream flows, but what surrounds its text has yet to be seen."""
    flow = passed(operation, [], [opening, *map(event, tokens(PROSE, 4))])
    assert flow.text_bytes == pytest.approx(len(PROSE.encode()), rel=0.1)


def test_a_stream_cut_behind_its_text_is_not_charged_twice() -> None:
    """Between the last delta and the closing event, Responses says everything again, three times over."""
    deltas = [delta("output_text", piece) for piece in tokens(PROSE, 4)]
    part = {"type": "output_text", "text": PROSE, "annotations": []}
    item = {"id": "i", "type": "message", "status": "completed", "content": [part]}
    repeats = [
        named({"type": "response.output_text.done", "item_id": "i", "text": PROSE}),
        named({"type": "response.content_part.done", "item_id": "i", "part": part}),
        named({"type": "response.output_item.done", "output_index": 0, "item": item}),
    ]
    for flow in (fed(RESPONSES, deltas + repeats), passed(RESPONSES, [], deltas + repeats)):
        assert flow.events == len(deltas)
        assert flow.text_bytes == pytest.approx(len(PROSE.encode()), rel=0.1)
    for count in range(len(repeats) + 1):
        assert fed(RESPONSES, deltas + repeats[:count]).text_bytes == len(PROSE.encode())


def test_an_estimate_of_tokens() -> None:
    """One token per event where events are small, else by the bytes."""
    single = fed(CHAT, [chat({"content": piece}) for piece in tokens(PROSE * 10, 4)])
    assert estimate_output(single.events, single.text_bytes) == single.events
    counted = [delta("output_text", piece, sequence_number=n) for n, piece in enumerate(tokens(PROSE * 30, 4))]
    responses = fed(RESPONSES, counted)
    assert estimate_output(responses.events, responses.text_bytes) == responses.events == len(counted)
    batched = fed(CHAT, [chat({"content": piece}) for piece in tokens(PROSE * 100, 40)])
    assert estimate_output(batched.events, batched.text_bytes) == -(-len((PROSE * 100).encode()) // 4)


def test_events_without_text_weigh_nothing() -> None:
    """A finish reason, an empty tool call, an error, what is no JSON: neither events of the answer nor text of it."""
    flow = fed(CHAT, [chat({"content": "Hello there"}), chat({"tool_calls": [TOOL]}), STOP.raw, STOP.raw])
    assert (flow.events, flow.text_bytes) == (1, len("Hello there"))
    for event in (b"{}", b"data: {}\n\n", b"data: hello\n\n", data({"error": {"message": "busy", "content": "x"}})):
        flow = fed(CHAT, [event])
        assert (flow.events, flow.text_bytes) == (0, 0)
