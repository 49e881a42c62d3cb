"""The end of the time to drain: what still runs is told so as it stands, and never looks whole."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, asking, hear, until_heard
from tests.behaviour.test_draining import IN_GRACE, draining
from tests.behaviour.test_slow_client import firehose, rests
from tests.provider_answers import anthropic_stream, openai_chunk, openai_stream, responses_stream
from tests.raw_client import RawClient
from tests.raw_connection import EndedEarly, read_boundary
from tests.upstream_script import CHUNKED, JSON, SSE, Script, body_of, chunk, event, head, raw, reached, stall

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
TCP = pytest.mark.parametrize("way", [FAST, WAYS[1]], ids=str)
OPEN = head(200, SSE, CHUNKED)
ROLE, WORD = event(openai_chunk({"role": "assistant", "content": ""})), event(openai_chunk({"content": "word"}))
NO_TIME = "{drain_s: 0}"

ENDINGS: dict[str, Callable[..., Script]] = {
    CHAT: openai_stream,
    RESPONSES: responses_stream,
    MESSAGES: anthropic_stream,
}


def error_in(body: bytes) -> dict[str, str]:
    """The error of a body: an answer, or the last event of a stream."""
    document = json.loads(body.strip().rpartition(b"data: ")[2])
    error: dict[str, str] = document.get("error", document)
    return error


async def until_broken(client: RawClient) -> bytes:
    """Reads a chunked body that has no end."""
    heard = b""
    try:
        while not (chunk := await client.chunk()).last:
            heard += chunk.payload
    except (EndedEarly, ConnectionResetError):
        return heard
    raise AssertionError("it has an end")


@BOTH_LOOPS
@pytest.mark.parametrize("path", ENDINGS)
async def test_stream_that_outlives_the_time_is_told(make_stage: MakeStage, way: Way, path: str) -> None:
    """A typed error event at a boundary, in the dialect's words; never a clean end without it; upstream is closed."""
    stage = await make_stage(way, server=NO_TIME)
    script = ENDINGS[path](40, finished=False)[:12]
    stage.upstream.next([*script, stall()])
    client = await stage.ask(path)
    await client.answer_head()
    said = b""
    while len(said) < len(body_of(script)):
        said += (await client.chunk()).payload
    assert said == body_of(script)
    async with draining(stage) as drain:
        last_words = b"".join(chunk.payload for chunk in await client.chunks())
        assert await client.to_end() == b""
        await drain
    assert "shutting down" in error_in(last_words)["message"]
    assert b"draining" in last_words or path == MESSAGES
    assert last_words.count(b"data: ") == 1
    await stage.upstream.closed(stage.upstream.requests[0].connection)
    assert stage.ended_as("draining") == 1


async def test_half_an_event_is_not_made_whole(make_stage: MakeStage, way: Way) -> None:
    """Where no event can stand, the connection breaks."""
    stage = await make_stage(way, server=NO_TIME)
    here = asyncio.Event()
    stage.upstream.next([OPEN, WORD, chunk(b"data: " + b"x" * 200_000), reached(here), stall()])
    client = await stage.ask()
    await client.answer_head()
    await here.wait()
    await until_heard(client, b"x" * 1000)
    async with draining(stage) as drain:
        assert b"draining" not in await until_broken(client)
        await drain
    assert stage.ended_as("draining") == 1


WITHOUT_HEAD: dict[str, tuple[str, bool, Script]] = {
    "no answer yet": (CHAT, True, []),
    "no answer yet, Anthropic": (MESSAGES, True, []),
    "a head": (CHAT, True, [OPEN]),
    "a role": (CHAT, True, [OPEN, ROLE]),
    "unary, no answer yet": (CHAT, False, []),
    "unary, half an answer": (CHAT, False, [head(200, JSON, ("Content-Length", "100")), raw(b'{"a":')]),
}


@TCP
@BOTH_LOOPS
async def test_request_without_a_head_is_refused(make_stage: MakeStage, way: Way) -> None:
    """503 in its dialect, retryable and soon, on a connection that closes; upstream is closed."""
    stage = await make_stage(way, server=NO_TIME)
    clients = []
    for path, stream, came in WITHOUT_HEAD.values():
        here = asyncio.Event()
        stage.upstream.next([*came, reached(here), stall()])
        clients.append(await stage.ask(path, stream=stream))
        await here.wait()
    async with draining(stage) as drain:
        for name, client in zip(WITHOUT_HEAD, clients, strict=True):
            heard = await hear(client)
            assert (name, heard.status, heard.head.get("retry-after")) == (name, 503, "1")
            assert heard.head.get("connection") == "close"
            assert heard.head.get("x-should-retry") != "false"
            assert "shutting down" in error_in(heard.body)["message"]
            assert ("request_id" in json.loads(heard.body)) == ("Anthropic" in name)
            assert await client.to_end() == b""
        await drain
    for request in stage.upstream.requests:
        await stage.upstream.closed(request.connection)
    assert stage.ended_as("draining") == len(WITHOUT_HEAD)
    assert stage.value("provider_errors_total") == 0


@pytest.fixture
def no_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not wait for clients that are known not to go."""
    monkeypatch.setattr("gateway.draining.LAST_WORDS_S", 0.05)


@pytest.mark.usefixtures("no_last_words")
async def test_body_that_has_not_come_is_not_waited_for(make_stage: MakeStage) -> None:
    """The client is told while it sends."""
    stage = await make_stage(server=NO_TIME)
    client = await stage.client()
    await client.send(asking(CHAT)[:-5])
    while not len(stage.gateway.live):
        await read_boundary()
    async with draining(stage) as drain:
        assert (await hear(client)).status == 503
        await drain


@TCP
async def test_head_that_went_early_gets_an_event(make_stage: MakeStage, way: Way) -> None:
    """Keep-alives had to open the answer: there is no status to send any more."""
    stage = await make_stage(way, server="{drain_s: 0, keepalive_s: 5}")
    here = asyncio.Event()
    stage.upstream.next([OPEN, reached(here), stall()])
    client = await stage.ask()
    await here.wait()
    stage.sweep(6)
    await client.answer_head()
    async with draining(stage) as drain:
        body = b"".join(chunk.payload for chunk in await client.chunks())
        await drain
    assert "shutting down" in error_in(body)["message"]
    assert stage.ended_as("draining") == 1


async def test_large_answer_is_broken(make_stage: MakeStage) -> None:
    """Half a document has gone, and no error can stand in it; what came is billed."""
    stage = await make_stage(server=NO_TIME)
    here = asyncio.Event()
    stage.upstream.next([head(200, JSON, CHUNKED), *[chunk(b" " * 65536)] * 40, reached(here), stall()])
    client = await stage.ask(stream=False)
    await client.answer_head()
    await here.wait()
    async with draining(stage) as drain:
        await drain
        await until_broken(client)
    assert stage.ended_as("draining") == 1
    assert stage.value("tokens_total", type="input") > 0


@pytest.mark.usefixtures("no_last_words")
async def test_client_that_does_not_read_holds_up_nobody(make_stage: MakeStage, way: Way) -> None:
    """It cannot be told, so its connection breaks; the gateway is gone a moment later."""
    stage = await make_stage(way, server=NO_TIME)
    stage.upstream.next(firehose())
    await stage.ask()
    await rests(stage)
    async with draining(stage) as drain:
        await drain
    assert stage.ended_as("draining") + stage.ended_as("client_closed") == 1
    assert len(stage.gateway.live) == 0


async def test_drain_can_be_cut_short(make_stage: MakeStage) -> None:
    """Cancelled, and closed instead: who still runs is told, and it takes hardly any time."""
    stage = await make_stage(server=IN_GRACE)
    stage.upstream.next([OPEN, WORD, stall()])
    client = await stage.ask()
    await client.answer_head()
    async with draining(stage):
        pass
    await stage.gateway.close()
    body = b"".join(chunk.payload for chunk in await client.chunks())
    assert "shutting down" in error_in(body)["message"]
