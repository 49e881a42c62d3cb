"""Bodies and queries as they come over a socket: bounded, strict, and never quoted."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from aiohttp import web
from multidict import MultiDict

from gateway.admin.reading import MAX_BODY_BYTES, read_document, read_query
from gateway.admin.refusals import AdminError
from tests.admin.house import served
from tests.raw_client import Answer, RawClient, request_wire

JSON = ("Content-Type", "application/json")
SECRET = "agw-secret-in-a-body"


async def echo(request: web.BaseRequest) -> web.Response:
    """Answers with the document that was read."""
    try:
        document = await read_document(request, "yaml" if request.path == "/yaml" else None)
    except AdminError as error:
        body = error.answer.model_dump_json().encode()
        return web.Response(status=error.kind.status, body=body, headers=error.headers)
    return web.json_response(document)


async def tell(*wire: bytes) -> Answer:
    """Sends pieces to the echo, each as a read of its own, and reads the answer."""
    async with served(echo) as url, await RawClient.connect(url) as client:
        await client.send(*wire)
        return await client.answer()


async def post(body: bytes, *headers: tuple[str, str], path: str = "/") -> Answer:
    """Posts a body to the echo."""
    return await tell(request_wire("POST", path, ("Host", "gateway"), *headers, body=body))


@pytest.mark.parametrize(
    ("body", "document"),
    [(b"", {}), (b" \n", {}), (b"{}", {}), (b'{"a": [1, "\xc3\xbc"]}', {"a": [1, "ü"]})],
)
async def test_a_json_object_or_nothing_is_read(body: bytes, document: dict[str, Any]) -> None:
    """With its media type, with parameters on it, or without one."""
    for headers in ((), (JSON,), (("Content-Type", "Application/JSON; charset=utf-8"),)):
        answer = await post(body, *headers)
        assert (answer.status, answer.json()) == (200, document)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"x"',
        b"null",
        b"{",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e}',
        b'{"a": 1234567890123456789}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe",
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"secret": "' + SECRET.encode(),
    ],
    ids=range(12),
)
async def test_other_documents_are_refused_and_not_quoted(body: bytes) -> None:
    """Duplicates, what JSON does not know, what no character is, what is too deep."""
    answer = await post(body, JSON)
    assert answer.status == 400
    assert answer.json()["error"]["message"].startswith("The request body ")
    assert SECRET not in answer.body.decode()


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml; charset=utf-8", "Text/Plain", "application/x-yaml"])
async def test_yaml_is_taken_where_it_is_meant(kind: str) -> None:
    """As a text, unparsed, a byte order mark or not; elsewhere it is another media type."""
    body = b"\xef\xbb\xbfserver: {port: 1}\n"
    taken = await post(body, ("Content-Type", kind), path="/yaml")
    assert taken.json() == {"yaml": "server: {port: 1}\n"}
    assert (await post(body, ("Content-Type", kind))).status == 415
    assert (await post(b"\xff", ("Content-Type", kind), path="/yaml")).status == 400
    assert (await post(b'{"yaml": "a"}', JSON, path="/yaml")).json() == {"yaml": "a"}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/html", "", "multipart/form-data"])
async def test_other_kinds_are_refused(kind: str) -> None:
    """With the one to send."""
    answer = await post(b"a=b", ("Content-Type", kind))
    assert answer.status == 415
    assert "application/json" in answer.json()["error"]["message"]


async def test_the_largest_body_is_read_and_the_next_is_not() -> None:
    """By its declared length, without a byte of it."""
    filler = json.dumps({"a": "x" * (MAX_BODY_BYTES - 9)}).encode()
    assert len(filler) == MAX_BODY_BYTES
    assert (await post(filler, JSON)).status == 200
    declared = request_wire("POST", "/", ("Host", "g"), JSON, ("Content-Length", str(MAX_BODY_BYTES + 1)))
    answer = await tell(declared)
    assert (answer.status, answer.head.get("connection")) == (413, "close")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_is_packed_is_bounded_unpacked(coding: str) -> None:
    """A megabyte of nothing packs into a kilobyte."""
    pack = gzip.compress if coding == "gzip" else zlib.compress
    small, large = pack(b'{"a": 1}'), pack(b" " * 50 * MAX_BODY_BYTES)
    assert len(large) < MAX_BODY_BYTES
    assert (await post(small, JSON, ("Content-Encoding", coding))).json() == {"a": 1}
    assert (await post(large, JSON, ("Content-Encoding", coding))).status == 413


async def test_chunks_without_end_are_bounded() -> None:
    """No length is declared, so what comes is counted."""
    head = request_wire("POST", "/", ("Host", "g"), JSON, ("Transfer-Encoding", "chunked"))
    chunk = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
    assert (await tell(head, *[chunk] * 5)).status == 413


@pytest.mark.parametrize(
    ("header", "status"),
    [(("Content-Encoding", "compress"), 415), (("Expect", "the best"), 417), (("Content-Encoding", "gzip"), 400)],
)
async def test_a_head_that_cannot_be_obeyed_is_refused(header: tuple[str, str], status: int) -> None:
    """Codings that nobody unpacks here, expectations that nobody meets, and what is not packed as it says."""
    assert (await post(b"{}", JSON, header)).status == status


async def test_who_waits_is_told_to_go_on() -> None:
    """Once, before the body (RFC 9110, section 10.1.1)."""
    head = request_wire("POST", "/", ("Host", "g"), JSON, ("Expect", "100-continue"), ("Content-Length", "2"))
    async with served(echo) as url, await RawClient.connect(url) as client:
        await client.send(head)
        interim = await client.head()
        assert interim is not None and interim.status == 100
        await client.send(b"{}")
        assert (await client.answer()).status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """408, and the connection closed, since nobody knows where the next request begins."""
    monkeypatch.setattr("gateway.admin.reading.BODY_S", 0.01)
    answer = await tell(request_wire("POST", "/", ("Host", "g"), JSON, ("Content-Length", "9")), b"{")
    assert (answer.status, answer.head.get("connection")) == (408, "close")


async def test_a_client_that_leaves_in_its_body_is_nobody_s_error() -> None:
    """The work ends with it; what would be answered reaches nobody."""
    left = asyncio.Event()

    async def wait(request: web.BaseRequest) -> web.Response:
        try:
            return await echo(request)
        finally:
            left.set()

    async with served(wait) as url, await RawClient.connect(url) as client:
        await client.send(request_wire("POST", "/", ("Host", "g"), JSON, ("Content-Length", "9")), b"{")
        await client.reset()
        async with asyncio.timeout(10):
            await left.wait()


class Query:
    """What of a request a query is."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.query = MultiDict(pairs)


def query(*pairs: tuple[str, str]) -> dict[str, str]:
    """Reads a query that takes `from` and `limit`."""
    request: Any = Query(*pairs)
    return read_query(request, ("from", "limit"))


def test_a_query_is_read() -> None:
    """Each parameter at most once."""
    assert query() == {}
    assert query(("limit", "1"), ("from", "")) == {"limit": "1", "from": ""}


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([("form", "1")], "The query has no parameter named 'form'. Did you mean from? It takes from, limit."),
        ([("zzz", "1")], "The query has no parameter named 'zzz'. It takes from, limit."),
        ([("", "")], "The query has no parameter named ''. It takes from, limit."),
        ([("a\r\nb", "")], "The query has no parameter named 'a\\r\\nb'. It takes from, limit."),
        ([("x" * 10_000, "")], f"The query has no parameter named '{'x' * 100}'. It takes from, limit."),
        ([("limit", "1"), ("limit", "1")], "The query has limit more than once: send it once."),
    ],
    ids=range(6),
)
def test_what_a_query_does_not_take_is_refused(pairs: list[tuple[str, str]], sentence: str) -> None:
    """By name, as far as that can be shown."""
    with pytest.raises(AdminError) as refusal:
        query(*pairs)
    assert refusal.value.answer.error.message == sentence


def test_a_query_of_nothing_says_so() -> None:
    """Where there is no parameter to name."""
    request: Any = Query(("limit", "1"))
    with pytest.raises(AdminError) as refusal:
        read_query(request, ())
    assert refusal.value.answer.error.message.endswith("It takes none.")
