"""Whole answers: byte for byte, provider errors in clear words, and nothing crosses that should not."""

import json
from typing import Any

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage
from tests.behaviour.stage import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Stage,
    hear,
)
from tests.provider_answers import (
    OPENAI_USAGE,
    anthropic_answer,
    completions_answer,
    embeddings_answer,
    openai_answer,
    responses_answer,
)
from tests.upstream_script import (
    CHUNKED,
    JSON,
    Script,
    Step,
    body_of,
    chunk,
    chunks,
    close,
    end,
    head,
    raw,
    reset,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
TCP = pytest.mark.parametrize("way", [FAST, WAYS[1]], ids=str)

ANSWERS: dict[str, list[Step]] = {
    CHAT: openai_answer("Häppy — 🙂"),
    COMPLETIONS: completions_answer(),
    EMBEDDINGS: embeddings_answer(),
    RESPONSES: responses_answer(),
    MESSAGES: anthropic_answer(),
}


@BOTH_LOOPS
async def test_answers_arrive_as_they_were_sent(stage: Stage) -> None:
    """Every endpoint, by length, by chunks and by the connection's end, white space and unknown fields included."""
    for path, answer in ANSWERS.items():
        body = body_of(answer).replace(b"{", b'{ "unknown":[1.50e3,null],', 1)
        framings: list[Script] = [
            [head(200, JSON, ("Content-Length", str(len(body)))), raw(body)],
            [head(200, JSON, CHUNKED), chunks([body[:3], body[3:]]), end()],
            [head(200, JSON), raw(body), close()],
        ]
        for script in framings:
            stage.upstream.next(script)
            heard = await stage.answer(path)
            assert (path, heard.status, heard.body) == (path, 200, body)
            assert heard.head.get("content-type") == "application/json"
            assert heard.head.get("content-length") == str(len(body))
    assert stage.ended_as("success") == 3 * len(ANSWERS)


def large_answer(size: int) -> bytes:
    """A chat completion with so many bytes of text, its usage at the end."""
    document = json.loads(body_of(openai_answer("ä" * (size // 2))))
    return json.dumps(document, ensure_ascii=False).encode()


@BOTH_LOOPS
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_large_answers_go_through_as_they_come(stage: Stage, framing: str) -> None:
    """Above 1 MiB the answer is relayed while it comes; its usage is found in its tail."""
    body = large_answer(3_000_000)
    pieces = [body[i : i + 100_000] for i in range(0, len(body), 100_000)]
    script: list[Step] = [head(200, JSON, CHUNKED), *chunks(pieces), end()]
    if framing == "length":
        script = [head(200, JSON, ("Content-Length", str(len(body)))), *map(raw, pieces)]
    stage.upstream.next(script)
    heard = await stage.answer()
    assert heard.body == body
    assert (heard.head.get("content-length") is None) == (framing == "chunks")
    assert stage.ended_as("success") == 1
    assert stage.value("tokens_total", type="input") == OPENAI_USAGE["prompt_tokens"]
    assert stage.value("tokens_total", type="output") == OPENAI_USAGE["completion_tokens"]


@BOTH_LOOPS
async def test_large_answers_that_break_break_the_connection(stage: Stage) -> None:
    """Behind 1 MiB the status has gone: the client must see that something is missing."""
    piece = chunk(b" " * 100_000)
    breaks: list[list[Step]] = [[reset()], [close()], [raw(b"ff\r\nshort"), reset()]]
    for ending in breaks:
        stage.upstream.next([head(200, JSON, CHUNKED), *[piece] * 20, *ending])
        heard = await hear(await stage.ask(stream=False))
        assert (heard.status, heard.whole) == (200, False)
    await stage.settled()
    assert stage.ended_as("truncated") == len(breaks)


async def test_small_answers_that_break_are_errors(stage: Stage) -> None:
    """Up to 1 MiB nothing has left: a broken answer is a 502."""
    breaks: list[Script] = [
        [head(200, JSON, CHUNKED), chunk(b'{"a":'), reset()],
        [head(200, JSON, ("Content-Length", "50")), raw(b'{"a":1}'), close()],
        [head(200, JSON, CHUNKED), chunk(b'{"a":1}'), close()],
        [reset()],
    ]
    for script in breaks:
        stage.upstream.next(script)
        answer = await stage.answer()
        assert (answer.status, answer.json()["error"]["code"]) == (502, "provider_error")


async def test_continued_answers_stay_with_their_key(make_stage: MakeStage) -> None:
    """A Responses answer is continued at the provider that gave it, and nowhere else."""
    stage = await make_stage(two=True, models="  other: {targets: [two/gpt]}", targets="[one/gpt, two/gpt]")
    assert stage.second is not None
    stage.upstream.always(responses_answer())
    await stage.answer(RESPONSES)
    await stage.upstream.refuse()
    again: dict[str, Any] = {"previous_response_id": "resp_scripted"}
    for _ in range(2):
        assert (await stage.answer(RESPONSES, **again)).status == 200
    assert len(stage.upstream.requests) == 3
    assert stage.second.requests == []
    elsewhere = await stage.answer(RESPONSES, model="other", **again)
    assert (elsewhere.status, elsewhere.json()["error"]["param"]) == (400, "previous_response_id")
