"""The access log: one line per request, valid JSON, its level, and what never stands in it."""

import asyncio
import io
import json
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.core.routing import Target
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.exchange import Exchange
from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer, openai_chunk, openai_error, openai_stream
from tests.raw_client import RawClient
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.exchanges import NOW_S, WALL_S, admitted, attempt, begun, tried
from tests.surface.front import ASK, BEARER, CHAT, open_front
from tests.upstream_script import CHUNKED, SSE, Script, event, head, reset, stall


def line_of(exchange: Exchange, least: str = "info") -> dict[str, Any] | None:
    """Writes one exchange that took a quarter of a second; returns its line."""
    out = io.StringIO()
    log = AccessLog(out, least)
    log.write(exchange, NOW_S + 0.25)
    log.flush()
    lines = out.getvalue().splitlines()
    assert len(lines) <= 1
    document: dict[str, Any] | None = json.loads(lines[0]) if lines else None
    return document


def ended(outcome: Outcome, *, status: int | None = None) -> Exchange:
    """An exchange that ended so, before its head unless a status says otherwise."""
    exchange = tried(CHAT, ASK)
    exchange.outcome = outcome
    exchange.status = CONSEQUENCES[outcome].status if status is None else status
    return exchange


async def test_line_says_who_what_and_how_it_ended() -> None:
    """Every field, by name, in its unit."""
    exchange = tried(CHAT, ASK)
    exchange.outcome, exchange.status, exchange.cost_nanousd = Outcome.SUCCESS, 200, 17
    assert line_of(exchange) == {
        "time": WALL_S,
        "level": "info",
        "event": "request",
        "id": "req_new",
        "tenant": "acme",
        "key": "web",
        "operation": "chat",
        "model": "gpt-4o-mini",
        "stream": False,
        "provider": "one",
        "served_model": "gpt-4o-mini-2024-07-18",
        "attempts": 1,
        "status": 200,
        "outcome": "success",
        "duration_ms": 250.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "usage": "none",
        "cost_nanousd": 17,
    }


async def test_line_says_who_was_tried() -> None:
    """Where there was more than one attempt: each with its ending and its time, the one that served among them."""
    exchange = tried(CHAT, ASK)
    exchange.attempts[0].end(Outcome.CONNECT_FAILED, NOW_S + 0.1)
    served = attempt(Target("two", "other"))
    exchange.attempts.append(served)
    served.end(Outcome.SUCCESS, NOW_S + 0.25)
    exchange.served, exchange.outcome, exchange.status = served, Outcome.SUCCESS, 200
    line = line_of(exchange)
    assert line is not None
    assert (line["provider"], line["served_model"], line["attempts"]) == ("two", "other", 2)
    assert line["tried"] == [
        {"provider": "one", "model": "gpt-4o-mini-2024-07-18", "outcome": "connect_failed", "ms": 100.0},
        {"provider": "two", "model": "other", "outcome": "success", "ms": 250.0},
    ]


async def test_unknown_things_are_null() -> None:
    """A refusal at the door knows no tenant, no model and no provider; the line has its fields all the same."""
    exchange = begun()
    exchange.error = GatewayError("not_found", "There is nothing here.")
    exchange.outcome, exchange.status = Outcome.INVALID_REQUEST, 404
    line = line_of(exchange)
    assert line is not None
    assert (line["status"], line["error"], line["outcome"]) == (404, "not_found", "invalid_request")
    for name in ("tenant", "key", "operation", "model", "provider", "served_model"):
        assert line[name] is None
    assert "cost_nanousd" not in line


@pytest.mark.parametrize("outcome", Outcome)
async def test_level_says_whether_somebody_should_look(outcome: Outcome) -> None:
    """`warning` for 5xx and for what broke off after its head, `info` for all that is the client's own."""
    if outcome is Outcome.HEDGE_LOST:
        return
    line = line_of(ended(outcome))
    assert line is not None
    assert line["outcome"] == outcome
    assert line["status"] == CONSEQUENCES[outcome].status
    assert line["level"] == ("warning" if CONSEQUENCES[outcome].status >= 500 else "info")
    broken = line_of(ended(outcome, status=200))
    assert broken is not None
    assert broken["level"] == ("info" if outcome in (Outcome.SUCCESS, Outcome.CLIENT_CLOSED) else "warning")


@pytest.mark.parametrize(
    ("least", "written"),
    [("debug", ["success", "stalled"]), ("info", ["success", "stalled"]), ("warning", ["stalled"]), ("error", [])],
)
async def test_lines_below_the_level_are_not_written(least: str, written: list[str]) -> None:
    """`server.log_level` holds for these lines too."""
    lines = [line_of(ended(outcome), least) for outcome in (Outcome.SUCCESS, Outcome.STALLED)]
    assert [line["outcome"] for line in lines if line is not None] == written


async def test_client_that_left_before_its_head_is_a_499() -> None:
    """No status was sent; nginx's number says so."""
    line = line_of(ended(Outcome.CLIENT_CLOSED, status=0))
    assert line is not None
    assert line["status"] == 499


async def test_lines_are_written_together_and_soon() -> None:
    """Within a moment, without anybody asking, in one write."""
    written = asyncio.get_running_loop().create_future()

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            written.set_result(text)
            return len(text)

    log = AccessLog(Out())
    for _ in range(3):
        log.write(admitted_and_done(), NOW_S)
    assert len((await asyncio.wait_for(written, 5)).splitlines()) == 3


async def test_broken_output_is_no_request_s_problem() -> None:
    """A full disk or a closed pipe loses lines, and only lines."""

    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    for out in (Full(), io.StringIO()):
        log = AccessLog(out)
        out.close() if type(out) is io.StringIO else None
        log.write(admitted_and_done(), NOW_S)
        log.flush()


async def test_nowhere_is_a_place() -> None:
    """Without an output nothing is kept either."""
    log = AccessLog(None)
    log.write(admitted_and_done(), NOW_S)
    log.flush()


def admitted_and_done() -> Exchange:
    exchange = admitted(CHAT, ASK)
    exchange.outcome, exchange.status = Outcome.SUCCESS, 200
    return exchange


async def test_every_request_has_its_line(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Success, refusals, provider faults, broken streams and clients that left: one line each, in order."""
    front = await open_front(make_gateway, upstream, server="deadline_s: 5")
    streamed = {**ASK, "stream": True}
    cut: Script = [head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), reset()]
    upstream.next(openai_answer(), openai_stream(), openai_error(500), openai_error(429, ("Retry-After", "1")), cut)
    await front.post(CHAT, ASK)
    await front.post(CHAT, streamed)
    await front.post(CHAT, ASK)
    await front.post(CHAT, ASK)
    await front.post(CHAT, streamed)
    await front.post(CHAT, {**ASK, "model": "nope"})
    await front.post(CHAT, b"{")
    await front.get("/nowhere")
    await front.get("/v1/models")
    upstream.next([head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), stall()])
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, streamed, *BEARER)
        await client.answer_head()
        await client.reset()
    await upstream.closed(upstream.requests[-1].connection)
    lines = front.access_log()
    assert [(line["outcome"], line["status"], line["level"]) for line in lines] == [
        ("success", 200, "info"),
        ("success", 200, "info"),
        ("provider_error", 502, "warning"),
        ("provider_throttled", 429, "info"),
        ("truncated", 200, "warning"),
        ("invalid_request", 404, "info"),
        ("invalid_request", 400, "info"),
        ("invalid_request", 404, "info"),
        ("success", 200, "info"),
        ("client_closed", 200, "info"),
    ]
    assert [line["stream"] for line in lines[:2]] == [False, True]
    assert lines[1]["ttft_ms"] > 0
    assert lines[1]["events"] >= 3
    assert len({line["id"] for line in lines}) == len(lines)


async def test_log_level_of_the_configuration_holds(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`server.log_level: warning` leaves the lines that say trouble."""
    upstream.next(openai_answer(), openai_error(500))
    front = await open_front(make_gateway, upstream, server="log_level: warning")
    await front.post(CHAT, ASK)
    await front.post(CHAT, ASK)
    assert [line["outcome"] for line in front.access_log()] == ["provider_error"]


async def test_access_log_can_be_switched_off(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`server.access_log: false`: not a line."""
    upstream.next(openai_answer(), openai_error(500))
    front = await open_front(make_gateway, upstream, server="access_log: false")
    await front.post(CHAT, ASK)
    await front.post(CHAT, ASK)
    assert front.access_log() == []


async def test_settings_may_change() -> None:
    """What was collected before is written where lines go then; below the new level there are none."""
    out = io.StringIO()
    log = AccessLog(None)
    log.write(ended(Outcome.STALLED), NOW_S)
    log.configure(out, "warning")
    log.write(ended(Outcome.SUCCESS), NOW_S)
    log.write(ended(Outcome.STALLED), NOW_S)
    log.configure(out, "error")
    log.write(ended(Outcome.STALLED), NOW_S)
    log.flush()
    assert [json.loads(line)["outcome"] for line in out.getvalue().splitlines()] == ["stalled"]
