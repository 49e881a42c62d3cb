"""What /metrics says equals what upstream sent: tokens, money, times, and streams that run or have run."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, Stage, asking, until_heard
from tests.metrics.text_format import read_exposition
from tests.provider_answers import (
    anthropic_answer,
    anthropic_stream,
    embeddings_answer,
    event_stream,
    openai_answer,
    openai_chunk,
    openai_stream,
    responses_answer,
    responses_stream,
)
from tests.raw_client import request_wire
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    Step,
    body_of,
    end,
    event,
    head,
    reached,
    reset,
    stall,
    together,
    wait,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
CACHED = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 15},
}
CLAUDES = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 60,
    "output_tokens": 20,
}
RESPONSES_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 15},
    "total_tokens": 120,
}
ZERO = {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}
GROQ = event_stream(
    event(openai_chunk({"content": "x"})),
    event(openai_chunk({}, finish="stop", x_groq={"usage": CACHED})),
    event("[DONE]"),
)
FEW = openai_chunk({"content": "x"}, usage={"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101})
GROWING = event_stream(event(FEW), event(openai_chunk({}, finish="stop", usage=CACHED)), event("[DONE]"))

REPORTED: dict[str, tuple[str, list[Step], int, int]] = {
    "an event of its own": (CHAT, openai_stream(4, usage=CACHED), 100, 20),
    "in the finishing event": (CHAT, openai_stream(4, usage=CACHED, usage_in_finish=True), 100, 20),
    "in the finishing event, no [DONE]": (
        CHAT,
        openai_stream(4, usage=CACHED, usage_in_finish=True, done=False),
        100,
        20,
    ),
    "in every event, growing": (CHAT, GROWING, 100, 20),
    "one level down": (CHAT, GROQ, 100, 20),
    "zero": (CHAT, openai_stream(2, usage=ZERO), 7, 0),
    "responses": (RESPONSES, responses_stream(4, usage=RESPONSES_USAGE), 100, 20),
    "responses, incomplete": (RESPONSES, responses_stream(4, usage=RESPONSES_USAGE, closing="incomplete"), 100, 20),
    "messages": (MESSAGES, anthropic_stream(4, usage=CLAUDES), 100, 20),
}
WHOLE: dict[str, tuple[str, list[Step], int, int]] = {
    "chat": (CHAT, openai_answer(usage=CACHED), 100, 20),
    "responses": (RESPONSES, responses_answer(), 11, 3),
    "messages": (MESSAGES, anthropic_answer(usage=CLAUDES), 100, 20),
    "embeddings": (EMBEDDINGS, embeddings_answer(), 11, 0),
}


def counted(stage: Stage) -> tuple[float, float]:
    return stage.value("tokens_total", type="input"), stage.value("tokens_total", type="output")


@BOTH_LOOPS
@pytest.mark.usefixtures("no_sweep")
async def test_reported_usage_in_every_shape(stage: Stage) -> None:
    """Wherever the provider puts its figures, they are the ones that count."""
    told_in = told_out = 0
    for name, (path, script, tokens_in, tokens_out) in REPORTED.items():
        stage.upstream.next(script)
        await stage.hear(path)
        told_in, told_out = told_in + tokens_in, told_out + tokens_out
        assert (name, *counted(stage)) == (name, told_in, told_out)
    for name, (path, script, tokens_in, tokens_out) in WHOLE.items():
        stage.upstream.next(script)
        await stage.answer(path)
        told_in, told_out = told_in + tokens_in, told_out + tokens_out
        assert (name, *counted(stage)) == (name, told_in, told_out)
    assert stage.value("stream_settlements_total", source="reported") == len(REPORTED)
    assert stage.value("stream_settlements_total", source="estimated") == 0


async def test_details_and_cost(make_stage: MakeStage, way: Way) -> None:
    """Kinds of tokens are priced apart, to the nano-dollar, and shown apart."""
    price = "price: {input: 1, cached_input: 0.1, cache_write: 1.25, output: 10}"
    models = f"  priced: {{targets: [one/gpt], {price}}}\n  priced-claude: {{targets: [claude/claude], {price}}}"
    stage = await make_stage(way, models=models)
    stage.upstream.next(openai_stream(2, usage=CACHED), anthropic_stream(2, usage=CLAUDES), openai_answer(usage=CACHED))
    await stage.hear(CHAT, model="priced")
    await stage.hear(MESSAGES, model="priced-claude")
    await stage.answer(CHAT, model="priced")
    chat = Decimal(40 * 1000 + 60 * 100 + 20 * 10_000) / 10**9
    claude = Decimal(10 * 1000 + 60 * 100 + 30 * 1250 + 20 * 10_000) / 10**9
    scrape = stage.scrape()
    labels = {"tenant_id": "acme", "provider": "one", "model": "priced"}
    assert scrape.value("aigateway_cost_usd_total", **labels) == 2 * chat
    labels = {"tenant_id": "acme", "provider": "claude", "model": "priced-claude"}
    assert scrape.value("aigateway_cost_usd_total", **labels) == claude
    assert stage.value("token_details_total", model="priced", detail="cached_input") == 120
    assert stage.value("token_details_total", model="priced", detail="reasoning") == 30
    assert stage.value("token_details_total", model="priced-claude", detail="cache_write") == 30


@pytest.mark.parametrize("per_read", [1, 10])
@pytest.mark.parametrize("text", ["word", "four" * 10, 'a "quoted" one, longer than the others are: yes.'])
async def test_estimates_where_nothing_is_reported(stage: Stage, text: str, per_read: int) -> None:
    """One token a word or a token for four bytes: within a tenth of what the text is, in whatever reads it comes."""
    words = [event(openai_chunk({"content": text}))] * 100
    events = [together(*words[i : i + per_read]) for i in range(0, len(words), per_read)]
    stage.upstream.next(event_stream(*events, event(openai_chunk({}, finish="stop")), event("[DONE]")))
    await stage.hear()
    expected = 100 * len(text) / 4
    tokens_in, tokens_out = counted(stage)
    assert abs(tokens_out - expected) <= expected / 10
    assert 0 < tokens_in < 30
    assert stage.value("stream_settlements_total", source="estimated") == 1
    assert stage.value("cost_usd_total") == pytest.approx((tokens_in + 2 * tokens_out) / 1e6)


async def test_broken_streams_are_billed_for_what_was_relayed(stage: Stage) -> None:
    """Upstream breaks, or the client leaves: the words that passed are counted, as an estimate."""
    here = asyncio.Event()
    words = [event(openai_chunk({"content": "word"})) for _ in range(50)]
    begun: list[Step] = [head(200, SSE, CHUNKED), *words]
    stage.upstream.next([*begun, reset()], [*begun, reached(here), stall()], [head(200, SSE, CHUNKED), reset()])
    await stage.hear()
    assert counted(stage)[1] == pytest.approx(50, rel=0.1)
    client = await stage.ask()
    await here.wait()
    await client.answer_head()
    await until_heard(client, body_of(begun))
    await client.reset()
    await stage.upstream.closed(1)
    await stage.settled()
    assert counted(stage)[1] == pytest.approx(100, rel=0.1)
    before = counted(stage)
    await stage.hear()
    assert counted(stage) == before, "what never reached the client costs nothing"
    assert stage.value("stream_settlements_total", source="estimated") == 2


async def test_inputs_that_anthropic_reported_stand(stage: Stage) -> None:
    """A messages stream that breaks off has told its input already; only the output is estimated."""
    script = anthropic_stream(10, usage=CLAUDES)[:-4]
    stage.upstream.next([*script, reset()])
    await stage.hear(MESSAGES)
    tokens_in, tokens_out = counted(stage)
    assert tokens_in == 100
    assert 9 <= tokens_out <= 30
    assert stage.value("stream_settlements_total", source="estimated") == 1


@BOTH_LOOPS
async def test_counters_move_while_a_stream_runs(stage: Stage) -> None:
    """At each sweep the words so far are counted; the settlement corrects, and no counter ever falls."""
    gates = [asyncio.Event(), asyncio.Event()]
    tens = [event(openai_chunk({"content": "word"})) for _ in range(10)]
    usage = {"prompt_tokens": 9, "completion_tokens": 15, "total_tokens": 24}
    ending = openai_stream(0, usage=usage)[2:]
    stage.upstream.next([head(200, SSE, CHUNKED), *tens, wait(gates[0]), *tens, wait(gates[1]), *ending])
    client = await stage.ask()
    await client.answer_head()
    for number, gate in enumerate(gates, 1):
        heard = 0
        while heard < 10:
            heard += (await client.chunk()).payload.count(b"word")
        assert stage.value("active_streams", provider="one") == 1
        stage.sweep()
        assert stage.value("tokens_total", type="output") == 10 * number
        gate.set()
    await client.chunks()
    await stage.settled()
    assert stage.value("active_streams") == 0
    assert stage.value("tokens_total", type="output") == 20
    stage.upstream.next(openai_stream(1, usage=usage))
    await stage.hear()
    assert stage.value("tokens_total", type="output") == 30, "what was counted too much is paid back by the next"
    assert stage.value("tokens_total", type="input") == 18


@pytest.mark.parametrize("way", [FAST, WAYS[1]], ids=str)
async def test_times_of_a_stream(make_stage: MakeStage, way: Way) -> None:
    """One first token a stream, one gap a chunk after it, one duration; all by the injected clock."""
    stage = await make_stage(way)
    gates = [asyncio.Event() for _ in range(6)]
    words: list[Script] = [[wait(gate), event(openai_chunk({"content": "word"}))] for gate in gates]
    stage.upstream.next([head(200, SSE, CHUNKED), *words, *openai_stream(0)[2:]])
    client = await stage.ask()
    await stage.upstream.request()
    for number, gate in enumerate(gates):
        stage.clock.advance(0.4)
        gate.set()
        if not number:
            await client.answer_head()
        await until_heard(client, b"word")
    await client.chunks()
    await stage.settled()
    assert stage.value("time_to_first_token_seconds_count", provider="one", model="gpt") == 1
    assert stage.value("time_to_first_token_seconds_sum") == pytest.approx(0.4, abs=0.1)
    assert (
        stage.value("inter_chunk_seconds_bucket", le="0.5") - stage.value("inter_chunk_seconds_bucket", le="0.25") == 5
    )
    assert stage.value("inter_chunk_seconds_sum") == pytest.approx(2.0, abs=0.2)
    assert stage.value("stream_duration_seconds_sum") == pytest.approx(2.4, abs=0.2)
    assert stage.value("request_duration_seconds_count", model="gpt") == 1
    assert stage.value("output_tokens_per_second_count") == 1


async def test_the_scrape_over_http_says_the_same(stage: Stage) -> None:
    """/metrics is what the tests above read; the access log has a line with the same figures."""
    stage.upstream.next(openai_stream(2, usage=CACHED))
    await stage.hear()
    client = await stage.client()
    await client.send(request_wire("GET", "/metrics", ("Host", "x")))
    scrape = read_exposition((await client.answer()).body)
    labels = {"tenant_id": "acme", "provider": "one", "model": "gpt"}
    assert scrape.value("aigateway_tokens_total", **labels, type="output") == 20
    assert scrape.value("aigateway_requests_total", **labels, status="success") == 1


async def test_text_completions_are_estimated(stage: Stage) -> None:
    """A stream whose provider knows no usage, in the old endpoint."""
    doc: dict[str, Any] = {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "abcd", "finish_reason": None}],
    }
    last = json.loads(json.dumps(doc).replace("null", '"stop"'))
    stage.upstream.next([head(200, SSE, CHUNKED), *[event(doc)] * 20, event(last), event("[DONE]"), end()])
    client = await stage.client()
    await client.send(asking(COMPLETIONS))
    await client.answer()
    await stage.settled()
    assert counted(stage)[1] == pytest.approx(21, rel=0.1)
