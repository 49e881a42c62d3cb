"""The end of a stream: the closing event is waited for by clients, the terminal chunk by connections."""

import asyncio
import gzip

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, Stage, asking, hear, until_heard
from tests.provider_answers import anthropic_stream, openai_answer, openai_chunk, openai_stream, responses_stream
from tests.upstream_script import (
    CHUNKED,
    JSON,
    SSE,
    Step,
    Write,
    body_of,
    chunk,
    end,
    event,
    head,
    raw,
    reached,
    reset,
    stall,
    together,
    trailers,
    wait,
    wire_of,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
PLAIN = Way(tls=False, spliced=False)
LATE_S = 1.5
"""The grace of one second, and what a busy machine adds."""

UNENDED: dict[str, list[Step]] = {
    CHAT: openai_stream(2, finished=False),
    RESPONSES: responses_stream(2, finished=False),
    MESSAGES: anthropic_stream(2, finished=False),
}


@pytest.mark.parametrize("way", [FAST, PLAIN], ids=str)
async def test_terminal_chunk_that_upstream_withholds(make_stage: MakeStage, way: Way) -> None:
    """The closing event leaves at once; after a second of grace the body is ended and upstream given up."""
    stage = await make_stage(way)
    stage.upstream.by(lambda request: [*UNENDED[request.path], stall()])
    loop = asyncio.get_running_loop()

    async def listen(path: str) -> None:
        client = await stage.ask(path)
        await client.answer_head()
        body = await until_heard(client, body_of(UNENDED[path]))
        since = loop.time()
        assert body == body_of(UNENDED[path])
        assert (await client.chunk()).last
        assert loop.time() - since < LATE_S

    await asyncio.gather(*map(listen, UNENDED))
    await stage.upstream.until_open(0)
    await stage.settled()
    assert stage.ended_as("success") == len(UNENDED)


async def test_short_stall_limit_within_the_grace(make_stage: MakeStage) -> None:
    """A stall limit no longer than the grace changes nothing: the stream was whole."""
    stage = await make_stage(PLAIN, provider="timeouts: {stall_s: 1}")
    stage.upstream.next([*UNENDED[CHAT], stall()])
    client = await stage.ask()
    heard = await hear(client)
    await stage.settled()
    assert (heard.body, heard.whole) == (body_of(UNENDED[CHAT]), True)
    assert stage.ended_as("success") == 1


@BOTH_LOOPS
async def test_what_follows_the_closing_event_passes(stage: Stage) -> None:
    """A comment or an event behind [DONE] is the provider's byte too, in the same read or later."""
    late, go = chunk(b": took 12 ms\n\n"), asyncio.Event()
    more = [event({"cost": 1}), chunk(b": bye\n")]
    script: list[Step] = [*UNENDED[CHAT], reached(go), late, *more, end()]
    stage.upstream.next(script, [head(200, SSE, CHUNKED), raw(wire_of(script))])
    for _ in range(2):
        heard = await stage.hear()
        assert (heard.body, heard.whole) == (body_of(script), True)
    assert stage.ended_as("success") == 2


async def test_a_break_behind_the_closing_event_is_none(stage: Stage) -> None:
    """Whatever the connection does after [DONE], the client has a whole answer."""
    stage.upstream.next([*UNENDED[CHAT], reset()], [*UNENDED[CHAT], raw(b"zz\r\n"), stall()])
    for _ in range(2):
        heard = await stage.hear()
        assert (heard.body, heard.whole) == (body_of(UNENDED[CHAT]), True)
    assert stage.ended_as("success") == 2
    await stage.upstream.until_open(0)


async def test_broken_framing_in_one_read_with_the_closing_event(make_stage: MakeStage) -> None:
    """The same where all of it comes at once, the head too."""
    stage = await make_stage()
    opening = UNENDED[CHAT][0]
    assert isinstance(opening, Write)
    stage.upstream.next([together(opening, raw(wire_of(UNENDED[CHAT]) + b"zz\r\n")), stall()])
    heard = await stage.hear()
    assert (heard.body, heard.whole) == (body_of(UNENDED[CHAT]), True)
    assert stage.ended_as("success") == 1
    await stage.upstream.until_open(0)


async def test_client_that_leaves_at_the_closing_event(stage: Stage) -> None:
    """SDKs stop reading there: that is a success, and upstream is not kept waiting."""
    closing = asyncio.Event()
    stage.upstream.next([*UNENDED[CHAT], reached(closing), stall()])
    client = await stage.ask()
    await client.answer_head()
    await until_heard(client, b"[DONE]")
    await closing.wait()
    await client.close()
    await stage.upstream.closed(0)
    await stage.settled()
    assert (stage.ended_as("success"), stage.ended_as("client_closed")) == (1, 0)


@BOTH_LOOPS
async def test_connections_are_reused_after_a_clean_end(stage: Stage) -> None:
    """One connection serves stream after stream, on both sides, trailers or not."""
    client = await stage.client()
    for ending in (end(), trailers(("X-T", "1")), end()):
        stage.upstream.next([*UNENDED[CHAT], ending])
        await client.send(asking(CHAT))
        assert (await hear(client)).whole
        await stage.settled()
    assert stage.upstream.accepted_connections == 1
    assert stage.value("pool_connections", provider="one", state="idle") == 1
    assert stage.value("pool_connections", provider="one", state="in_use") == 0


FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: application/json\r\n\r\nforged"
SPLICING = pytest.mark.parametrize("way", [way for way in WAYS if way.spliced], ids=str)
"""aiohttp's own connector, which the others keep to, takes such bytes for the next answer."""


@SPLICING
@BOTH_LOOPS
@pytest.mark.parametrize("kind", ["spliced", "gzip", "whole"])
async def test_connections_with_excess_bytes_are_not_reused(stage: Stage, kind: str) -> None:
    """Bytes behind the end of a body would be taken for the head of the next answer: that connection closes."""
    whole = body_of(openai_answer())
    scripts: dict[str, list[Step]] = {
        "spliced": [*UNENDED[CHAT], raw(end().wire + FORGED), stall()],
        "gzip": [
            head(200, SSE, CHUNKED, ("Content-Encoding", "gzip")),
            raw(chunk(gzip.compress(body_of(UNENDED[CHAT]))).wire + end().wire + FORGED),
            stall(),
        ],
        "whole": [head(200, JSON, ("Content-Length", str(len(whole)))), raw(whole + FORGED), stall()],
    }
    stage.upstream.next(scripts[kind], openai_stream(1))
    first, second = await stage.hear(), await stage.hear()
    assert first.body == (whole if kind == "whole" else body_of(UNENDED[CHAT]))
    assert second.body == body_of(openai_stream(1))
    assert stage.upstream.accepted_connections == 2
    await stage.upstream.closed(0)


@SPLICING
@BOTH_LOOPS
async def test_what_idle_connections_say_is_no_answer(stage: Stage) -> None:
    """Bytes that come unasked close the connection; they are never the beginning of the next answer."""
    unasked = asyncio.Event()
    for number, bytes_ in enumerate((FORGED, b"H")):
        unasked.clear()
        stage.upstream.next([*openai_stream(1), wait(unasked), raw(bytes_), stall()])
        await stage.hear()
        unasked.set()
        await stage.upstream.closed(number)
    stage.upstream.next(openai_stream(2))
    assert (await stage.hear()).body == body_of(openai_stream(2))


@SPLICING
async def test_warm_connections_are_used(make_stage: MakeStage, way: Way) -> None:
    """What was opened at start serves the first request."""
    stage = await make_stage(way, provider="pool: {warm: 1}")
    await stage.upstream.until_open(2)
    stage.upstream.next(openai_stream(2))
    assert (await stage.hear()).body == body_of(openai_stream(2))
    assert stage.upstream.accepted_connections == 2


async def test_connections_that_upstream_gives_up(stage: Stage) -> None:
    """`Connection: close` is obeyed."""
    closing: list[Step] = [head(200, SSE, CHUNKED, ("Connection", "close")), *openai_stream(1)[1:]]
    stage.upstream.next(closing, openai_stream(2))
    assert (await stage.hear()).body == body_of(openai_stream(1))
    await stage.upstream.closed(0)
    assert (await stage.hear()).body == body_of(openai_stream(2))
    assert stage.upstream.accepted_connections == 2


async def test_finish_without_a_closing_event(stage: Stage) -> None:
    """Some servers send no [DONE]: a finish reason and a clean end make a whole stream, and none is made up."""
    breaking: list[Step] = [*openai_stream(2, done=False, finished=False), reset()]
    stage.upstream.next(openai_stream(2, done=False), breaking)
    heard = await stage.hear()
    assert (heard.body, heard.whole) == (body_of(openai_stream(2, done=False)), True)
    broken = await stage.hear()
    assert broken.body.startswith(body_of(openai_stream(2, done=False)))
    assert b'"code":"truncated"' in broken.body
    assert b"[DONE]" not in heard.body + broken.body
    assert (stage.ended_as("success"), stage.ended_as("truncated")) == (1, 1)


async def test_the_closing_event_in_pieces(stage: Stage) -> None:
    """Half of [DONE] is not let go before the rest is here."""
    go, half = asyncio.Event(), asyncio.Event()
    begun = [head(200, SSE, CHUNKED), event(openai_chunk({"content": "x"})), event(openai_chunk({}, finish="stop"))]
    script: list[Step] = [*begun, chunk(b"data: [DO"), reached(half), wait(go), chunk(b"NE]\n\n"), end()]
    stage.upstream.next(script)
    client = await stage.ask()
    await client.answer_head()
    body = await until_heard(client, b'"stop"')
    await half.wait()
    assert (body, client.held_bytes) == (body_of(begun), 0)
    go.set()
    assert b"".join(c.payload for c in await client.chunks()) == b"data: [DONE]\n\n"
