"""Server-sent events, compared with a literal reading of the standard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sse import ServerEvent, comment, event_end, format_event, parse_event
from tests.dialects.whatwg import dispatched

LINES = st.sampled_from(
    [
        *(b"data: a", b"data:b", b"data:  c", b"data", b"data:", b"data: x: y", "data: é\u2028\x0b\x85".encode()),
        *(b"event: e", b"event:f", b"event", b"id: 7", b"retry: 10", b": comment", b":", b""),
        *(b"Data: no", b" data: no", b"datax: no"),
    ]
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
MIXED = st.lists(st.tuples(LINES, LINE_ENDS).map(b"".join), max_size=12).map(b"".join)
UNIFORM = st.tuples(st.lists(LINES, max_size=12), LINE_ENDS).map(lambda t: b"".join(line + t[1] for line in t[0]))


def read(stream: bytes, pieces: int) -> list[ServerEvent]:
    """Events with data, read in pieces of so many bytes, stepping back by three as the docstring says."""
    events, pending, scanned = [], b"", 0
    for at in range(0, len(stream), pieces):
        pending += stream[at : at + pieces]
        while (end := event_end(pending, max(0, scanned - 3))) >= 0:
            events.append(parse_event(pending[:end]))
            pending, scanned = pending[end:], 0
        scanned = len(pending)
    return [event for event in events if event.data is not None]


@given(MIXED | UNIFORM, st.booleans())
def test_events_are_those_of_the_standard(stream: bytes, bom: bool) -> None:
    """LF, CR LF, CR and all mixed, in one read and in reads of any size."""
    stream = b"\xef\xbb\xbf" * bom + stream
    expected = [ServerEvent(name, data) for name, data in dispatched(stream)]
    for pieces in range(1, max(len(stream), 1) + 1):
        assert read(stream, pieces) == expected


@pytest.mark.parametrize(
    ("buffer", "start", "end"),
    [
        (b"", 0, -1),
        (b"data: a\n", 0, -1),
        (b"data: a\n\n", 0, 9),
        (b"data: a\n\ndata: b\n\n", 9, 18),
        (b"a\r\n\r\n", 0, 5),
        (b"a\r\n\r", 0, 4),
        (b"a\r\n\r\nb\n\n", 0, 5),
        (b"a\r\rb\n\n", 0, 3),
        (b"a\rb\n\nc\r\r", 0, 5),
        (b"a\r\nb\r\n", 0, -1),
        (b"a\r\r", 0, 3),
        (b"a\n\r\n", 0, 4),
        (b"a\r\n\n", 0, 4),
        (b"\n\n", 0, 2),
        (b"a\r\n", 0, -1),
        (bytearray(b"a\n\n"), 0, 3),
    ],
)
def test_where_events_end(buffer: bytes | bytearray, start: int, end: int) -> None:
    """Behind two line ends in a row; CR LF is one."""
    assert event_end(buffer, start) == end


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b"data: a\ndata: b\n\n", ServerEvent(b"", b"a\nb")),
        (b"data: a", ServerEvent(b"", b"a")),
        (b"data: a\n:", ServerEvent(b"", b"a")),
        (b"data: a\rdata: b\n\n", ServerEvent(b"", b"a\nb")),
        (b"data: a\r\n", ServerEvent(b"", b"a")),
        (b"data\n\n", ServerEvent(b"", b"")),
        (b"event: x\n\n", ServerEvent(b"x", None)),
        (b"event: x\r\nevent: y\r\ndata: {}\r\n\r\n", ServerEvent(b"y", b"{}")),
        (b": data: a\n\n", ServerEvent(b"", None)),
        (b"\xef\xbb\xbfdata: a\n\n", ServerEvent(b"", b"a")),
        (b"id: 1\nretry: 2\ndata:\ta\n\n", ServerEvent(b"", b"\ta")),
        (b"", ServerEvent(b"", None)),
    ],
)
def test_what_an_event_says(raw: bytes, event: ServerEvent) -> None:
    """Name and data; other fields and comments say nothing."""
    assert parse_event(raw) == event


WORDS = st.text(st.characters(exclude_characters="\r\n")).map(lambda text: text.encode("utf-8", "replace"))


@given(WORDS, WORDS)
def test_written_events_are_read_again(data: bytes, name: bytes) -> None:
    """By the standard's reading, whatever one line of data holds."""
    assert dispatched(format_event(data, name)) == [(name, data)]
    assert parse_event(format_event(data, name)) == ServerEvent(name, data)


def test_written_bytes() -> None:
    """The spelling of all providers: a space behind the colon, LF."""
    assert format_event(b"{}") == b"data: {}\n\n"
    assert format_event(b"{}", b"error") == b"event: error\ndata: {}\n\n"


@given(WORDS)
def test_comments_dispatch_nothing(text: bytes) -> None:
    """Nor do they change the event that follows."""
    assert dispatched(comment(text) + format_event(b"x")) == [(b"", b"x")]
    assert event_end(comment(text), 0) == len(comment(text))
