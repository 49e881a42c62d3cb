"""The chunked coding fed whole, byte by byte and cut everywhere; everything malformed refused in every split."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.framing import (
    LAST_CHUNK,
    MAX_LINE_BYTES,
    MAX_TRAILER_BYTES,
    SHORT_LINE_BYTES,
    ChunkDecoder,
    FramingError,
    chunk,
    chunk_size,
    is_whole_events,
    parse_chunk_size,
)

# body, payload, what follows the body
BODIES = [
    (b"0\r\n\r\n", b"", b""),
    (b"000\r\n\r\nHTTP/1.1 200", b"", b"HTTP/1.1 200"),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc", b""),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, b""),
    (b"00000000000000a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b""),
    (b"2;name=value\r\n\r\n\r\n0\r\n\r\n", b"\r\n", b""),
    (b'1 \t;a="b";c\r\nx\r\n1;\r\ny\r\n0;last\r\n\r\n', b"xy", b""),
    (b"2 \r\nab\r\n0 \r\n\r\n\r\n", b"ab", b"\r\n"),
    (b"1\r\nx\r\n0\r\nExpires: never\r\nX-Empty:\r\n\r\nmore", b"x", b"more"),
    (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\n\r\n"),
]
BIG = MAX_LINE_BYTES
MALFORMED = {
    "prefix": b"0x3\r\nabc\r\n",
    "plus": b"+3\r\nabc\r\n",
    "minus": b"-3\r\nabc\r\n",
    "underscore": b"0_3\r\nabc\r\n",
    "space before": b" 3\r\nabc\r\n",
    "space within": b"1 0\r\nabc\r\n",
    "vertical tab": b"3\x0b\r\nabc\r\n",
    "no digit": b"g\r\nabc\r\n",
    "other digits": "\u0663\r\nabc\r\n".encode(),
    "empty size": b"\r\nabc\r\n",
    "no size before the extension": b";a=b\r\nabc\r\n",
    "sixteen digits": b"0000000000000003\r\nabc\r\n",
    "bare LF": b"3\nabc\r\n",
    "bare LF in the second line": b"1\r\na\r\n3\nabc",
    "CR within": b"3\r;\r\nabc\r\n",
    "CR CR LF": b"3\r\r\nabc\r\n",
    "payload longer than its size": b"3\r\nabcd\r\n",
    "payload end without CR": b"3\r\nabc\n0\r\n\r\n",
    "payload end without LF": b"3\r\nabc\rx0\r\n\r\n",
    "chunk follows at once": b"3\r\nabc3\r\nabc\r\n",
    "size line too long": b"3;" + b"x" * (BIG - 3) + b"\r\nabc\r\n",
    "size line without end": b"3;" + b"x" * (BIG - 1),
    "trailer with a bare LF": b"0\r\nA: b\n\r\n",
    "trailer line too long": b"0\r\nA: " + b"x" * BIG + b"\r\n\r\n",
    "trailers too long": b"0\r\n" + (b"A: " + b"x" * 1000 + b"\r\n") * (MAX_TRAILER_BYTES // 1003 + 1) + b"\r\n",
}


def fed(parts: Iterable[bytes]) -> tuple[bytes, bool, bytes]:
    """Payload, whether the body is over, and what followed it."""
    decoder = ChunkDecoder()
    payload = b"".join(decoder.feed(part) for part in parts)
    return payload, decoder.done, decoder.excess


def splits(raw: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two at every position."""
    bytewise = [raw[at : at + 1] for at in range(len(raw))]
    return [[raw], bytewise, *([raw[:at], raw[at:]] for at in range(len(raw)))]


@pytest.mark.parametrize(("raw", "payload", "excess"), BODIES)
def test_a_body_reads_the_same_in_any_split(raw: bytes, payload: bytes, excess: bytes) -> None:
    """Extensions and trailers are read over; upper and lower case and leading zeros are sizes too."""
    for parts in splits(raw):
        assert fed(parts) == (payload, True, excess)


@pytest.mark.parametrize(("raw", "payload", "excess"), BODIES)
def test_a_body_cut_short_is_not_done(raw: bytes, payload: bytes, excess: bytes) -> None:
    """Up to the last CRLF of the trailer section the body goes on; its payload is a prefix until then."""
    end = len(raw) - len(excess)
    for length in range(end):
        got, done, behind = fed([raw[:length]])
        assert payload.startswith(got)
        assert not done
        assert behind == b""


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed_framing_is_refused_in_any_split(raw: bytes) -> None:
    """What a lenient parser would read as something else."""
    parts_of = splits(raw) if len(raw) < 100 else [[raw], [raw[at : at + 1] for at in range(len(raw))]]
    for parts in parts_of:
        with pytest.raises(FramingError):
            fed(parts)


def before_the_fault(parts: Iterable[bytes]) -> bytes:
    """All payload that a broken body gives."""
    decoder, payload = ChunkDecoder(), b""
    try:
        for part in parts:
            payload += decoder.feed(part)
    except FramingError as fault:
        return payload + fault.payload
    pytest.fail("the body is not broken")


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_what_came_before_a_fault_is_kept_in_any_split(raw: bytes) -> None:
    """Whether it comes with the fault in one read or before it."""
    whole = chunk(b"one") + b"3;x=y\r\ntwo\r\n"
    apart = before_the_fault([whole, *(raw[at : at + 1] for at in range(len(raw)))])
    assert apart.startswith(b"onetwo")
    assert before_the_fault([whole + raw]) == before_the_fault([whole[:5], whole[5:] + raw]) == apart


def test_lines_up_to_the_limit_are_read() -> None:
    """Size lines and trailer lines of exactly the limit, CRLF included, and a trailer section of exactly its own."""
    size = b"3;" + b"x" * (BIG - 4) + b"\r\n"
    trailers = (b"A: " + b"x" * (BIG - 5) + b"\r\n") * 4
    assert len(size) == BIG
    assert len(trailers) - 4 * 2 <= MAX_TRAILER_BYTES
    rest = MAX_TRAILER_BYTES - (len(trailers) - 4 * 2)
    raw = size + b"abc\r\n0\r\n" + trailers + b"x" * rest + b"\r\n\r\n"
    for parts in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        assert fed(parts) == (b"abc", True, b"")
    with pytest.raises(FramingError):
        fed([raw.replace(b"x" * rest + b"\r\n\r\n", b"x" * (rest + 1) + b"\r\n\r\n")])


def test_boundaries_between_chunks() -> None:
    """True exactly where the next byte starts a chunk."""
    raw = b"3\r\nabc\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n"
    decoder = ChunkDecoder()
    at_boundary = [decoder.at_boundary]
    for at in range(len(raw)):
        decoder.feed(raw[at : at + 1])
        at_boundary.append(decoder.at_boundary)
    assert [at for at, stands in enumerate(at_boundary) if stands] == [0, 8, 14]


@pytest.mark.parametrize("read", [parse_chunk_size, chunk_size], ids=["parsed", "remembered"])
def test_chunk_sizes(read: Callable[[bytes], int]) -> None:
    """Fifteen digits at most; the length of what follows the line. Asked twice, the same is said twice."""
    for _ in range(2):
        assert read(b"fffffffffffffff") == 16**15 - 1
        assert read(b'0A;quoted="\xff"') == 10
        with pytest.raises(FramingError):
            read(b"10\r")


@pytest.mark.parametrize(("beyond", "remembered"), [(0, 1), (1, 0)])
def test_only_short_size_lines_are_remembered(beyond: int, remembered: int) -> None:
    """Up to the limit a size is parsed once however often it comes; a peer with long ones fills no memory."""
    line = b"3;" + b"x" * (SHORT_LINE_BYTES - 2 + beyond)
    raw = line + b"\r\nx\n\n\r\n"
    chunk_size.cache_clear()
    for _ in range(3):
        assert fed([raw])[0] == fed([raw[:5], raw[5:]])[0] == b"x\n\n"
        assert is_whole_events(raw) is bool(remembered)
    assert chunk_size.cache_info().misses == chunk_size.cache_info().currsize == remembered


def test_an_empty_payload_has_no_chunk() -> None:
    """It would end the body."""
    assert chunk(b"") == b""
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


SIZES = st.sampled_from(
    [
        b"%x",
        b"%X",
        b"0%x",
        b"000%X",
        b"%x ",
        b"%x;a",
        b'%X\t;a="b";c=d',
        b"%x;a=up-to-eighteen",
        b"%x;a=more-than-eighteen",
    ]
)
TRAILERS = st.lists(st.sampled_from([b"A: b\r\n", b"X:\r\n", b"Digest: sha-256=:x:\r\n"]), max_size=3).map(b"".join)


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), SIZES), max_size=6),
    TRAILERS,
    st.binary(max_size=10),
    st.data(),
)
def test_any_body_in_any_split(
    chunks: list[tuple[bytes, bytes]], trailers: bytes, excess: bytes, draw: st.DataObject
) -> None:
    """Payload, end and excess do not depend on spelling or split."""
    body = b"".join((size % len(payload)) + b"\r\n" + payload + b"\r\n" for payload, size in chunks)
    raw = body + b"0\r\n" + trailers + b"\r\n" + excess
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    parts = [raw[start:stop] for start, stop in pairwise([0, *cuts, len(raw)])]
    assert fed(parts) == (b"".join(payload for payload, _ in chunks), True, excess)


@given(st.lists(st.binary(max_size=300)))
def test_framing_is_undone_by_the_decoder(payloads: list[bytes]) -> None:
    """What :func:`chunk` writes, the decoder reads."""
    raw = b"".join(chunk(payload) for payload in payloads) + LAST_CHUNK
    assert fed([raw]) == (b"".join(payloads), True, b"")


def are_whole_events(data: bytes) -> bool | None:
    """The slow reference of :func:`is_whole_events`; None where it must raise."""
    while data:
        line, line_end, rest = data.partition(b"\r\n")
        if not line_end or len(line) > SHORT_LINE_BYTES:
            return False
        digits = line.split(b";")[0].rstrip(b" \t")
        if not 1 <= len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF") or b"\r" in line or b"\n" in line:
            return None
        size = int(digits, 16)
        payload, data = rest[:size], rest[size + 2 :]
        if len(payload) < size or not payload.endswith(b"\n\n") or rest[size : size + 2] != b"\r\n":
            return False
    return True


EVENTS = st.lists(
    st.sampled_from([b"data: a\n\n", b"\n\n", b"\n", b"data: b\r\n\r\n", b": c\n", b"data: 0\n\n\r\n", b"x"]),
    max_size=3,
).map(b"".join)


@given(st.lists(st.tuples(EVENTS, SIZES), max_size=4), st.data())
def test_whole_events_agree_with_the_slow_way(chunks: list[tuple[bytes, bytes]], draw: st.DataObject) -> None:
    """Whole, cut short, or with a byte changed: the same answer, the same refusals."""
    raw = bytearray(b"".join((size % len(p)) + b"\r\n" + p + b"\r\n" for p, size in chunks))
    if raw and draw.draw(st.booleans()):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.sampled_from(b"\r\n0a;_ x"))
    data = bytes(raw[: draw.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    expected = are_whole_events(data)
    if expected is None:
        with pytest.raises(FramingError):
            is_whole_events(data)
    else:
        assert is_whole_events(data) is expected


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (chunk(b"data: a\n\n"), True),
        (chunk(b"data: a\n\n") + chunk(b"data: b\n\ndata: c\n\n"), True),
        (b"C;x=y\r\ndata: abcd\n\n\r\n", True),
        (chunk(b"data: a\n\n") + LAST_CHUNK, False),
        (LAST_CHUNK, False),
        (chunk(b"data: a\n") + chunk(b"\n"), False),
        (chunk(b"data: a\n\n") + chunk(b"\n"), False),
        (chunk(b"data: a\r\n\r\n"), False),
        (chunk(b"data: a\n\n")[:-1], False),
        (chunk(b"data: a\n\n") + b"9", False),
        (b"7\r\ndata: a\n\n\r\n", False),
        (b"2;" + b"x" * (SHORT_LINE_BYTES - 2) + b"\r\n\n\n\r\n", True),
        (b"2;" + b"x" * (SHORT_LINE_BYTES - 1) + b"\r\n\n\n\r\n", False),
        (b"2;" + b"x" * BIG + b"\r\n\n\n\r\n", False),
    ],
)
def test_whole_events(data: bytes, whole: bool) -> None:
    """Only complete chunks, each ending with an empty line of its own."""
    assert is_whole_events(data) is whole
