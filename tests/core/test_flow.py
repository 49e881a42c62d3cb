"""The machine between upstream and downstream, with streams of all dialects cut wherever they can be cut."""

from collections.abc import Iterable
from itertools import pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.flow import (
    EVENT_LIMIT_BYTES,
    HELD_LIMIT_BYTES,
    PARTIAL_LIMIT_BYTES,
    EventFlow,
    EventTooLarge,
    Kind,
    Phase,
)
from gateway.core.outcome import Outcome
from tests.dialects.streams import (
    DONE,
    HI,
    LAST_USAGE,
    ROLE,
    SHAPES,
    STOP,
    Piece,
    Shape,
    chat,
    data,
    delta,
    named,
    visible,
)
from tests.dialects.whatwg import dispatched

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
OPENAI = next(shape for shape in SHAPES if shape.name == "openai plain")
BIG = b"x" * (PARTIAL_LIMIT_BYTES + 1000)


def new_flow(shape: Shape = OPENAI) -> EventFlow:
    """A flow at its start."""
    return EventFlow(shape.new_reader())


def passed(shape: Shape, parts: Iterable[bytes]) -> tuple[bytes, bytes]:
    """What leaves while a whole body comes in parts, and what leaves at release."""
    flow = new_flow(shape)
    before = b"".join(flow.feed(part) for part in parts)
    flow.end()
    return before, flow.release()


def leaves(pieces: tuple[Piece, ...]) -> bytes:
    """What of whole events may go before the release: from the first content up to the closing event, or an error.
    An error before any content commits nothing: another target can still answer.
    """
    flowing = tuple(takewhile(lambda piece: piece.kind is not Kind.CLOSING, pieces))
    decisive = [piece.kind for piece in flowing if piece.kind in (Kind.CONTENT, Kind.ERROR)]
    error = [piece.kind for piece in (*flowing, Piece(b"", Kind.ERROR))].index(Kind.ERROR)
    return visible(flowing[: error + 1]) if decisive[:1] == [Kind.CONTENT] else b""


def verdict(pieces: tuple[Piece, ...], rest: bytes, cut: Piece | None, *, clean: bool) -> Outcome:
    """What a body is that ends behind `pieces` and `rest`, the beginning of the event `cut`."""
    closed = False
    for piece in pieces:
        closed = closed or piece.kind is Kind.CLOSING
        if piece.kind is Kind.ERROR and not closed:
            return Outcome.STREAM_ERROR
    if closed:
        return Outcome.SUCCESS
    # an unfinished event is taken as it stands: whole but for its line ends, or known by its name
    if cut is not None and cut.kind is Kind.ERROR and (rest.startswith((cut.raw.rstrip(), b"event: error\ndata"))):
        return Outcome.STREAM_ERROR
    finished = any(piece.finishes for piece in pieces)
    if cut is not None and cut.finishes and rest.startswith(cut.raw.rstrip()):
        finished = True
    return Outcome.SUCCESS if clean and finished else Outcome.TRUNCATED


@every_shape
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_the_client_gets_the_stream_whatever_the_split(shape: Shape, line_end: bytes) -> None:
    """Whole, byte by byte, and cut in two everywhere: the same bytes, less the hidden usage event."""
    raw, wanted = (stream.replace(b"\n", line_end) for stream in (shape.raw, shape.wanted))
    splits = [[raw], [raw[at : at + 1] for at in range(len(raw))]]
    splits += [[raw[:at], raw[at:]] for at in range(len(raw))]
    hides = shape.raw != shape.wanted
    for parts in splits:
        got = b"".join(passed(shape, parts))
        # the LF of a CR LF that is cut in two after a hidden event stays behind: an empty line that says nothing
        assert dispatched(got) == dispatched(wanted) if hides and line_end == b"\r\n" else got == wanted


@given(st.data())
def test_random_splits(draw: st.DataObject) -> None:
    """Any number of cuts, empty reads included: before and after the release the same bytes as fed whole."""
    shape = draw.draw(st.sampled_from(SHAPES))
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(shape.raw)), max_size=20)))
    parts = [shape.raw[start:stop] for start, stop in pairwise([0, *cuts, len(shape.raw)])]
    assert passed(shape, parts) == passed(shape, [shape.raw])


@every_shape
def test_a_body_may_end_anywhere(shape: Shape) -> None:
    """Behind every byte: what has gone by then, what the release gives, and what the stream was."""
    ends = [sum(len(piece.raw) for piece in shape.pieces[:count]) for count in range(len(shape.pieces) + 1)]
    for length in range(len(shape.raw) + 1):
        whole = sum(end <= length for end in ends) - 1
        pieces, rest = shape.pieces[:whole], shape.raw[ends[whole] : length]
        cut = shape.pieces[whole] if whole < len(shape.pieces) else None
        flow = new_flow(shape)
        sent = flow.feed(shape.raw[:length])
        assert sent == leaves(pieces), length
        assert flow.at_boundary
        assert flow.events == sum(piece.says != "" for piece in pieces)
        assert flow.text_bytes == sum(len(piece.says.encode()) for piece in pieces)
        flow.end()
        for clean in (True, False):
            assert flow.verdict(clean=clean) is verdict(pieces, rest, cut, clean=clean), (length, rest)
        hidden = cut is not None and cut.kind is Kind.HIDDEN and rest.startswith(cut.raw.rstrip())
        assert sent + flow.release() == visible(pieces) + (b"" if hidden else rest)


@every_shape
def test_the_reader_knows_the_usage_at_the_end(shape: Shape) -> None:
    """Reported in whichever place, or not reported."""
    flow = new_flow(shape)
    flow.feed(shape.raw)
    assert flow.reader.usage() == shape.usage


@every_shape
def test_the_phase_only_moves_forward(shape: Shape) -> None:
    """Held, flowing, closing, released; open only while it flows and the end is not near."""
    order = list(Phase)
    flow = new_flow(shape)
    for at in range(len(shape.raw)):
        before = flow.phase
        flow.feed(shape.raw[at : at + 1])
        assert order.index(flow.phase) >= order.index(before)
        assert not flow.open or (flow.phase is Phase.FLOWING and not flow.reader.ending and not flow.error)
    flow.end()
    flow.release()
    assert flow.phase is Phase.RELEASED


def test_open_while_plain_content_flows() -> None:
    """Not before content, not with half an event, not from the finish reason on."""
    flow = new_flow()
    seen = []
    for part in (ROLE.raw, HI.raw, HI.raw[:9], HI.raw[9:], STOP.raw, DONE.raw):
        flow.feed(part)
        seen.append(flow.open)
    assert seen == [False, True, False, True, False, False]


def test_text_is_counted_where_it_is_new() -> None:
    """A finish reason has none, nor has what repeats the answer at its end; escapes do not make it longer."""
    flow = new_flow()
    flow.feed(chat({"content": "Hé"}) + b'data: {"choices":[{"delta":{"content":"\\u65e5\\u672c"}}]}\n\n' + STOP.raw)
    assert (flow.events, flow.text_bytes) == (2, len("Hé日本".encode()))
    responses = new_flow(next(shape for shape in SHAPES if shape.name == "responses plain"))
    responses.feed(delta("output_text", "Hé") + named({"type": "response.output_text.done", "text": "Hé"}))
    assert (responses.events, responses.text_bytes) == (1, len("Hé".encode()))


def test_what_passed_unseen_counts_as_what_its_envelopes_leave() -> None:
    """An envelope is what the last event with text had around it; a sum of text never becomes smaller."""
    flow = new_flow()
    flow.feed(chat({"content": "Hello"}) + chat({"tool_calls": []}))
    flow.count(2, len(chat({"content": "a"}) + chat({"content": "bcd"})))
    assert (flow.events, flow.text_bytes) == (3, len("Helloabcd"))
    flow.feed(chat({"content": "e"}, usage=None))
    flow.count(1, len(chat({"content": "fg"}, usage=None)))
    assert (flow.events, flow.text_bytes) == (5, len("Helloabcdefg"))
    flow.count(1, len(chat({})))
    assert (flow.events, flow.text_bytes) == (6, len("Helloabcdefg"))


def test_what_follows_the_closing_event_waits_and_then_flows() -> None:
    """An event behind ``[DONE]`` waits with it; after the release nothing waits any more."""
    flow = new_flow()
    assert flow.feed(HI.raw + DONE.raw + b": late\n\n") == HI.raw
    assert flow.release() == DONE.raw + b": late\n\n"
    assert flow.feed(b": later\n\n") == b": later\n\n"
    flow.feed(b": cut")
    flow.end()
    assert flow.release() == b": cut"


def test_an_error_behind_the_closing_event_changes_nothing() -> None:
    """No SDK reads on to see it; the verdict is the same whether it comes in the same read or later."""
    error = data({"error": {"message": "late"}})
    for parts in ([HI.raw + DONE.raw + error], [HI.raw + DONE.raw, error], [HI.raw + DONE.raw + error.rstrip()]):
        flow = new_flow()
        for part in parts:
            flow.feed(part)
        flow.end()
        assert flow.verdict(clean=False) is Outcome.SUCCESS


def test_nothing_flows_after_an_error_that_came_before_content() -> None:
    """The line may ask another target: content that follows the error must not commit this one."""
    flow = new_flow()
    assert flow.feed(ROLE.raw + data({"error": {"message": "busy"}}) + HI.raw) == b""
    assert flow.phase is Phase.HELD
    assert flow.verdict(clean=True) is Outcome.STREAM_ERROR


def test_much_preamble_commits() -> None:
    """Held bytes are bounded: above the limit the stream is committed without content."""
    flow = new_flow()
    comment = b": " + b"-" * 1021 + b"\n"
    assert flow.feed((comment + b"\n") * (HELD_LIMIT_BYTES // 1025)) == b""
    sent = flow.feed(comment + b"\n")
    assert len(sent) > HELD_LIMIT_BYTES
    assert flow.phase is Phase.FLOWING
    assert flow.events == 0


def test_a_large_event_goes_in_pieces() -> None:
    """Above the limit it flows, and downstream stands inside an event until its end has gone."""
    event = chat({"content": BIG.decode()})
    flow = new_flow()
    sent = flow.feed(HI.raw + event[:-10])
    assert sent == HI.raw + event[:-10]
    assert (flow.at_boundary, flow.open, flow.events) == (False, False, 1)
    assert flow.feed(event[-10:]) == event[-10:]
    assert (flow.at_boundary, flow.open, flow.events) == (True, True, 2)


def test_up_to_the_limit_an_unfinished_event_is_kept() -> None:
    """At the limit nothing has gone; one byte more and all has."""
    flow = new_flow()
    flow.feed(HI.raw)
    assert flow.feed(BIG[:PARTIAL_LIMIT_BYTES]) == b""
    assert flow.at_boundary
    assert flow.feed(b"x") == BIG[: PARTIAL_LIMIT_BYTES + 1]


def test_a_large_event_commits_even_as_the_first() -> None:
    """Held preamble goes with it."""
    flow = new_flow()
    assert flow.feed(ROLE.raw + b"data: " + BIG) == ROLE.raw + b"data: " + BIG
    assert flow.phase is Phase.FLOWING


def test_a_stream_that_ends_inside_a_large_event_does_not_stand_at_a_boundary() -> None:
    """A typed error event put behind its first pieces would become part of it."""
    flow = new_flow()
    flow.feed(HI.raw + b"data: " + BIG)
    flow.feed(b"tail")
    flow.end()
    assert not flow.at_boundary
    assert flow.verdict(clean=True) is Outcome.TRUNCATED
    assert flow.release() == b"tail"


@pytest.mark.parametrize("name", ["openai DONE only", "anthropic plain", "responses plain"])
def test_a_large_closing_event_waits_whole(name: str) -> None:
    """However large, no byte of it leaves before the release."""
    shape = next(shape for shape in SHAPES if shape.name == name)
    closing = shape.pieces[-1].raw.rstrip()
    flow = new_flow(shape)
    flow.feed(visible(shape.pieces[:-1]))
    sent = b"".join(flow.feed(part) for part in (closing[:30], closing[30:] + b" " * len(BIG), b"\n", b"\n"))
    assert sent == b""
    assert flow.phase is Phase.CLOSING
    assert flow.release().rstrip() == closing


def test_large_events_behind_the_closing_one_wait_too() -> None:
    """In pieces or whole, in their order."""
    flow = new_flow()
    assert flow.feed(DONE.raw + b"data: " + BIG) == b""
    assert flow.feed(b"end\n\n: more\n\n") == b""
    assert flow.release() == DONE.raw + b"data: " + BIG + b"end\n\n: more\n\n"


def test_a_hidden_event_that_has_begun_to_leave_leaves_whole() -> None:
    """Half an event would break the client's stream; an unasked usage event does not."""
    event = LAST_USAGE.replace(b"data: {", b"data: {" + b" " * len(BIG))
    flow = new_flow()
    flow.feed(HI.raw + STOP.raw)
    sent = flow.feed(event[:-1]) + flow.feed(event[-1:])
    assert sent == event
    assert flow.reader.usage() is not None


def test_an_event_beyond_all_limits_breaks_the_stream() -> None:
    """Unfinished at 8 MiB it stands; one byte more and the upstream is not to be believed."""
    flow = new_flow()
    flow.feed(HI.raw)
    block = b"x" * (1024 * 1024)
    assert sum(len(flow.feed(block)) for _ in range(EVENT_LIMIT_BYTES // len(block))) == EVENT_LIMIT_BYTES
    with pytest.raises(EventTooLarge):
        flow.feed(b"x")
