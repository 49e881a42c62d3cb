"""Request bodies before they are JSON: how large, how packed, how framed, and who is told to go on sending."""

import gzip
import json
import logging
import zlib

import pytest

from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer
from tests.raw_client import Answer, RawClient, request_wire
from tests.raw_http import fields_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, BEARER, CHAT, JSON_TYPE, Front, error_of, open_front

LIMIT_BYTES = 1024 * 1024
SMALL = "max_body_mb: 1"
BODY = json.dumps(ASK).encode()
CONTINUE = ("Expect", "100-continue")


def padded(size_bytes: int) -> bytes:
    """A good request of exactly this size."""
    return BODY + b" " * (size_bytes - len(BODY))


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def chat_wire(*headers: tuple[str, str], body: bytes | None = None) -> bytes:
    return request_wire("POST", CHAT, ("Host", "gateway"), JSON_TYPE, *BEARER, *headers, body=body)


async def refusal(front: Front, wire: bytes) -> Answer:
    """The answer to a request that must be refused and end its connection."""
    async with await RawClient.connect(front.url) as client:
        client.transport.write(wire)
        answer = await client.answer()
        assert answer.head.get("connection") == "close"
        return answer


async def test_announced_size_is_refused_at_once(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """413 on the declared length: of 1 GiB not a byte needs to come."""
    front = await open_front(make_gateway, upstream, server=SMALL)
    for announced in (2**30, LIMIT_BYTES + 1):
        answer = await refusal(front, chat_wire(("Content-Length", str(announced))))
        assert (answer.status, error_of(answer)["code"]) == (413, "request_too_large")
        assert "server.max_body_mb" in error_of(answer)["message"]
    assert upstream.requests == []


async def test_largest_body_passes(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """The limit itself is allowed, with a length and chunked, and reaches the provider byte for byte."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, server=SMALL)
    body = padded(LIMIT_BYTES)
    assert (await front.tell(chat_wire(body=body))).status == 200
    assert (
        await front.tell(chat_wire(("Transfer-Encoding", "chunked"), body=chunked(body[:9], body[9:])))
    ).status == 200
    assert [request.body for request in upstream.requests] == [body, body]


@pytest.mark.parametrize("spliced", [True, False])
async def test_ten_megabytes_of_prompt_pass(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, spliced: bool
) -> None:
    """A prompt with images is large; it goes through unchanged, on either path."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, start={"spliced": spliced})
    body = json.dumps({**ASK, "messages": [{"role": "user", "content": "tokén " * 1_700_000}]}).encode()
    assert len(body) > 10 * 1024 * 1024
    assert (await front.post(CHAT, body)).status == 200
    assert upstream.requests[0].body == body


async def test_chunked_body_is_refused_where_it_passes_the_limit(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """Without a declared length the limit acts on what came: the client is not heard to its end."""
    front = await open_front(make_gateway, upstream, server=SMALL)
    too_large = chunked(padded(LIMIT_BYTES), b" ")[: -len(b"0\r\n\r\n")]
    answer = await refusal(front, chat_wire(("Transfer-Encoding", "chunked"), body=too_large))
    assert (answer.status, error_of(answer)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("GZIP", gzip.compress(BODY)),
    ],
    ids=["gzip", "deflate", "identity", "GZIP"],  # packed bytes hold the time of day, and xdist compares names
)
async def test_packed_body_is_unpacked(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, coding: str, packed: bytes
) -> None:
    """The provider gets the plain body, without the header."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    assert (await front.tell(chat_wire(("Content-Encoding", coding), body=packed))).status == 200
    assert upstream.requests[0].body == BODY
    assert upstream.requests[0].header("content-encoding") is None


async def test_gzip_bomb_is_refused_before_it_unfolds(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """256 MiB of blanks in 250 KB: the limit counts what comes out, and the rest is not unpacked."""
    front = await open_front(make_gateway, upstream, server=SMALL)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(b" " * LIMIT_BYTES) for _ in range(256)) + squeeze.flush()
    answer = await refusal(front, chat_wire(("Content-Encoding", "gzip"), body=bomb))
    assert (answer.status, error_of(answer)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "\x22gzip\x22", "gzip2"])
async def test_unknown_coding_is_refused(make_gateway: MakeGateway, upstream: ScriptedUpstream, coding: str) -> None:
    """415, and the answer names the codings that are understood."""
    front = await open_front(make_gateway, upstream)
    answer = await front.tell(chat_wire(("Content-Encoding", coding), body=BODY))
    assert (answer.status, error_of(answer)["code"]) == (415, "unsupported_media_type")
    assert "gzip" in error_of(answer)["message"]


@pytest.mark.parametrize("credential", ["a good key", "no key"])
async def test_body_that_is_not_what_its_coding_says_is_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, credential: str
) -> None:
    """4xx and no traceback, with a key and without: nobody can flood the log so."""
    front = await open_front(make_gateway, upstream)
    headers = (*(BEARER if credential == "a good key" else ()), ("Content-Encoding", "gzip"))
    async with await RawClient.connect(front.url) as client:
        await client.send(request_wire("POST", CHAT, ("Host", "gateway"), *headers, body=BODY))
        assert (await client.answer()).status == (400 if credential == "a good key" else 401)
        await client.to_end()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
async def test_other_media_types_are_refused(make_gateway: MakeGateway, upstream: ScriptedUpstream, kind: str) -> None:
    """Only JSON is asked; a form cannot be posted from a web page either."""
    front = await open_front(make_gateway, upstream)
    wire = request_wire("POST", CHAT, ("Host", "gateway"), ("Content-Type", kind), *BEARER, body=BODY)
    answer = await front.tell(wire)
    assert (answer.status, error_of(answer)["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", None])
async def test_json_is_accepted_however_it_is_named(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, kind: str | None
) -> None:
    """With parameters, in other letters, or unsaid."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    named = () if kind is None else (("Content-Type", kind),)
    assert (await front.tell(request_wire("POST", CHAT, ("Host", "g"), *named, *BEARER, body=BODY))).status == 200


@pytest.mark.parametrize("coding", ["gzip, chunked", "deflate, chunked", "x, chunked"])
async def test_transfer_codings_are_refused(make_gateway: MakeGateway, upstream: ScriptedUpstream, coding: str) -> None:
    """501 for all but exactly `chunked` (RFC 9112 §6.1): what a proxy before us unpacks, we would not."""
    front = await open_front(make_gateway, upstream)
    answer = await refusal(front, chat_wire(("Transfer-Encoding", coding), body=chunked(BODY)))
    assert (answer.status, error_of(answer)["code"]) == (501, "unsupported_transfer_coding")
    assert upstream.requests == []


async def test_chunk_extensions_and_trailers_are_no_part_of_the_body(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """They end here: the provider gets the payload with a length."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    body = b"%x;name=value\r\n%b\r\n0\r\n" % (len(BODY), BODY) + fields_wire([("X-Trailer", "x")]) + b"\r\n"
    assert (await front.tell(chat_wire(("Transfer-Encoding", "chunked"), body=body))).status == 200
    (request,) = upstream.requests
    assert (request.body, request.header("content-length")) == (BODY, str(len(BODY)))
    assert request.header("x-trailer") is None


async def test_client_that_waits_is_told_to_go_on(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`Expect: 100-continue`: the interim answer comes before any byte of the body, the final one after it."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    for headers, body in (
        (("Content-Length", str(len(BODY))), BODY),
        (("Transfer-Encoding", "chunked"), chunked(BODY)),
    ):
        async with await RawClient.connect(front.url) as client:
            await client.send(chat_wire(CONTINUE, headers))
            interim = await client.head()
            assert interim is not None
            assert interim.raw == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert (await client.answer()).status == 200
    assert [request.body for request in upstream.requests] == [BODY, BODY]
    assert upstream.requests[0].header("expect") is None


@pytest.mark.parametrize(
    ("case", "status"),
    [("no key", 401), ("too large", 413), ("another coding", 415), ("another expectation", 417), ("two", 417)],
)
async def test_client_that_waits_is_refused_before_it_sends(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, case: str, status: int
) -> None:
    """What is wrong with the head is said without an interim answer: the body stays where it is."""
    front = await open_front(make_gateway, upstream, server=SMALL)
    headers = {
        "no key": (CONTINUE, ("Content-Length", "9")),
        "too large": (*BEARER, CONTINUE, ("Content-Length", str(2**30))),
        "another coding": (*BEARER, CONTINUE, ("Content-Encoding", "compress"), ("Content-Length", "9")),
        "another expectation": (*BEARER, ("Expect", "200-ok"), ("Content-Length", "9")),
        "two": (*BEARER, CONTINUE, ("Expect", "x"), ("Content-Length", "9")),
    }[case]
    async with await RawClient.connect(front.url) as client:
        await client.send(request_wire("POST", CHAT, ("Host", "gateway"), *headers))
        first = await client.head()
    assert first is not None
    assert first.status == status


async def test_nobody_else_gets_an_interim_answer(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """HTTP/1.0 has none, and a body that is here already needs none (RFC 9110 §10.1.1)."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    old = chat_wire(CONTINUE, ("Content-Length", str(len(BODY)))).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with await RawClient.connect(front.url) as client:
        await client.send(old, BODY)
        first = await client.head()
        assert first is not None
        assert first.status == 200
    async with await RawClient.connect(front.url) as client:
        client.transport.write(chat_wire(CONTINUE, body=BODY))
        first = await client.head()
        assert first is not None
        assert first.status == 200
