"""One pool: the bytes of its requests, its TLS, and the names that its failures get."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from gateway.core.errors import GatewayError
from gateway.upstream.pool import Pool, RequestHead, tls_context
from gateway.upstream.settings import PoolSettings, TlsSettings
from tests.provider_answers import unary
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import CHUNKED, JSON, Script, chunk, end, head, raw, reset

HEADERS = {"user-agent": "aigateway/x", "content-type": "application/json"}


def test_the_wire_of_a_request() -> None:
    """Path and query as they are, the host with its port, our headers, the client's, the length, the body."""
    ready = RequestHead(URL("http://h.test:81/v1/chat?api-version=2&x=%2F"), {"a": "b"})
    assert ready.write({"c": "d"}, b"{}") == (
        b"POST /v1/chat?api-version=2&x=/ HTTP/1.1\r\nhost: h.test:81\r\na: b\r\nc: d\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_the_host_has_no_default_port() -> None:
    """And IPv6 addresses stand in brackets (RFC 9112 §3.2)."""
    for url, host in (("https://h.test/x", b"h.test"), ("http://[::1]:8080/x", b"[::1]:8080")):
        assert b"\r\nhost: " + host + b"\r\n" in RequestHead(URL(url), {}).write({}, b"")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "\x00", "a\x7fb"])
def test_no_header_ends_a_line(value: str) -> None:
    """Neither among those that are ready nor among the client's."""
    with pytest.raises(ValueError, match="control character"):
        RequestHead(URL("http://h/"), {"a": value})
    with pytest.raises(ValueError, match="control character"):
        RequestHead(URL("http://h/"), {}).write({"a": value}, b"")


def test_certificates_are_always_verified(ca_file: Path) -> None:
    """Host names too, from TLS 1.2 on, against the file where one is given."""
    for settings in (TlsSettings(), TlsSettings(ca_file=str(ca_file))):
        context = tls_context(settings)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(tls_context(TlsSettings(ca_file=str(ca_file))).get_ca_certs()) == 1
    with pytest.raises(OSError, match="No such file"):
        tls_context(TlsSettings(ca_file="/nowhere/ca.pem"))


@pytest.mark.parametrize(("scheme", "reads"), [("http", 0), ("https", 1)])
async def test_authorities_are_read_for_tls_alone(monkeypatch: pytest.MonkeyPatch, scheme: str, reads: int) -> None:
    """All of a machine's take hundredths of a second, in which nothing else happens."""
    asked_for: list[TlsSettings] = []

    def read(settings: TlsSettings) -> ssl.SSLContext:
        asked_for.append(settings)
        return tls_context(settings)

    monkeypatch.setattr("gateway.upstream.pool.tls_context", read)
    made = Pool("p", URL(f"{scheme}://127.0.0.1"), PoolSettings(), TlsSettings(), spliced=False)
    await made.close()
    assert asked_for == [TlsSettings()] * reads


@pytest.fixture(params=[True, False], ids=["spliced", "plain"])
async def pool(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> AsyncIterator[Pool]:
    """A pool to the upstream."""
    made = Pool("p", URL(upstream.url), PoolSettings(warm=2), TlsSettings(), spliced=request.param)
    yield made
    await made.close()


@pytest.fixture
async def to(upstream: ScriptedUpstream) -> RequestHead:
    """The head of requests to the upstream."""
    return RequestHead(URL(upstream.url + "/v1/x?y=z"), HEADERS)


async def test_both_ways_send_the_same_request(pool: Pool, to: RequestHead, upstream: ScriptedUpstream) -> None:
    """Exactly the given headers, the body as it is, however large."""
    upstream.always(unary({"ok": 1}))
    for body in (b"{}", b"x" * 3_000_000):
        response = await pool.post(to, {"accept": "text/plain"}, body)
        assert await pool.read(response, 100) == b'{"ok": 1}'
        seen = upstream.requests[-1]
        assert (seen.path, seen.body) == ("/v1/x?y=z", body)
        names = {name.lower() for name, _ in seen.headers}
        assert names == {"host", "user-agent", "content-type", "accept", "content-length"}
    assert upstream.accepted_connections == 1


async def read_all(pool: Pool, to: RequestHead) -> bytes:
    """An answer to its end, or the connection closed: what the line does with each."""
    response = await pool.post(to, {}, b"")
    try:
        return await pool.read(response, 100)
    finally:
        response.close()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([reset()], "provider_error"),
        ([raw(b"nonsense\r\n\r\n"), reset()], "provider_error"),
        ([head(200, JSON, CHUNKED), chunk(b"{"), reset()], "provider_error"),
        ([head(200, JSON, ("Content-Length", "9")), raw(b"{"), reset()], "provider_error"),
    ],
)
async def test_failures_have_names(
    pool: Pool, to: RequestHead, upstream: ScriptedUpstream, script: Script, code: str
) -> None:
    """What aiohttp raises becomes one of our errors, without a word of what was on the wire."""
    upstream.always(script)
    with pytest.raises(GatewayError, match="The provider p broke off") as caught:
        await read_all(pool, to)
    assert caught.value.code == code
    assert "nonsense" not in caught.value.message


async def test_a_provider_that_is_away(pool: Pool, to: RequestHead, upstream: ScriptedUpstream) -> None:
    """A refused connection is told apart: it concerns the way there."""
    await upstream.refuse()
    with pytest.raises(GatewayError, match="cannot be reached") as caught:
        await pool.post(to, {}, b"")
    assert caught.value.code == "connect_failed"
    assert await pool.warm_up() == 0


async def test_the_callers_deadline_stays_the_callers(pool: Pool, to: RequestHead, upstream: ScriptedUpstream) -> None:
    """A timeout from outside is no failure of the provider's that the pool could name."""
    upstream.always([head(200, JSON, CHUNKED), chunk(b"{"), reset()])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await pool.post(to, {}, b"")


async def test_reading_up_to_a_limit(pool: Pool, to: RequestHead, upstream: ScriptedUpstream) -> None:
    """A body within the limit is read to its end; a longer one no further than needed."""
    upstream.next(unary("x" * 98), [head(200, JSON, CHUNKED), *[chunk(b"y" * 60)] * 3, end()])
    assert len(await pool.read(await pool.post(to, {}, b""), 100)) == 100
    response = await pool.post(to, {}, b"")
    assert 100 <= len(await pool.read(response, 100)) <= 180
    response.close()


async def test_warm_connections_are_counted(pool: Pool, upstream: ScriptedUpstream) -> None:
    """As idle, until they are used."""
    assert await pool.warm_up() == 2
    await upstream.until_open(2)
    assert (pool.in_use(), pool.idle()) == (0, 2)
