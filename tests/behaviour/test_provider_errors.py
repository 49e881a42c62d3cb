"""Provider errors in clear words: one consequence each, our key in none, ours in the caller's dialect."""

import json

from gateway.upstream.targets import MAX_REST_S
from tests.behaviour.conftest import MakeStage
from tests.behaviour.stage import (
    CHAT,
    MESSAGES,
    PROVIDER_KEY,
    Stage,
    asking,
)
from tests.provider_answers import (
    anthropic_error,
    anthropic_error_doc,
    openai_error_doc,
    openai_stream,
    unary,
)
from tests.upstream_script import (
    CHUNKED,
    JSON,
    Script,
    Step,
    body_of,
    chunk,
    head,
    raw,
    stall,
)


def status_error(status: int, *headers: tuple[str, str], document: object = None) -> list[Step]:
    """An error with any status, 529 too, which the standard library does not know."""
    body = json.dumps(document or openai_error_doc(f"Key {PROVIDER_KEY} says no.")).encode()
    return [head(status, JSON, ("Content-Length", str(len(body))), *headers, reason="Scripted"), raw(body)]


ERRORS: dict[str, tuple[Script, int, str, str | None]] = {
    "400": (status_error(400), 400, "invalid_request", None),
    "401": (status_error(401), 502, "provider_auth", None),
    "402": (status_error(402), 502, "provider_auth", None),
    "403": (status_error(403), 502, "provider_auth", None),
    "408": (status_error(408), 502, "provider_error", None),
    "409": (status_error(409), 409, "invalid_request", None),
    "413": (status_error(413), 413, "invalid_request", None),
    "422": (status_error(422), 422, "invalid_request", None),
    "422 in other words": (unary({"detail": "no"}, status=422), 400, "invalid_request", None),
    "429": (status_error(429), 429, "provider_throttled", "1"),
    "429, wait": (status_error(429, ("Retry-After", "7")), 429, "provider_throttled", "7"),
    "429, wait in ms": (status_error(429, ("retry-after-ms", "1500")), 429, "provider_throttled", "2"),
    "500": (status_error(500), 502, "provider_error", None),
    "503": (status_error(503), 502, "provider_error", None),
    "503, wait": (status_error(503, ("Retry-After", "3")), 429, "provider_throttled", "3"),
    "529": (status_error(529), 429, "provider_throttled", "1"),
    "599": ([head(599, JSON, ("Content-Length", "2"), reason="Odd"), raw(b"{}")], 502, "provider_error", None),
    "204": ([head(204)], 502, "provider_error", None),
    "206": ([head(206, JSON, ("Content-Length", "2")), raw(b"{}")], 502, "provider_error", None),
    "301": ([head(301, ("Location", "http://127.0.0.1:1/"), ("Content-Length", "0"))], 502, "provider_error", None),
    "307": ([head(307, ("Location", "/v1/other"), ("Content-Length", "0"))], 502, "provider_error", None),
    "a page": (
        [head(200, ("Content-Type", "text/html"), ("Content-Length", "4")), raw(b"<p/>")],
        502,
        "provider_error",
        None,
    ),
    "an error in a 200": (unary(openai_error_doc()), 502, "provider_error", None),
    "an empty 200": ([head(200, JSON, ("Content-Length", "0"))], 502, "provider_error", None),
    "not JSON": ([head(200, JSON, ("Content-Length", "4")), raw(b"nope")], 502, "provider_error", None),
    "a list": (unary([1]), 502, "provider_error", None),
    "a stream that nobody asked for": (openai_stream(2), 502, "provider_error", None),
    "an upgrade": ([head(101, ("Upgrade", "x"), ("Connection", "upgrade")), stall()], 502, "provider_error", None),
    "a refusal in HTML": (
        [head(400, ("Content-Type", "text/html"), ("Content-Length", "4")), raw(b"<p/>")],
        400,
        "invalid_request",
        None,
    ),
    "an endless error": (
        [head(500, JSON, CHUNKED), *[chunk(b" " * 50_000)] * 3, stall()],
        502,
        "provider_error",
        None,
    ),
}


async def test_provider_errors_in_clear_words(stage: Stage) -> None:
    """Each status has its one consequence; what is passed on is the provider's word less our key."""
    for name, (script, status, code, wait) in ERRORS.items():
        stage.upstream.next(script)
        stage.clock.advance(MAX_REST_S)  # what rested after the one before is awake again
        answer = await stage.answer()
        assert (name, answer.status, answer.head.get("retry-after")) == (name, status, wait)
        assert stage.value("requests_total", status=code) >= 1, name
        document = answer.json()
        if code == "invalid_request" and name == str(status):
            assert document == openai_error_doc("Key [key] says no.")
        else:
            assert document["error"]["code"] == code
        assert PROVIDER_KEY.encode() not in answer.head.raw + answer.body
        assert answer.head.get("content-type") == "application/json"
        assert b"<p/>" not in answer.body
    assert stage.value("requests_total") == len(ERRORS)
    assert len(stage.upstream.requests) == len(ERRORS), "no redirect was followed, nothing was tried twice"


async def test_models_that_the_provider_does_not_know(make_stage: MakeStage) -> None:
    """A 404 on a model that the operator wrote is the operator's; through a pattern it is the client's."""
    stage = await make_stage(models='  open-*: {targets: ["one/*"]}\n  fixed-*: {targets: [one/gpt]}')
    not_found = unary(openai_error_doc("No such model."), status=404)
    stage.upstream.always(not_found)
    passed = await stage.answer(model="open-made-up")
    assert (passed.status, passed.body) == (404, body_of(not_found))
    answer = await stage.answer(model="fixed-made-up")
    assert (answer.status, answer.json()["error"]["code"]) == (502, "provider_misrouted")
    assert b"No such model" not in answer.body


async def test_models_that_only_the_operator_named(make_stage: MakeStage) -> None:
    """The same where the configured name and the provider's are one word."""
    stage = await make_stage()
    stage.upstream.always(unary(openai_error_doc("No such model."), status=404))
    assert (await stage.answer(model="gpt")).status == 502


async def test_errors_of_anthropic(stage: Stage) -> None:
    """Its refusals pass as they are; ours have its shape and both ids."""
    stage.upstream.next(
        anthropic_error(400, kind="invalid_request_error"), status_error(529, document=anthropic_error_doc())
    )
    refusal = await stage.answer(MESSAGES)
    assert (refusal.status, refusal.json()) == (400, anthropic_error_doc(kind="invalid_request_error"))
    overloaded = await stage.answer(MESSAGES)
    assert (overloaded.status, overloaded.json()["error"]["type"]) == (429, "rate_limit_error")
    assert overloaded.head.get("request-id") == overloaded.json()["request_id"]


async def test_refusals_keep_the_connection(stage: Stage) -> None:
    """An error answer of the provider costs no connection, ours or the client's."""
    client = await stage.client()
    for _ in range(3):
        stage.upstream.next(status_error(400))
        await client.send(asking(CHAT, stream=False))
        assert (await client.answer()).status == 400
        await stage.settled()
    assert stage.upstream.accepted_connections == 1
