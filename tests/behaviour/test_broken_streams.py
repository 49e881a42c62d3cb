"""A stream that breaks after its first content never looks whole: a typed error event, or a broken connection."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import CHAT, COMPLETIONS, KEY, MESSAGES, RESPONSES, Heard, Stage, hear, until_heard
from tests.provider_answers import (
    anthropic_error_doc,
    anthropic_stream,
    completions_stream,
    openai_chunk,
    openai_error_doc,
    openai_stream,
    responses_stream,
)
from tests.raw_connection import read_boundary
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    Step,
    body_of,
    chunk,
    close,
    end,
    event,
    flat,
    head,
    raw,
    reached,
    reset,
    sse,
    stall,
)

HELLO: Any = {"role": "user", "content": "Hello."}
BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
OPEN = head(200, SSE, CHUNKED)
CLOSING_WORDS = (b"[DONE]", b"message_stop", b"response.completed", b'"finish_reason":"', b'stop_reason":"')


@dataclass(frozen=True)
class Tongue:
    """A dialect's stream up to its last word of content, and the error that its provider would send."""

    path: str
    begun: Callable[[], list[Step]]
    error: tuple[object, str | None]


TONGUES = {
    "chat": Tongue(CHAT, lambda: flat(openai_stream(3))[:-3], (openai_error_doc(), None)),
    "completions": Tongue(COMPLETIONS, lambda: flat(completions_stream(3))[:-3], (openai_error_doc(), None)),
    "responses": Tongue(
        RESPONSES, lambda: flat(responses_stream(3))[:-5], ({"type": "error", "message": "x", "code": "y"}, "error")
    ),
    "messages": Tongue(MESSAGES, lambda: flat(anthropic_stream(3))[:-4], (anthropic_error_doc(), "error")),
}

BREAKS: dict[str, Script] = {
    "reset": [reset()],
    "closed": [close()],
    "ended cleanly without a finish": [end()],
    "reset within an event": [chunk(b'data: {"choices":[{"delta":{"con'), reset()],
    "reset within a chunk": [raw(b'ff\r\ndata: {"cho'), reset()],
    "reset within a size line": [raw(b"f"), reset()],
}


def said(heard: Heard, before: bytes) -> dict[str, Any]:
    """The one event that follows what was relayed, as a document; it must be the last thing in a whole body."""
    assert heard.status == 200
    assert heard.whole, "the error event is followed by the terminal chunk"
    assert heard.body.startswith(before)
    added = heard.body[len(before) :]
    assert added.endswith(b"\n\n")
    assert added.count(b"\n\n") == 1
    name, _, data = added.rpartition(b"data: ")
    document: dict[str, Any] = json.loads(data)
    if name:
        assert name == b"event: error\n"
        assert document["type"] == "error"
    assert not any(word in heard.body for word in CLOSING_WORDS)
    return document


async def heard_and_closed(stage: Stage, path: str) -> Heard:
    """Ask, hear the answer; the connection must then be closed by the gateway."""
    client = await stage.ask(path)
    heard = await hear(client)
    assert await client.to_end() == b""
    await stage.settled()
    return heard


@BOTH_LOOPS
async def test_broken_streams_end_with_a_typed_error(stage: Stage) -> None:
    """However upstream breaks, the client reads what came in whole events, then the error in its dialect."""
    for dialect, tongue in TONGUES.items():
        before = body_of(tongue.begun())
        for name, script in BREAKS.items():
            stage.upstream.next([*tongue.begun(), *script])
            document = said(await heard_and_closed(stage, tongue.path), before)
            assert (dialect, name, document["error"]["code"]) == (dialect, name, "truncated")
    assert stage.ended_as("truncated") == len(TONGUES) * len(BREAKS)
    assert stage.value("provider_errors_total", error_type="truncated") == len(TONGUES) * len(BREAKS)
    assert stage.value("active_streams") == 0


async def test_the_providers_own_error_is_passed_on(stage: Stage) -> None:
    """Its error event is the last one; what follows it, a [DONE] too, is left away."""
    for tongue in TONGUES.values():
        error = event(*tongue.error)
        endings: list[Script] = [[end()], [reset()], [event("[DONE]"), end()], [stall()]]
        for after in endings:
            stage.upstream.next([*tongue.begun(), error, *after])
            heard = await heard_and_closed(stage, tongue.path)
            assert heard.body == body_of(tongue.begun()) + sse(*tongue.error)
            assert heard.whole
    assert stage.ended_as("stream_error") == 4 * len(TONGUES)
    await stage.upstream.until_open(0)


@BOTH_LOOPS
async def test_silence_ends_the_stream(make_stage: MakeStage, way: Way) -> None:
    """After stall_s without a byte the client is told and upstream is closed."""
    for number, tongue in enumerate(TONGUES.values(), 1):
        stage = await make_stage(way, provider="timeouts: {stall_s: 1}")
        before, silent = body_of(tongue.begun()), asyncio.Event()
        stage.upstream.next([*tongue.begun(), reached(silent), stall()])
        client = await stage.ask(tongue.path)
        await silent.wait()
        head_ = await client.answer_head()
        body = await until_heard(client, before)
        stage.sweep(ahead_s=1)
        heard = Heard(head_, body + b"".join(c.payload for c in await client.chunks()), True)
        assert said(heard, before)["error"]["code"] == "stalled"
        await stage.upstream.closed(0)
        await stage.settled()
        assert (stage.ended_as("stalled"), stage.value("stalls_total"), number) == (1, 1, number)


@pytest.mark.parametrize("garbage", [b"", b"zz\r\nnonsense"])
async def test_total_time_ends_the_stream(make_stage: MakeStage, way: Way, garbage: bytes) -> None:
    """After total_s the stream ends, also where broken framing hides from aiohttp that nothing more can come: from
    whoever waits for a read then. Who comes to read later finds the connection closed.
    """
    stage = await make_stage(way, provider="timeouts: {total_s: 30}")
    tongue, silent = TONGUES["chat"], asyncio.Event()
    before = body_of(tongue.begun())
    stage.upstream.next([*tongue.begun(), raw(garbage), reached(silent), stall()])
    client = await stage.ask(tongue.path)
    await stage.upstream.request()
    await (stage.upstream.closed(0) if garbage else silent.wait())
    head_ = await client.answer_head()
    body = await until_heard(client, before)
    stage.sweep(ahead_s=31)
    heard = Heard(head_, body + b"".join(c.payload for c in await client.chunks()), True)
    codes = {"provider_error"} if garbage and way.spliced else {"deadline_exceeded"}
    if garbage and not way.spliced:
        codes.add("truncated")
    assert said(heard, before)["error"]["code"] in codes
    await stage.upstream.closed(0)


@BOTH_LOOPS
async def test_broken_framing_ends_the_stream(make_stage: MakeStage, way: Way) -> None:
    """The spliced way sees it at once; aiohttp's parser says nothing, so on the plain one the silence ends it."""
    stage = await make_stage(way)
    tongue = TONGUES["chat"]
    for garbage in (b"zz\r\n", b"-5\r\nabcde\r\n", b"3\r\nabcdef\r\n", b"\r\n\r\n", b"0x3\r\nabc\r\n"):
        stage.upstream.next([*tongue.begun(), raw(garbage), stall()])
        before = body_of(tongue.begun())
        client = await stage.ask(tongue.path)
        head_ = await client.answer_head()
        body = await until_heard(client, before)
        ending = asyncio.create_task(client.chunks())
        while not (ending.done() or way.spliced):
            stage.sweep(ahead_s=61)
            await read_boundary()
        heard = Heard(head_, body + b"".join(c.payload for c in await ending), True)
        assert await client.to_end() == b""
        code = said(heard, before)["error"]["code"]
        assert (garbage, code) == (garbage, "provider_error" if way.spliced else code)
        assert code in {"provider_error", "stalled", "truncated"}
    await stage.upstream.until_open(0)


BIG = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 200_000


@BOTH_LOOPS
async def test_breaks_within_a_huge_event_break_the_connection(stage: Stage) -> None:
    """Where part of an event has gone nothing can be said: no terminal chunk, no event, no clean end."""
    tongue = TONGUES["chat"]
    endings: dict[str, Step] = {"reset": reset(), "close": close(), "clean end": end()}
    for kind, last in endings.items():
        stage.upstream.next([*tongue.begun(), chunk(BIG), last])
        client = await stage.ask(tongue.path)
        heard = await hear(client)
        assert (kind, heard.whole) == (kind, False)
        assert body_of(tongue.begun()) + BIG[:1000] in heard.body
        assert b"error" not in heard.body
        await stage.settled()
    assert stage.ended_as("truncated") == 3


async def test_silence_within_a_huge_event_breaks_the_connection(make_stage: MakeStage, way: Way) -> None:
    """The same where upstream falls silent there."""
    stage = await make_stage(way, provider="timeouts: {stall_s: 1}")
    silent = asyncio.Event()
    stage.upstream.next([*TONGUES["chat"].begun(), chunk(BIG), reached(silent), stall()])
    client = await stage.ask()
    await silent.wait()
    head_ = await client.answer_head()
    await until_heard(client, b"x" * 1000)
    stage.sweep(ahead_s=1)
    assert head_.status == 200
    assert b"0\r\n\r\n" not in await client.to_end()
    await stage.settled()
    assert stage.ended_as("stalled") == 1


async def test_events_beyond_any_size_break_the_stream(stage: Stage) -> None:
    """8 MiB without the end of an event is no event: memory is bounded, and the client sees a broken answer."""
    stage.upstream.next(
        [OPEN, event(openai_chunk({"content": "x"})), *[chunk(b"data: " + b"y" * 1_000_000)] * 9, stall()]
    )
    client = await stage.ask()
    assert not (await hear(client)).whole
    await stage.upstream.closed(0)
    await stage.settled()
    assert stage.ended_as("provider_error") == 1


@pytest.mark.parametrize("how", ["reset", "error", "huge"])
async def test_sdks_raise(stage: Stage, how: str) -> None:
    """The application sees an exception, never a short answer that looks whole."""
    breaks: dict[str, Callable[[Tongue], list[Step]]] = {
        "reset": lambda _: [reset()],
        "error": lambda tongue: [event(*tongue.error), end()],
        "huge": lambda _: [chunk(BIG), reset()],
    }

    def script(path: str) -> list[Step]:
        tongue = next(t for t in TONGUES.values() if t.path == path)
        return [*tongue.begun(), *breaks[how](tongue)]

    stage.upstream.by(lambda request: script(request.path))
    heard: list[Any] = []

    async def listen(stream: Awaitable[AsyncIterator[Any]]) -> None:
        async for part in await stream:
            heard.append(part)

    async with openai.AsyncOpenAI(base_url=f"{stage.gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.APIError):
            await listen(client.chat.completions.create(model="gpt", messages=[HELLO], stream=True))
        assert heard[-1].choices[0].delta.content == "tokén 2 "
        answers = client.responses.create(model="gpt", input="x", stream=True)
        if how == "error":  # this SDK hands the provider's own error event over as an event
            await listen(answers)
            assert heard.pop().type == "error"
        else:
            with pytest.raises(openai.APIError):
                await listen(answers)
        assert heard[-1].delta == "tokén 2 "
    async with anthropic.AsyncAnthropic(base_url=stage.gateway.url, api_key=KEY, max_retries=0) as claude:
        # it does not wrap what its transport raises within a stream
        with pytest.raises((anthropic.APIError, httpx2.TransportError)):
            await listen(claude.messages.create(model="claude", max_tokens=9, messages=[HELLO], stream=True))
        assert heard[-1].delta.text == "tokén 2 "
    await stage.settled()


def test_tongues_stop_before_their_end() -> None:
    """The table above holds what its names say: streams with content and without any ending."""
    for tongue in TONGUES.values():
        payload = body_of(tongue.begun())
        assert "tokén 2".encode() in payload
        assert not any(word in payload for word in CLOSING_WORDS)
