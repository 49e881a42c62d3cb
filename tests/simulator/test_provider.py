"""Every model once in every dialect, over a real socket."""

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.simulator import ANTHROPIC_MODELS, OPENAI_MODELS, Simulator, SimulatorSettings
from gateway.simulator.journal import Ended
from gateway.simulator.playback import Player
from tests.raw_connection import read_boundary
from tests.simulator.conftest import Simulate
from tests.simulator.conversation import (
    CHAT,
    MESSAGES,
    PATHS,
    RESPONSES,
    Heard,
    ask,
    ask_raw,
    body_for,
    has_error,
    has_finish,
    is_whole,
    last,
    model_on,
    pieces_of,
    text_of,
)

WHOLE = {"fast", "slow", "chat", "think", "tools", "long", "slow-headers", "no-usage", "usage-in-finish"}
REFUSED = {"400": 400, "401": 401, "404": 404, "429": 429, "429-quota": 429, "500": 500, "503": 503, "529": 529}
BY_CHANCE = {"flaky-30": 0.30, "flaky-70": 0.70}
FIRST_FAIL = {"fail-first-3"}
RESETS = {"reset-before-headers", "reset-after-headers", "reset-mid-stream"}
SILENT = {"stall", "stall-before-first"}
BROKEN_INSIDE = {"truncated", "error-event-first", "error-mid-stream", "no-done", "html-200"}
MISFRAMED = {"garbage"}
SILENCE_S = 0.1
"""A stall has no end to wait for; at a thousandfold speed a token comes each 5 µs."""


def test_every_model_has_its_test() -> None:
    """The groups of this file name each model exactly once."""
    groups = [WHOLE, REFUSED, BY_CHANCE, FIRST_FAIL, RESETS, SILENT, BROKEN_INSIDE, MISFRAMED]
    named = sorted(name for group in groups for name in group)
    assert named == sorted(name.removeprefix("sim-") for name in OPENAI_MODELS)
    assert named == sorted(name.removeprefix("claude-sim-") for name in ANTHROPIC_MODELS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("behaviour", sorted(WHOLE))
async def test_whole_answers(simulator: Simulator, http: aiohttp.ClientSession, path: str, behaviour: str) -> None:
    """A model without fault streams to its closing event and says the same when it does not stream."""
    streamed = await ask(http, path, body_for(path, behaviour, stream=True))
    assert streamed.status == 200
    assert streamed.headers["Content-Type"].startswith("text/event-stream")
    assert streamed.ending == "clean"
    assert is_whole(path, streamed)
    assert has_finish(path, streamed)
    assert last(simulator).ended is Ended.COMPLETE
    assert last(simulator).tokens == len(pieces_of(path, streamed)) >= 40

    plain = await ask(http, path, body_for(path, behaviour))
    assert plain.status == 200
    assert plain.headers["Content-Type"].startswith("application/json")
    assert _text(path, plain) == text_of(path, streamed)
    assert last(simulator).tokens == len(pieces_of(path, streamed))


def _text(path: str, heard: Heard) -> str:
    document = heard.json
    if path == MESSAGES:
        text = document["content"][-1]["text"]
    elif path == RESPONSES:
        text = document["output"][-1]["content"][0]["text"]
    else:
        choice = document["choices"][0]
        text = choice["message"]["content"] if path == CHAT else choice["text"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("behaviour", "status"), REFUSED.items())
async def test_refusals(
    simulator: Simulator, http: aiohttp.ClientSession, path: str, behaviour: str, status: int, stream: bool
) -> None:
    """A model named after a status answers with it, in the dialect's shape, streamed or not."""
    heard = await ask(http, path, body_for(path, behaviour, stream=stream))
    assert heard.status == status
    assert heard.headers["Content-Type"].startswith("application/json")
    if path == MESSAGES:
        assert heard.json["type"] == "error"
        assert set(heard.json["error"]) == {"type", "message"}
        assert heard.json["request_id"] == heard.headers["request-id"]
    else:
        assert set(heard.json["error"]) == {"message", "type", "param", "code"}
    assert ("Retry-After" in heard.headers) == (behaviour in {"429", "503"})
    assert last(simulator).ended is Ended.REFUSED
    assert last(simulator).status == status


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(("behaviour", "share"), BY_CHANCE.items())
async def test_flaky_models_fail_their_share(
    http: aiohttp.ClientSession, path: str, behaviour: str, share: float
) -> None:
    """Of 200 requests about the named share fails; the seed makes it the same each time."""
    statuses = [(await ask(http, path, body_for(path, behaviour, max_tokens=1))).status for _ in range(200)]
    assert set(statuses) == {200, 500}
    assert statuses.count(500) / 200 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("count", [0, 2, 3])
async def test_fail_first_counts_its_failures(http: aiohttp.ClientSession, path: str, count: int) -> None:
    """The number in the name is the number of failures; each model counts for itself."""
    wanted = body_for(path, f"fail-first-{count}", max_tokens=1)
    other = body_for(path, "fail-first-1", max_tokens=1)
    assert (await ask(http, path, other)).status == 500
    statuses = [(await ask(http, path, wanted)).status for _ in range(count + 2)]
    assert statuses == [500] * count + [200, 200]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("behaviour", sorted(RESETS))
async def test_resets(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, path: str, behaviour: str, stream: bool
) -> None:
    """The connection breaks where the name says, and no sooner."""
    heard, break_off = Heard(), Player._break

    async def when_heard(player: Player, response: web.StreamResponse, error_event: bytes) -> tuple[Any, Ended]:
        """A reset takes with it what is still on its way, so all of that has to arrive first."""
        while not (
            heard.status
            and bool(heard.raw) == (behaviour == "reset-mid-stream")
            and len(pieces_of(path, heard)) == last(simulator).tokens
        ):
            await read_boundary()
        return await break_off(player, response, error_event)

    monkeypatch.setattr(Player, "_break", when_heard)
    await ask_raw(simulator, path, body_for(path, behaviour, stream=stream), heard)
    assert heard.ending == "broken"
    assert heard.status == (0 if behaviour == "reset-before-headers" else 200)
    assert bool(heard.raw) == (behaviour == "reset-mid-stream")
    assert last(simulator).ended is Ended.FAULT
    if behaviour == "reset-mid-stream" and stream:
        assert not has_finish(path, heard)
        assert len(pieces_of(path, heard)) == last(simulator).tokens >= 20


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("behaviour", sorted(SILENT))
async def test_stalls_last_until_the_client_leaves(
    simulator: Simulator, http: aiohttp.ClientSession, path: str, behaviour: str, stream: bool
) -> None:
    """A stalled answer has its head and stays open; when the client goes, the simulator knows."""
    heard = await ask(http, path, body_for(path, behaviour, stream=stream), silence_s=SILENCE_S)
    assert (heard.status, heard.ending) == (200, "silent")
    assert bool(heard.raw) == (behaviour == "stall")
    await simulator.journal.until(lambda journal: journal.open == 0)
    assert last(simulator).ended is Ended.CLIENT_LEFT


@pytest.mark.parametrize("path", PATHS)
async def test_truncated(simulator: Simulator, http: aiohttp.ClientSession, path: str) -> None:
    """The body ends cleanly, half of the tokens and any finish reason missing."""
    heard = await ask(http, path, body_for(path, "truncated", stream=True))
    assert heard.ending == "clean"
    assert not has_finish(path, heard) and not is_whole(path, heard) and not has_error(heard)
    assert len(pieces_of(path, heard)) == last(simulator).tokens >= 20
    assert last(simulator).ended is Ended.FAULT

    plain = await ask(http, path, body_for(path, "truncated"))
    assert plain.ending == "clean"
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(plain.raw)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("behaviour", ["error-event-first", "error-mid-stream"])
async def test_error_events(simulator: Simulator, http: aiohttp.ClientSession, path: str, behaviour: str) -> None:
    """An error event comes first or half-way, and nothing after it; not streamed, it is the document."""
    heard = await ask(http, path, body_for(path, behaviour, stream=True))
    assert (heard.status, heard.ending) == (200, "clean")
    errors = [has_error(Heard(raw=b"data: %b\n\n" % data)) for data in heard.datas]
    assert errors.count(True) == 1 and errors[-1]
    assert (len(errors) == 1) == (behaviour == "error-event-first")
    assert not has_finish(path, heard)
    assert last(simulator).ended is Ended.FAULT

    plain = await ask(http, path, body_for(path, behaviour))
    assert plain.status == 200
    assert "error" in plain.json


@pytest.mark.parametrize("path", PATHS)
async def test_no_done(simulator: Simulator, http: aiohttp.ClientSession, path: str) -> None:
    """Everything comes but the closing event."""
    heard = await ask(http, path, body_for(path, "no-done", stream=True))
    assert heard.ending == "clean"
    assert has_finish(path, heard) and not is_whole(path, heard)
    assert last(simulator).ended is Ended.COMPLETE


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_html(http: aiohttp.ClientSession, path: str, stream: bool) -> None:
    """A page where an answer belongs, with status 200."""
    heard = await ask(http, path, body_for(path, "html-200", stream=stream))
    assert (heard.status, heard.ending) == (200, "clean")
    assert heard.headers["Content-Type"].startswith("text/html")
    assert heard.raw.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_garbage(simulator: Simulator, path: str, stream: bool) -> None:
    """Half-way a chunk has no size; then the connection closes. (No client is fit to read it: a socket is.)"""
    host, port = simulator.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = orjson.dumps(body_for(path, "garbage", stream=stream))
    head = f"POST {path} HTTP/1.1\r\nHost: simulator\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert b"Transfer-Encoding: chunked" in raw
    assert raw.endswith(b"\r\nnot-a-size\r\n{oops\r\n")
    assert b"\r\n0\r\n\r\n" not in raw
    assert last(simulator).ended is Ended.FAULT


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
async def test_the_other_dialects_models_do_not_exist(http: aiohttp.ClientSession, path: str, stream: bool) -> None:
    """A model of the other dialect, or none at all, is a 404 that names it."""
    foreign = "sim-fast" if path == MESSAGES else "claude-sim-fast"
    for name in (foreign, model_on(path, "nonsense")):
        heard = await ask(http, path, body_for(path, "fast", stream=stream) | {"model": name})
        assert heard.status == 404
        assert name in heard.json["error"]["message"]


@pytest.mark.parametrize(("behaviour", "status"), [("chat", 200), ("503", 503), (None, 404)])
async def test_other_names_behave_as_set(simulate: Simulate, behaviour: str | None, status: int) -> None:
    """A name that is not the simulator's own gets the behaviour of the setting, or does not exist."""
    running = await simulate(SimulatorSettings(speed=1000, other_models=behaviour))
    async with aiohttp.ClientSession(running.base_url) as http:
        heard = await ask(http, CHAT, body_for(CHAT, "fast") | {"model": "gpt-4o-mini"})
    assert heard.status == status


async def test_the_seed_decides_the_text(simulate: Simulate) -> None:
    """Equal seeds answer alike, other seeds and other prompts differently."""

    async def said(seed: int, prompt: str) -> str:
        running = await simulate(SimulatorSettings(speed=1000, seed=seed))
        async with aiohttp.ClientSession(running.base_url) as http:
            heard = await ask(http, CHAT, body_for(CHAT, "fast", prompt))
        return heard.raw.decode().partition('"choices"')[2]

    first = await said(1, "one")
    assert await said(1, "one") == first
    assert await said(2, "one") != first
    assert await said(1, "two") != first
