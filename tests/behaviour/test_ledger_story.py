"""The ledger from the client's side: what was seen is written down, and what cannot be written is not served."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.core.outcome import Outcome
from gateway.core.tokens import Source
from gateway.stores.sql.address import SqliteAddress
from tests.behaviour.conftest import FAST, MakeStage, Way
from tests.behaviour.stage import CHAT, COUNT_TOKENS, EMBEDDINGS, MESSAGES, RESPONSES, Stage, hear, until_heard
from tests.databases import file_locked
from tests.provider_answers import (
    anthropic_answer,
    anthropic_stream,
    embeddings_answer,
    openai_answer,
    openai_chunk,
    openai_error,
    openai_stream,
    responses_stream,
)
from tests.raw_connection import read_boundary
from tests.upstream_script import CHUNKED, SSE, Script, chunk, end, event, head, reached, reset, sse, stall, wait

USAGE = {"prompt_tokens": 25, "completion_tokens": 8}
WORD = event(openai_chunk({"content": "word"}))
COLUMNS = (
    "request_id, tenant_id, key_id, operation, stream, model_asked, model_served, provider, outcome, status, source, "
    "state, cost_nanousd, input_tokens, output_tokens, tags, ttft_ms, opened_at_us, ended_at_us, exchange_id"
)


def file_of(stage: Stage) -> Path:
    address = stage.gateway.state.database.address
    assert isinstance(address, SqliteAddress)
    return address.path


def rows(stage: Stage, query: str = f"SELECT {COLUMNS} FROM exchanges ORDER BY exchange_id") -> list[dict[str, Any]]:
    """What the file has now, read as anybody could."""
    with closing(sqlite3.connect(file_of(stage))) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


async def all_rows(stage: Stage) -> list[dict[str, Any]]:
    """The same, when nothing waits to be written."""
    await stage.settled()
    await stage.gateway._books.flushed()
    await stage.gateway.state.ledger.flushed()
    return rows(stage)


@pytest.mark.parametrize(
    ("path", "streams", "script"),
    [
        (CHAT, True, openai_stream(3, usage=USAGE)),
        (CHAT, False, openai_answer(usage=USAGE)),
        (RESPONSES, True, responses_stream()),
        (MESSAGES, True, anthropic_stream()),
        (MESSAGES, False, anthropic_answer()),
        (EMBEDDINGS, False, embeddings_answer()),
    ],
    ids=["chat stream", "chat", "responses stream", "messages stream", "messages", "embeddings"],
)
async def test_who_has_seen_the_end_finds_the_row(
    make_stage: MakeStage, way: Way, path: str, streams: bool, script: Script
) -> None:
    """At the very moment in which the client has the closing event, or the whole body, the account is committed."""
    stage = await make_stage(way)
    stage.upstream.next(script)
    client = await stage.ask(path, stream=streams)
    heard = await hear(client)
    (row,) = rows(stage)
    assert (heard.status, row["state"], row["outcome"], row["status"]) == (200, "settled", "success", 200)
    assert (row["request_id"], row["tenant_id"], row["key_id"]) == (heard.head.get("x-request-id"), "acme", "web")
    assert (row["source"], bool(row["stream"])) == ("reported", streams)
    assert row["cost_nanousd"] == 1000 * row["input_tokens"] + 2000 * row["output_tokens"] > 0
    assert row["provider"] == ("claude" if path == MESSAGES else "one")
    assert (row["ttft_ms"] is not None) == streams
    assert row["opened_at_us"] <= row["ended_at_us"]


@pytest.mark.parametrize(
    ("script", "outcome", "status", "source"),
    [
        (openai_error(500), Outcome.PROVIDER_ERROR, 502, Source.NONE),
        (openai_error(400), Outcome.INVALID_REQUEST, 400, Source.NONE),
        ([head(200, SSE, CHUNKED), WORD, reset()], Outcome.TRUNCATED, 200, Source.ESTIMATED),
        (openai_stream(3), Outcome.SUCCESS, 200, Source.ESTIMATED),
    ],
    ids=["500", "400", "broken", "no usage"],
)
async def test_every_ending_is_written_down(
    make_stage: MakeStage, script: Script, outcome: Outcome, status: int, source: Source
) -> None:
    """As it was, with where its figures come from; one row for each attempt."""
    stage = await make_stage(FAST)
    stage.upstream.next(script)
    await stage.hear(CHAT)
    (row,) = await all_rows(stage)
    assert (row["outcome"], row["status"], row["source"], row["state"]) == (outcome, status, source, "settled")
    assert (row["cost_nanousd"] > 0) == (source is not Source.NONE)
    (attempt,) = rows(stage, "SELECT * FROM attempts")
    assert (attempt["exchange_id"], attempt["number"]) == (row["exchange_id"], 1)
    assert (attempt["provider"], attempt["outcome"]) == ("one", outcome)


async def test_a_client_that_leaves_pays_what_it_got(make_stage: MakeStage) -> None:
    """An estimate, and says so."""
    stage = await make_stage(FAST)
    stage.upstream.next([head(200, SSE, CHUNKED), WORD, stall()])
    client = await stage.ask(CHAT)
    await client.answer_head()
    await until_heard(client, b"word")
    await client.reset()
    (row,) = await all_rows(stage)
    assert (row["outcome"], row["source"], row["output_tokens"]) == ("client_closed", "estimated", 1)


async def test_two_attempts_are_two_rows_of_one_exchange(make_stage: MakeStage) -> None:
    """The tenant is charged once; the operator sees both."""
    stage = await make_stage(FAST, two=True)
    assert stage.second is not None
    stage.upstream.next(openai_error(500))
    stage.second.next(openai_answer(usage=USAGE))
    assert (await stage.answer(CHAT)).status == 200
    (row,) = await all_rows(stage)
    assert (row["provider"], row["cost_nanousd"]) == ("two", 41_000)
    attempts = rows(stage, "SELECT provider, outcome, cost_nanousd, source FROM attempts ORDER BY number")
    assert [tuple(attempt.values()) for attempt in attempts] == [
        ("one", "provider_error", 0, "none"),
        ("two", "success", 41_000, "reported"),
    ]


async def test_what_reaches_no_provider_leaves_no_row(make_stage: MakeStage) -> None:
    """Wrong keys, forbidden models, free counts: nothing was or could be spent."""
    stage = await make_stage(FAST)
    stage.upstream.next(anthropic_answer())
    assert (await stage.answer(COUNT_TOKENS)).status == 200
    assert (await stage.answer(CHAT, ("x-api-key", "agw-other"))).status == 401
    assert (await stage.answer(CHAT, model="nobody")).status == 404
    assert await all_rows(stage) == []


async def test_tags_are_kept(make_stage: MakeStage) -> None:
    """Declared ones; any other is refused before anything is spent."""
    stage = await make_stage(FAST, sections="ledger: {tags: [team]}")
    stage.upstream.next(openai_answer(usage=USAGE))
    assert (await stage.answer(CHAT, ("x-gateway-tags", "team=search"))).status == 200
    assert (await stage.answer(CHAT, ("x-gateway-tags", "colour=red"))).status == 400
    (row,) = await all_rows(stage)
    assert row["tags"] == '{"team":"search"}'


async def test_no_content_leaves_before_its_opening(make_stage: MakeStage, way: Way) -> None:
    """Not even the head: the provider answers at once, and its bytes wait for the database."""
    stage = await make_stage(way, sections="ledger: {open_wait_s: 50}")
    sent = asyncio.Event()
    stage.upstream.next([*openai_stream(3, usage=USAGE), reached(sent)])
    with file_locked(file_of(stage)):
        client = await stage.ask(CHAT)
        await sent.wait()
        for _ in range(5):
            await read_boundary()
        assert client.held_bytes == 0
    assert (await hear(client)).whole


async def test_nothing_is_served_that_cannot_be_written_down(make_stage: MakeStage) -> None:
    """503 with the time to wait, without asking the provider again and again; then it goes on by itself."""
    stage = await make_stage(FAST, sections="ledger: {open_wait_s: 0.05}")
    stage.upstream.always(openai_answer(usage=USAGE))
    with file_locked(file_of(stage)):
        refused = await (await stage.ask(CHAT, stream=False)).answer()
        assert (refused.status, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.head.get("retry-after") == "1"
        asked = len(stage.upstream.requests)
        for path in (CHAT, MESSAGES):
            again = await (await stage.ask(path, stream=False)).answer()
            assert again.status == 503
        assert len(stage.upstream.requests) == asked
        free = await stage.ask(COUNT_TOKENS, stream=False)
        assert (await free.answer()).status == 200
    while (await stage.answer(CHAT)).status != 200:
        pass
    *before, done = await all_rows(stage)
    assert {(row["outcome"], row["state"]) for row in before} == {("overloaded", "settled")}
    assert (done["outcome"], done["state"]) == ("success", "settled")


async def test_a_running_stream_ends_soon_all_the_same(make_stage: MakeStage, way: Way) -> None:
    """At most `end_wait_s` late; it is counted, and its account follows."""
    stage = await make_stage(way, sections="ledger: {end_wait_s: 0.05}")
    go_on = asyncio.Event()
    last = sse(openai_chunk({}, finish="stop")) + sse("[DONE]")
    stage.upstream.next([head(200, SSE, CHUNKED), WORD, wait(go_on), chunk(last), end()])
    client = await stage.ask(CHAT)
    await client.answer_head()
    await until_heard(client, b"word")
    with file_locked(file_of(stage)):
        go_on.set()
        assert b"[DONE]" in await until_heard(client, b"[DONE]")
        assert [row["state"] for row in rows(stage)] == ["open"]
    await stage.until("ledger_late_total", 1)
    (row,) = await all_rows(stage)
    assert (row["state"], row["outcome"]) == ("settled", "success")
