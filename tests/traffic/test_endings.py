"""How an answer ended, by its status and its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.traffic.cast import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Question
from gateway.traffic.endings import MAX_LINE_BYTES, Ending, StreamWatch, ending_of, word_of

STREAMS = {
    "chat": (Question(CHAT, "m"), b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"),
    "chat, CRLF": (Question(CHAT, "m"), b'data: {"choices":[]}\r\n\r\n', b"data: [DONE]\r\n\r\n"),
    "messages": (Question(MESSAGES, "m"), b"event: message_start\ndata: {}\n\n", b"event: message_stop\ndata: {}\n\n"),
    "responses": (
        Question(RESPONSES, "m"),
        b"event: response.created\ndata: {}\n\n",
        b"event: response.completed\ndata: {}\n\n",
    ),
}


@given(stream=st.sampled_from(list(STREAMS)), cuts=st.lists(st.integers(0, 100)), is_whole=st.booleans())
def test_stream(stream: str, cuts: list[int], is_whole: bool) -> None:
    """Whole with its closing event and broken without, wherever it is cut."""
    question, begin, closing = STREAMS[stream]
    wire = begin + (closing if is_whole else b'data: {"error":{}}\n\n')
    watch = StreamWatch(question)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(wire)], strict=True):
        watch.feed(wire[start:end])
    assert watch.ending is (Ending.WHOLE if is_whole else Ending.BROKEN)


def test_words_of_an_answer_are_not_its_end() -> None:
    """A model may well write about closing events."""
    watch = StreamWatch(Question(CHAT, "m"))
    watch.feed(b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n')
    assert watch.ending is Ending.BROKEN


def test_a_line_without_end_is_not_kept() -> None:
    """A stream of anything does not fill the memory."""
    watch = StreamWatch(Question(CHAT, "m"))
    for _ in range(8):
        watch.feed(b"x" * MAX_LINE_BYTES)
    assert len(watch._line) == MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("route", "status", "body", "expected"),
    [
        (CHAT, 200, b'{"choices":[]}', (Ending.WHOLE, "")),
        (CHAT, 200, b"<html>", (Ending.BROKEN, "no answer")),
        (EMBEDDINGS, 200, b'{"data":[{"embedding":[0.1]}]}', (Ending.WHOLE, "")),
        (EMBEDDINGS, 200, b"{}", (Ending.BROKEN, "no answer")),
        (CHAT, 429, b'{"error":{"code":"rate_limited","type":"x"}}', (Ending.REFUSED, "rate_limited")),
        (MESSAGES, 402, b'{"type":"error","error":{"type":"billing_error"}}', (Ending.REFUSED, "billing_error")),
        (CHAT, 502, b"Bad Gateway", (Ending.FAILED, "502")),
        (CHAT, 503, b'{"error":{"code":"circuit_open"}}', (Ending.FAILED, "circuit_open")),
        (CHAT, 307, b"", (Ending.UNREACHABLE, "307")),
    ],
)
def test_answer(route: str, status: int, body: bytes, expected: tuple[Ending, str]) -> None:
    """Success, refusal, failure, and whatever is none of them."""
    question = next(Question(known, "m") for known in (CHAT, EMBEDDINGS, MESSAGES) if known == route)
    assert ending_of(question, status, body) == expected


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error":"text"}', b'{"error":{"code":7}}', b"\xff"])
def test_no_word(body: bytes) -> None:
    """Where an error says nothing that can be counted."""
    assert word_of(body) == ""
