"""The first content gates the head: until it is here, every failure is an honest error or another target's answer."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, Stage, hear
from tests.provider_answers import (
    anthropic_error_doc,
    event_stream,
    openai_answer,
    openai_chunk,
    openai_error,
    openai_error_doc,
    openai_stream,
    responses_stream,
    unary,
)
from tests.raw_connection import read_boundary
from tests.upstream_script import (
    CHUNKED,
    JSON,
    SSE,
    Script,
    body_of,
    chunk,
    close,
    end,
    event,
    head,
    raw,
    reached,
    reset,
    stall,
    wait,
)

ROLE = event(openai_chunk({"role": "assistant", "content": ""}))
ERROR = event(openai_error_doc("Secret trouble inside."))
OPEN = head(200, SSE, CHUNKED)
PADDING = b": padding" + b"." * 1000 + b"\n\n"

FAILURES: dict[str, tuple[Script, str]] = {
    "reset before the head": ([reset()], "provider_error"),
    "closed before the head": ([close()], "provider_error"),
    "half a head": ([raw(b"HTTP/1.1 200 OK\r\nConte"), close()], "provider_error"),
    "not HTTP": ([raw(b"SSH-2.0-OpenSSH_9.6\r\n"), close()], "provider_error"),
    "reset behind the head": ([OPEN, reset()], "truncated"),
    "role, then reset": ([OPEN, ROLE, reset()], "truncated"),
    "role, then closed": ([OPEN, ROLE, close()], "truncated"),
    "role, then a clean end": ([OPEN, ROLE, end()], "truncated"),
    "half an event, then reset": ([OPEN, chunk(b'data: {"choices":[{"delta":{"content":"x"'), reset()], "truncated"),
    "empty stream": ([OPEN, end()], "truncated"),
    "comments only": ([OPEN, chunk(b": one\n\n: two\n\n"), end()], "truncated"),
    "error event first": ([OPEN, ERROR, end()], "stream_error"),
    "named error event first": ([OPEN, event("overloaded", "error"), end()], "stream_error"),
    "role, then error event": ([OPEN, ROLE, ERROR, reset()], "stream_error"),
    "internal error": (openai_error(500), "provider_error"),
    "a page of HTML": (
        [head(200, ("Content-Type", "text/html"), ("Content-Length", "6")), raw(b"<html>")],
        "provider_error",
    ),
    "an error in a 200": (unary(openai_error_doc()), "provider_error"),
    "an empty 200": ([head(200, JSON, ("Content-Length", "0"))], "provider_error"),
}


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_failures_before_content_are_errors(stage: Stage) -> None:
    """Nothing of the failed stream reaches the client: an error object, its status, and no word of the provider's."""
    for name, (script, code) in FAILURES.items():
        stage.upstream.next(script)
        heard = await stage.hear()
        document = json.loads(heard.body)
        assert (name, heard.status, document["error"]["code"]) == (name, 502, code)
        assert heard.head.get("content-type") == "application/json"
        assert heard.head.get("x-gateway-provider") == "one"
        assert heard.head.get("x-gateway-attempts") == "1"
        assert b"Secret" not in heard.body
    assert stage.value("requests_total") == len(FAILURES)
    assert stage.value("attempts_total", provider="one") == len(FAILURES)
    await stage.upstream.until_open(stage.gateway.plans.current.providers["one"].pool.idle())


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_failed_streams_with_garbage_for_framing(make_stage: MakeStage) -> None:
    """A chunk size that is none is a broken provider, found at once where the bytes are spliced."""
    stage = await make_stage()
    stage.upstream.always([OPEN, raw(b"zz\r\nnonsense"), stall()])
    heard = await stage.hear()
    assert (heard.status, json.loads(heard.body)["error"]["code"]) == (502, "provider_error")
    await stage.upstream.closed(0)


async def test_failures_before_content_move_on(make_stage: MakeStage, way: Way) -> None:
    """The second target's stream and nothing else arrives, and the head says who served, at which attempt."""
    stage = await make_stage(way, two=True)
    assert stage.second is not None
    good = openai_stream(3)
    stage.second.always(good)
    for name, (script, code) in FAILURES.items():
        stage.upstream.next(script)
        heard = await stage.hear()
        assert (name, heard.status, heard.body) == (name, 200, body_of(good))
        assert heard.head.get("x-gateway-provider") == "two"
        assert heard.head.get("x-gateway-attempts") == "2"
        assert stage.value("attempts_total", provider="one", result=code) >= 1
    assert stage.ended_as("success") == len(FAILURES)
    assert stage.value("attempts_total", provider="one") == len(FAILURES)
    assert stage.value("provider_errors_total", provider="one") == len(FAILURES)


async def test_refused_connections_move_on(make_stage: MakeStage, way: Way) -> None:
    """A provider that is not there costs one attempt; where both are away the answer says so."""
    stage = await make_stage(way, two=True)
    assert stage.second is not None
    await stage.upstream.refuse()
    await stage.second.refuse()
    heard = await stage.hear()
    assert (heard.status, json.loads(heard.body)["error"]["code"]) == (502, "connect_failed")
    assert heard.head.get("x-should-retry") == "false"
    await stage.second.start()
    stage.second.always(openai_stream(1))
    heard = await stage.hear()
    assert (heard.status, heard.head.get("x-gateway-provider")) == (200, "two")
    assert stage.value("attempts_total", provider="one", result="connect_failed") == 2


async def test_refusals_of_the_clients_making_stay(make_stage: MakeStage, way: Way) -> None:
    """What the client did wrong would be as wrong at the next target: it is not asked."""
    stage = await make_stage(way, two=True)
    stage.upstream.always(openai_error(400, kind="invalid_request_error"))
    heard = await stage.hear()
    assert (heard.status, json.loads(heard.body)) == (400, openai_error_doc(kind="invalid_request_error"))
    assert stage.ended_as("invalid_request") == 1


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_large_preamble_commits(stage: Stage) -> None:
    """More than 64 KiB is not held back: the head leaves, and a failure is then an event."""
    stage.upstream.always([OPEN, *[chunk(PADDING)] * 70, reset()])
    heard = await stage.hear()
    assert heard.status == 200
    assert heard.body.startswith(PADDING * 70)
    assert b'"code":"truncated"' in heard.body


async def test_preamble_waits_for_content(stage: Stage) -> None:
    """While only the role is here no head leaves; the first word brings the head and all before it."""
    go, role_came = asyncio.Event(), asyncio.Event()
    word, finish = event(openai_chunk({"content": "hi"})), event(openai_chunk({}, finish="stop"))
    after = [word, finish, event("[DONE]"), end()]
    stage.upstream.always([OPEN, ROLE, reached(role_came), wait(go), *after])
    client = await stage.ask()
    await role_came.wait()
    await read_boundary()
    assert client.read_sizes == []
    go.set()
    heard = await hear(client)
    assert heard.body == body_of([OPEN, ROLE, *after])


COMMITTING: dict[str, tuple[str, Callable[[], Script]]] = {
    "only [DONE]": (CHAT, lambda: event_stream(event("[DONE]"))),
    "only a finish": (CHAT, lambda: event_stream(event(openai_chunk({}, finish="stop")))),
    "no choices at all": (CHAT, lambda: event_stream(event({"object": "x"}), event("[DONE]"))),
    "not JSON": (CHAT, lambda: event_stream(event("plain words"), event("[DONE]"))),
    "a tool call": (CHAT, lambda: event_stream(event(openai_chunk({"tool_calls": [{"index": 0}]})), event("[DONE]"))),
    "reasoning": (CHAT, lambda: event_stream(event(openai_chunk({"reasoning_content": "hm"})), event("[DONE]"))),
    "responses without text": (RESPONSES, lambda: responses_stream(0)),
    "only message_stop": (MESSAGES, lambda: event_stream(event({"type": "message_stop"}, "message_stop"))),
}


async def test_what_counts_as_content(stage: Stage) -> None:
    """A finish reason, a closing event, a tool call, anything unknown: all of it is an answer."""
    for name, (path, build) in COMMITTING.items():
        stage.upstream.next(build())
        heard = await stage.hear(path)
        assert (name, heard.status, heard.body, heard.whole) == (name, 200, body_of(build()), True)


async def test_an_answer_that_does_not_stream(stage: Stage) -> None:
    """A provider that answers whole, though a stream was asked, is relayed as it is."""
    stage.upstream.always(openai_answer("Whole."))
    heard = await stage.hear()
    assert (heard.status, heard.body) == (200, body_of(openai_answer("Whole.")))
    assert heard.head.get("content-type") == "application/json"


async def test_errors_speak_the_callers_dialect(stage: Stage) -> None:
    """Anthropic's clients get Anthropic's error object, with both request ids."""
    stage.upstream.always([OPEN, event(anthropic_error_doc("Overloaded"), "error"), end()])
    heard = await stage.hear(MESSAGES)
    document = json.loads(heard.body)
    assert (heard.status, document["type"], document["error"]["code"]) == (502, "error", "stream_error")
    assert document["request_id"] == heard.head.get("request-id") == heard.head.get("x-request-id")
