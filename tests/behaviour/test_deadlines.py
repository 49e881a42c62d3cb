"""Nothing waits for ever: every wait on an upstream has a deadline, and each fires in time."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, PROVIDER_KEY, Stage, StageClock, config, hear
from tests.conftest import MakeGateway
from tests.provider_answers import openai_chunk, openai_stream
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import CHUNKED, JSON, SSE, Script, Write, chunk, event, head, raw, stall

TCP = pytest.mark.parametrize("way", [FAST, WAYS[1]], ids=str)
OPEN = head(200, SSE, CHUNKED)
ROLE = event(openai_chunk({"role": "assistant", "content": ""}))
LATE_S = 5.0
"""How late a deadline may fire, as promised."""

FRAMED_WRONG: Script = [head(200, JSON, CHUNKED), raw(b"zz\r\n"), stall()]
BEFORE_CONTENT: dict[str, Script] = {
    "no head": [stall()],
    "half a head": [raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), stall()],
    "only 1xx heads": [head(100), head(103, ("Link", "</x>")), stall()],
    "a head": [OPEN, stall()],
    "a role": [OPEN, ROLE, stall()],
    "comments": [OPEN, Write((chunk(b": ping\n\n").wire,) * 1000), stall()],
    "a status and no body": [head(500, JSON, ("Content-Length", "10")), stall()],
    "a whole answer that does not come": [head(200, JSON, ("Content-Length", "10")), raw(b"{"), stall()],
    "framing that is none": FRAMED_WRONG,
}


async def refused(stage: Stage, path: str = CHAT, *headers: tuple[str, str], **fields: Any) -> tuple[int, str, float]:
    """Ask; the status, the code of the error, and the seconds that it took."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    heard = await hear(await stage.ask(path, *headers, **fields))
    took_s = loop.time() - since
    return heard.status, json.loads(heard.body)["error"]["code"], took_s


@TCP
async def test_first_token_deadline(make_stage: MakeStage, way: Way) -> None:
    """Whatever upstream does instead of talking, first_token_s ends it with a 504, and the connection with it.

    Broken framing is seen at once where the gateway has aiohttp's protocol in hand.
    """
    stage = await make_stage(way, provider="timeouts: {first_token_s: 0.2, stall_s: 0.05}")
    stage.upstream.by(lambda request: BEFORE_CONTENT[request.header("openai-beta") or ""])

    async def ends(name: str) -> None:
        status, code, took_s = await refused(stage, CHAT, ("openai-beta", name))
        if BEFORE_CONTENT[name] is FRAMED_WRONG and way.spliced:
            assert (name, status, code) == (name, 502, "provider_error")
            return
        assert (name, status, code) == (name, 504, "first_token_timeout")
        assert 0.2 <= took_s < 0.2 + LATE_S

    await asyncio.gather(*map(ends, BEFORE_CONTENT))
    await stage.upstream.until_open(0)
    assert stage.ended_as("first_token_timeout") == len(BEFORE_CONTENT) - way.spliced


@TCP
async def test_wishes_and_the_deadline(make_stage: MakeStage, way: Way) -> None:
    """The client's x-gateway-timeout-s lowers the deadline of streams and of whole answers, and never raises it."""
    stage = await make_stage(way, server="{deadline_s: 0.4}", provider="timeouts: {unary_s: 0.4}")
    stage.upstream.always([stall()])
    asked: list[tuple[bool, str | None, float]] = [
        (True, None, 0.4),
        (True, "0.1", 0.1),
        (True, "60", 0.4),
        (False, None, 0.4),
        (False, "0.1", 0.1),
        (False, "60", 0.4),
    ]

    async def ends(stream: bool, wish: str | None, expected_s: float) -> None:
        headers = [("x-gateway-timeout-s", wish)] if wish else []
        status, code, took_s = await refused(stage, CHAT, *headers, stream=stream)
        assert (status, code) == (504, "deadline_exceeded")
        assert expected_s <= took_s < expected_s + LATE_S

    await asyncio.gather(*(ends(*one) for one in asked))
    await stage.upstream.until_open(0)


@TCP
async def test_whole_answers_that_do_not_come(make_stage: MakeStage, way: Way) -> None:
    """unary_s bounds the head, a body that stalls, and framing at which aiohttp alone would wait for ever."""
    stage = await make_stage(way, provider="timeouts: {unary_s: 0.2}")
    scripts: list[Script] = [
        [stall()],
        [head(200, JSON, ("Content-Length", "10")), raw(b"{"), stall()],
        [head(200, JSON, CHUNKED), chunk(b"{"), stall()],
        [head(200, JSON, CHUNKED), chunk(b"{"), raw(b"zz\r\n"), stall()],
        [head(200, JSON), raw(b"{"), stall()],
        [head(503, JSON, CHUNKED), chunk(b"{"), raw(b"zz\r\n"), stall()],
    ]
    stage.upstream.next(*scripts)
    answers = await asyncio.gather(*(refused(stage, MESSAGES, stream=False) for _ in scripts))
    assert {answer[:2] for answer in answers} <= {(504, "deadline_exceeded"), (502, "provider_error")}
    assert all(took_s < 0.2 + LATE_S for _, _, took_s in answers)
    await stage.upstream.until_open(0)


@TCP
@pytest.mark.parametrize("wish", [None, "0.2"])
async def test_large_answers_that_stall(make_stage: MakeStage, way: Way, wish: str | None) -> None:
    """Behind 1 MiB the head has gone: the deadline, the client's own too, breaks the connection."""
    stage = await make_stage(way, provider=f"timeouts: {{unary_s: {'30' if wish else '0.2'}}}")
    stage.upstream.next([head(200, JSON, CHUNKED), Write((chunk(b" " * 65536).wire,) * 30), stall()])
    client = await stage.ask(CHAT, *([("x-gateway-timeout-s", wish)] if wish else []), stream=False)
    heard = await hear(client)
    assert (heard.status, heard.whole) == (200, False)
    await stage.upstream.closed(0)
    await stage.settled()
    assert stage.ended_as("deadline_exceeded") == 1


@TCP
async def test_deadlines_bound_all_attempts(make_stage: MakeStage, way: Way) -> None:
    """first_token_s moves on to the next target; deadline_s ends the request, whichever is being asked."""
    options = {"server": "{deadline_s: 0.5}", "provider": "timeouts: {first_token_s: 0.2}"}
    stage = await make_stage(way, two=True, **options)
    assert stage.second is not None
    stage.upstream.always([stall()])
    stage.second.next(openai_stream(1), [stall()])
    heard = await stage.hear()
    assert (heard.status, heard.head.get("x-gateway-attempts")) == (200, "2")
    status, _, took_s = await refused(stage)
    assert status == 504
    assert took_s < 0.5 + LATE_S
    assert stage.value("attempts_total", provider="one", result="first_token_timeout") == 2


@pytest.fixture
def blackhole() -> Iterator[str]:
    """An address that takes no connection any more: its queue is full and nobody accepts."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting: list[socket.socket] = []
    for _ in range(3):
        knocking = socket.socket()
        knocking.setblocking(False)
        knocking.connect_ex(listening.getsockname())
        waiting.append(knocking)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    for knocking in (*waiting, listening):
        knocking.close()


@pytest.mark.parametrize("stream", [True, False])
@TCP
async def test_connections_that_are_not_taken(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, blackhole: str, way: Way, stream: bool
) -> None:
    """connect_s ends an attempt whose connection does not come to be."""
    text = config({"one": blackhole}, provider="pool: {warm: 0, connect_s: 0.2}")
    clock = StageClock()
    gateway = await make_gateway(text, start={"spliced": way.spliced, "access_log": None, "clock": clock})
    stage = Stage(gateway, upstream, clock)
    status, code, took_s = await refused(stage, stream=stream)
    await stage.leave()
    assert (status, code) == (502, "connect_failed")
    assert 0.2 <= took_s < 0.2 + LATE_S


async def test_deadline_errors_hold_no_secret(make_stage: MakeStage) -> None:
    """What a late answer says in its error is ours alone."""
    stage = await make_stage(provider="timeouts: {first_token_s: 0.1}")
    stage.upstream.next([OPEN, ROLE, stall()])
    heard = await stage.hear()
    assert PROVIDER_KEY.encode() not in heard.head.raw + heard.body
    assert b"one" in heard.body or b"0.1 s" in heard.body
