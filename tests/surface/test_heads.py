"""Requests that are not HTTP/1.1 as written: refused in JSON, nothing echoed, nothing traced, the connection closed."""

import json
import logging

import pytest

from gateway import __version__
from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, BEARER, CHAT, JSON_TYPE, KEY, error_of, open_front

SECRET = "the-prompt-that-nobody-may-see"
GET = b"GET /v1/models HTTP/1.1\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
HEAD = f"Host: gateway\r\nAuthorization: Bearer {KEY}\r\nX-Note: {SECRET}\r\n".encode()
END = b"\r\n"
BODY = b"5\r\nabcde\r\n0\r\n\r\n"

MALFORMED: dict[str, bytes] = {
    "Content-Length and Transfer-Encoding": POST + HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding and Content-Length": POST + HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "Content-Length twice": POST + HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "different Content-Lengths": POST + HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a list of lengths": POST + HEAD + b"Content-Length: 5, 5\r\n\r\nabcde",
    "a signed length": POST + HEAD + b"Content-Length: +5\r\n\r\nabcde",
    "a negative length": POST + HEAD + b"Content-Length: -5\r\n\r\nabcde",
    "a hexadecimal length": POST + HEAD + b"Content-Length: 0x5\r\n\r\nabcde",
    "a length beyond 64 bits": POST + HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a blank before the colon": POST + HEAD + b"Content-Length : 5\r\n\r\nabcde",
    "Transfer-Encoding twice": POST + HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + END + BODY,
    "chunked, chunked": POST + HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + BODY,
    "chunked, identity": POST + HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + BODY,
    "chunked in quotes": POST + HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n' + BODY,
    "identity": POST + HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "a folded line": GET + HEAD + b"X-A: b\r\n c\r\n\r\n",
    "bare LF": GET.replace(b"\r\n", b"\n") + HEAD.replace(b"\r\n", b"\n") + b"\n",
    "bare LF in the head": GET + b"Host: gateway\nX-Note: " + SECRET.encode() + b"\r\n\r\n",
    "bare CR": GET + HEAD + b"X-A: b\rX-B: c\r\n\r\n",
    "NUL": GET + HEAD + b"X-A: a\0b\r\n\r\n",
    "no name": GET + HEAD + b": value\r\n\r\n",
    "no colon": GET + HEAD + SECRET.encode() + b"\r\n\r\n",
    "a control character in the name": GET + HEAD + b"X\x01: a\r\n\r\n",
    "a method with a bracket": b"GE(T /v1/models HTTP/1.1\r\n" + HEAD + END,
    "an unknown method": b"FROB /v1/models HTTP/1.1\r\n" + HEAD + END,
    "a method in small letters": b"get /v1/models HTTP/1.1\r\n" + HEAD + END,
    "no method": b" /v1/models HTTP/1.1\r\n" + HEAD + END,
    "HTTP/0.9": b"GET /v1/models HTTP/0.9\r\n" + HEAD + END,
    "HTTP/1.2": b"GET /v1/models HTTP/1.2\r\n" + HEAD + END,
    "HTTP/2.0": b"GET /v1/models HTTP/2.0\r\n" + HEAD + END,
    "HTTP/3.0": b"GET /v1/models HTTP/3.0\r\n" + HEAD + END,
    "another protocol": b"GET /v1/models HTTQ/1.1\r\n" + HEAD + END,
    "no version": b"GET /v1/models\r\n" + HEAD + END,
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECRET.encode(),
    "no Host": GET + f"Authorization: Bearer {KEY}\r\n\r\n".encode(),
    "two Hosts": GET + HEAD + b"Host: other\r\n\r\n",
    "bytes in the target": b"GET /v1/models/\xff\xfe HTTP/1.1\r\n" + HEAD + END,
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET.encode() + b"\r\n\r\n",
    "a chunk size that is none": POST + HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + SECRET.encode(),
    "a chunk longer than it says": POST + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "bare LF after a chunk size": POST + HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
}
TOO_LARGE: dict[str, bytes] = {
    "a line of 40 KB": GET + HEAD + b"X-A: " + SECRET.encode() * 1400 + b"\r\n\r\n",
    "a name of 40 KB": GET + HEAD + b"X-" + b"a" * 40_000 + b": b\r\n\r\n",
    "a target of 40 KB": b"GET /" + SECRET.encode() * 1400 + b" HTTP/1.1\r\n" + HEAD + END,
    "200 lines": GET + HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + END,
}


@pytest.mark.parametrize(
    ("wire", "statuses"),
    [
        *(pytest.param(wire, {400}, id=name) for name, wire in MALFORMED.items()),
        *(pytest.param(wire, {431}, id=name) for name, wire in TOO_LARGE.items()),
    ],
)
async def test_malformed_head_is_refused(
    make_gateway: MakeGateway,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    wire: bytes,
    statuses: set[int],
) -> None:
    """4xx as JSON and the end of the connection; of the bytes nothing comes back and nothing is logged."""
    front = await open_front(make_gateway, upstream)
    caplog.set_level(logging.DEBUG)
    async with await RawClient.connect(front.url) as client:
        client.transport.write(wire)
        answer = await client.answer()
        assert await client.to_end() == b""
    assert answer.status in statuses
    assert error_of(answer)["code"] in {"malformed_http", "header_too_large"}
    assert answer.head.get("connection") == "close"
    assert answer.head.get("server") == f"aigateway/{__version__}"
    logged = caplog.text + front.written.getvalue()
    for shown in (answer.head.raw.decode() + answer.body.decode(), logged):
        assert KEY not in shown
        assert SECRET not in shown
    assert "Traceback" not in logged
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert upstream.requests == []


async def test_a_malformed_request_behind_a_good_one_changes_nothing_of_its_answer(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """One answer and the end, whoever counts the body's end otherwise: no second request can hide in it."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    good = request_wire("POST", CHAT, ("Host", "gateway"), JSON_TYPE, *BEARER, body=json.dumps(ASK).encode())
    async with await RawClient.connect(front.url) as client:
        client.transport.write(good + b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n")
        answer = await client.answer()
        assert await client.to_end() == b""
    assert answer.status == 400
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("CONNECT", "provider.example:443"),
        ("CONNECT", "127.0.0.1:1"),
        ("TRACE", "/v1/models"),
        ("TRACE", "/nowhere"),
        ("TRACE", "http://provider.example/v1/models"),
    ],
)
async def test_connect_and_trace_are_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, method: str, target: str
) -> None:
    """No tunnel and no echo: 405 and the end of the connection."""
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.send(request_wire(method, target, ("Host", "gateway"), *BEARER))
        answer = await client.answer()
        assert await client.to_end() == b""
    assert (answer.status, answer.head.get("connection")) == (405, "close")
    assert answer.head.get("allow") == "GET, HEAD, POST"
    assert KEY.encode() not in answer.body


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "tcp"])
async def test_upgrade_is_not_made(make_gateway: MakeGateway, upstream: ScriptedUpstream, protocol: str) -> None:
    """The wish is ignored (RFC 9110 §7.8): HTTP/1.1 goes on, and the body ends where its length says."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    upgrade = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", protocol), ("HTTP2-Settings", "AAMAAABk"))
    wire = request_wire("POST", CHAT, ("Host", "gateway"), JSON_TYPE, *BEARER, *upgrade, body=json.dumps(ASK).encode())
    async with await RawClient.connect(front.url) as client:
        for _ in range(2):
            await client.send(wire)
            assert (await client.answer()).status == 200
    assert [request.json() for request in upstream.requests] == [ASK, ASK]


async def test_absolute_target_names_no_other_place(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`GET http://elsewhere/v1/models` is our own route: the gateway is nobody's forward proxy."""
    front = await open_front(make_gateway, upstream)
    answer = await front.get("http://elsewhere.example/v1/models")
    assert [model["id"] for model in answer.json()["data"]] == ["gpt-4o-mini", "claude-sonnet-4-5"]
