"""The scripted upstream on real sockets: every step does what it says, on either loop, plain and TLS."""

import asyncio
import ssl
import time

import pytest

from tests.provider_answers import openai_answer, openai_stream, unary
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import (
    CHUNKED,
    Leave,
    Script,
    Write,
    body_of,
    chunk,
    chunks,
    close,
    end,
    head,
    raw,
    reached,
    reset,
    split,
    stall,
    together,
    trailers,
    wait,
    wire_of,
)

both_loops = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
GET = request_wire("GET", "/", ("Host", "test"))


@pytest.fixture(params=["plain", "tls"])
def played(request: pytest.FixtureRequest) -> ScriptedUpstream:
    """The scripted upstream on plain TCP and on TLS."""
    name = "upstream" if request.param == "plain" else "tls_upstream"
    scripted: ScriptedUpstream = request.getfixturevalue(name)
    return scripted


async def ask(upstream: ScriptedUpstream, tls: ssl.SSLContext, wire: bytes = GET) -> RawClient:
    """Connects and sends one request."""
    client = await RawClient.connect(upstream.url, tls=tls if upstream.url.startswith("https") else None)
    await client.send(wire)
    return client


@both_loops
async def test_whole_stream_arrives_as_written(played: ScriptedUpstream, client_tls: ssl.SSLContext) -> None:
    """Head, chunk boundaries, body and trailers are those of the script, byte by byte."""
    script: Script = [head(200, CHUNKED, ("X-A", "1")), chunks([b"one", b"two"]), trailers(("T", "9"))]
    played.always(script)
    async with await ask(played, client_tls) as client:
        answer = await client.answer()
    assert answer.head.headers == (CHUNKED, ("X-A", "1"))
    assert answer.chunks is not None
    assert [c.payload for c in answer.chunks] == [b"one", b"two", b""]
    assert answer.chunks[-1].trailers == (("T", "9"),)
    assert answer.body == body_of(script)


@both_loops
async def test_each_piece_is_a_read_of_its_own(played: ScriptedUpstream, client_tls: ssl.SSLContext) -> None:
    """A body split at every byte is read byte by byte; steps written together are one read."""
    framed = together(*chunks_of(b"abc"), end())
    played.next([head(200, CHUNKED), split(framed, [1] * len(framed.wire))], [head(200, CHUNKED), framed])
    async with await ask(played, client_tls) as client:
        head_bytes = len((await client.answer_head()).raw)
        assert b"".join(c.payload for c in await client.chunks()) == b"abc"
        assert client.read_sizes == [head_bytes] + [1] * len(framed.wire)
        client.read_sizes.clear()
        await client.send(GET)
        assert (await client.answer()).body == b"abc"
        assert client.read_sizes == [head_bytes, len(framed.wire)]


@both_loops
async def test_connection_serves_one_request_after_the_other(
    played: ScriptedUpstream, client_tls: ssl.SSLContext
) -> None:
    """After a whole answer the connection stays, also for requests that came pipelined."""
    played.next(openai_answer("one"), openai_stream(2), openai_answer("three"))
    async with await ask(played, client_tls, GET * 3) as client:
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
        assert played.open_connections == 1
    assert {request.connection for request in played.requests} == {0}


@both_loops
@pytest.mark.parametrize("leave", [close(), reset()])
async def test_broken_stream_ends_as_told_after_its_bytes(
    played: ScriptedUpstream, client_tls: ssl.SSLContext, leave: Leave
) -> None:
    """What was written before a FIN or an RST is readable; the two can be told apart."""
    script: Script = [head(200, CHUNKED), chunk(b"partial"), raw(b"5\r\nab"), leave]
    played.always(script)
    async with await ask(played, client_tls) as client:
        await client.answer_head()
        assert await client.to_end() == wire_of(script)
        assert client.ending == ("fin" if leave == close() else "reset")
    assert played.ending(0) == "local"


@both_loops
async def test_wait_holds_the_answer_and_reached_tells(played: ScriptedUpstream, client_tls: ssl.SSLContext) -> None:
    """The script stops at a wait; what stands before ``reached`` has been read when its event is set."""
    here, go = asyncio.Event(), asyncio.Event()
    played.always([head(200, CHUNKED), chunk(b"first"), reached(here), wait(go), chunk(b"second"), end()])
    async with await ask(played, client_tls) as client:
        await here.wait()
        await client.answer_head()
        assert (await client.chunk()).payload == b"first"
        assert client.held_bytes == 0
        request = await played.request()
        assert not request.answered.is_set()
        go.set()
        assert (await client.chunk()).payload == b"second"
        assert (await client.chunk()).last
        await request.answered.wait()
        assert request.steps_played == 6


@both_loops
@pytest.mark.parametrize("leaves", ["close", "reset"])
@pytest.mark.parametrize("phase", ["stalled", "waiting", "blocked"])
async def test_leaving_client_is_noticed_in_every_phase(
    played: ScriptedUpstream, client_tls: ssl.SSLContext, phase: str, leaves: str
) -> None:
    """The moment the peer closed is known while the script stalls, waits, or cannot write on."""
    here = asyncio.Event()
    big = chunk(b"x" * 20_000_000)
    rest: dict[str, Script] = {
        "stalled": [reached(here), stall()],
        "waiting": [reached(here), wait(asyncio.Event()), end()],
        "blocked": [reached(here), big, end()],
    }
    played.always([head(200, CHUNKED), chunk(b"a"), rest[phase]])
    async with await ask(played, client_tls) as client:
        await here.wait()
        assert played.open_connections == 1
        if leaves == "close":
            await client.abort()
        else:
            await client.reset()
    left_at_s = time.monotonic()
    assert await played.closed(0) <= left_at_s + 0.5
    assert played.ending(0) in {"fin", "reset"}
    request = await played.request()
    await request.answered.wait()
    assert request.steps_played < 5
    await played.until_open(0)


async def test_reset_of_the_client_is_told_from_a_close(upstream: ScriptedUpstream) -> None:
    """On plain TCP the record says whether the peer sent FIN or RST."""
    upstream.always([head(200, CHUNKED), stall()])
    for leave, ending in ((RawClient.close, "fin"), (RawClient.reset, "reset")):
        async with await RawClient.connect(upstream.url) as client:
            await client.send(GET)
            await client.answer_head()
            await leave(client)
        request = await upstream.request()
        await upstream.closed(request.connection)
        assert upstream.ending(request.connection) == ending


async def test_slow_reader_holds_the_script_back(upstream: ScriptedUpstream) -> None:
    """A script cannot write more than the kernel takes; ``taken_bytes`` says how much that was."""
    total_bytes = 64_000_000
    upstream.always([head(200, CHUNKED), chunk(b"x" * total_bytes), end()])
    async with await RawClient.connect(upstream.url, held_bytes=1000) as client:
        await client.send(GET)
        request = await upstream.request()
        await client.answer_head()
        assert not request.answered.is_set()
        assert upstream.taken_bytes(0) < total_bytes
        assert len((await client.chunk()).payload) == total_bytes
        assert (await client.chunk()).last
        await request.answered.wait()
        assert upstream.taken_bytes(0) > total_bytes


@both_loops
async def test_request_is_recorded_as_sent(played: ScriptedUpstream, client_tls: ssl.SSLContext) -> None:
    """Method, target, headers as spelled and ordered, body and times are kept; chunked bodies are joined."""
    played.always(unary({}))
    fields = (("hOST", "x"), ("A", "1"), ("a", "2"), ("Transfer-Encoding", "chunked"))
    wire = request_wire("POST", "/v1/x?q=1", *fields, body=b'2\r\n{"\r\n8\r\nmodel":"\r\n3\r\nm"}\r\n0\r\n\r\n')
    before_s = time.monotonic()
    async with await ask(played, client_tls, b"") as client:
        await client.send(*(wire[i : i + 7] for i in range(0, len(wire), 7)))
        assert (await client.answer()).json() == {}
    request = await played.request()
    assert (request.method, request.path) == ("POST", "/v1/x?q=1")
    assert request.headers == fields
    assert request.header("host") == "x"
    assert request.body == b'{"model":"m"}'
    assert request.json() == {"model": "m"}
    assert request.model == "m"
    assert before_s <= request.head_at_s < request.body_at_s


def chunks_of(data: bytes) -> list[Write]:
    """A chunk for each byte."""
    return [chunk(data[i : i + 1]) for i in range(len(data))]
