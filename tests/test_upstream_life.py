"""The scripted upstream from start to stop: which script answers, what fails the test, how connections come and go."""

import asyncio

import pytest

from tests.provider_answers import unary
from tests.raw_client import RawClient, json_request_wire, request_wire
from tests.raw_connection import EndedEarly
from tests.scripted_upstream import NotAsScripted, ScriptedUpstream
from tests.upstream_script import CHUNKED, Script, close, end, head, raw, wait

GET = request_wire("GET", "/", ("Host", "test"))


async def test_scripts_are_chosen_in_their_order(upstream: ScriptedUpstream) -> None:
    """The queue comes first, then the function, then the model's name, then what is always answered."""
    upstream.next(unary("queued"))
    upstream.for_model("m", unary("model"))
    upstream.always(unary("always"))
    said = []
    async with await RawClient.connect(upstream.url) as client:
        for model in ("m", "m", "other"):
            await client.post("/", {"model": model})
            said.append((await client.answer()).json())
        upstream.by(lambda request: unary(["chosen", request.model]))
        await client.post("/", {"model": "m"})
        said.append((await client.answer()).json())
    assert said == ["queued", "model", "always", ["chosen", "m"]]


@pytest.mark.parametrize(
    ("script", "wire", "message"),
    [
        (None, GET, "no script answers GET /"),
        ([head(200)], GET, "not whole"),
        (unary({}), b"nonsense\r\n\r\n", "no start line"),
        (unary({}), request_wire("POST", "/", CHUNKED, body=b"z\r\n"), "no chunk size"),
    ],
)
async def test_surprises_fail_the_test(script: Script | None, wire: bytes, message: str) -> None:
    """What no script foresaw cuts the connection at once and is raised when the upstream stops."""
    scripted = ScriptedUpstream()
    await scripted.start()
    if script is not None:
        scripted.by(lambda _: script)
    async with await RawClient.connect(scripted.url) as client:
        await client.send(wire)
        assert await client.to_end() == b""
    with pytest.raises(NotAsScripted, match=message):
        await scripted.stop()


async def test_half_sent_requests_are_counted(upstream: ScriptedUpstream) -> None:
    """A peer that leaves before its request is complete is no mistake of the test, but it is known."""
    for partial in (b"GET / HT", json_request_wire("/", {"a": 1})[:-3]):
        async with await RawClient.connect(upstream.url) as client:
            await client.send(partial)
            await client.close()
        await upstream.until_open(0)
    async with await RawClient.connect(upstream.url):
        pass
    await upstream.closed(2)
    await upstream.until_open(0)
    assert upstream.unfinished_requests == 2
    assert upstream.requests == []


async def test_refused_upstream_comes_back_on_its_port(upstream: ScriptedUpstream) -> None:
    """Connections are refused while it is down; those that stand go on; its address stays the same."""
    upstream.always(unary({}))
    async with await RawClient.connect(upstream.url) as standing:
        await standing.send(GET)
        await standing.answer()
        await upstream.refuse()
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(upstream.url)
        await standing.send(GET)
        assert (await standing.answer()).status == 200
        await upstream.start()
        async with await RawClient.connect(upstream.url) as client:
            await client.send(GET)
            assert (await client.answer()).status == 200


async def test_idle_connections_are_closed_busy_ones_not(upstream: ScriptedUpstream) -> None:
    """A provider that drops kept-alive connections leaves running answers alone."""
    go = asyncio.Event()
    upstream.next(unary({}), [head(200, CHUNKED), wait(go), end()])
    async with await RawClient.connect(upstream.url) as idle, await RawClient.connect(upstream.url) as busy:
        await idle.send(GET)
        await idle.answer()
        await (await upstream.request()).answered.wait()
        await busy.send(GET)
        await busy.answer_head()
        await upstream.close_idle()
        assert await idle.to_end() == b""
        assert idle.ending == "fin"
        go.set()
        assert (await busy.chunk()).last


@pytest.mark.parametrize("says", ["client", "upstream", "http/1.0"])
async def test_connection_closes_where_either_side_says_so(upstream: ScriptedUpstream, says: str) -> None:
    """``Connection: close`` of either side, or HTTP/1.0, ends the connection after the answer."""
    fields = [("Host", "x"), *([("Connection", "close")] if says == "client" else [])]
    upstream.always(unary({}, *([("Connection", "close")] if says == "upstream" else [])))
    async with await RawClient.connect(upstream.url) as client:
        version = "HTTP/1.0" if says == "http/1.0" else "HTTP/1.1"
        await client.send(request_wire("GET", "/", *fields, version=version))
        assert (await client.answer()).status == 200
        assert await client.to_end() == b""


async def test_client_reads_what_came_before_the_end(upstream: ScriptedUpstream) -> None:
    """A half close is answered or not, an early end names what was missing, and 1xx heads are skipped."""
    upstream.next(
        [head(103, ("Link", "x")), head(200, ("Content-Length", "9")), raw(b"short"), close()],
        [head(200), raw(b"until the end"), close()],
    )
    async with await RawClient.connect(upstream.url) as client:
        await client.send(GET)
        with pytest.raises(EndedEarly, match="short"):
            await client.answer()
    async with await RawClient.connect(upstream.url) as client:
        await client.send(GET)
        assert (await client.answer()).body == b"until the end"
