"""Budgets from the client's side: what fits is served, what does not is refused, nothing is spent beyond."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.core.hold import STEP_TOKENS
from gateway.core.pricing import Price, cost_nanousd
from gateway.core.quota import Funds
from gateway.core.tokens import Usage, estimate_prompt
from gateway.stores.sql.schema import exchanges
from tests.behaviour.conftest import FAST, MakeStage, Way
from tests.behaviour.stage import CHAT, COUNT_TOKENS, MESSAGES, PROMPTS, Stage, hear
from tests.provider_answers import anthropic_answer, openai_answer, openai_chunk, openai_error, openai_stream
from tests.upstream_script import CHUNKED, SSE, Script, Step, chunk, end, event, head, reset, sse, stall

PRICE = Price(input=Decimal(1), output=Decimal(2))
PROMPT_TOKENS = estimate_prompt(PROMPTS[CHAT])
MOST_TOKENS = 100
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": MOST_TOKENS}
WORD = event(openai_chunk({"content": "word"}))


def cost(output_tokens: int = MOST_TOKENS) -> int:
    """What an answer of so many tokens costs, in nano-dollars; a whole number of millionths of a dollar."""
    return cost_nanousd(Usage(input=PROMPT_TOKENS, output=output_tokens), PRICE)


async def with_budget(make_stage: MakeStage, nanousd: int, more: str = "", way: Way = FAST, **options: Any) -> Stage:
    """A stage whose only tenant may spend so much."""
    return await make_stage(way, tenant=f"budget: {{usd: {nanousd / 1e9:.6f}{more}}}", **options)


async def funds(stage: Stage) -> Funds:
    """Where the tenant's budget stands."""
    (tenant,) = stage.gateway.tenants.all
    assert tenant.entitlement.own is not None
    found = (await stage.gateway.state.quotas.standing(tenant.entitlement.own)).funds
    assert found is not None
    return found


async def booked(stage: Stage) -> int:
    """What the ledger's rows add up to, when all of them are closed."""
    await stage.gateway.state.ledger.flushed()
    database = stage.gateway.state.database
    open_rows = select(func.count()).where(exchanges.c.state == "open")
    assert await database.read(lambda connection: connection.scalar(open_rows)) == 0
    total = await database.read(lambda connection: connection.scalar(select(func.sum(exchanges.c.cost_nanousd))))
    return int(total or 0)


async def test_as_many_as_fit_at_once(make_stage: MakeStage, soaking: bool) -> None:
    """Ten times as many come together; exactly those that fit are served, and the budget is spent to the last."""
    fit = 50 if soaking else 10
    stage = await with_budget(make_stage, fit * cost())
    stage.upstream.always(openai_answer(usage=USAGE))
    clients = await asyncio.gather(*(stage.ask(CHAT, stream=False, max_tokens=MOST_TOKENS) for _ in range(10 * fit)))
    answers = await asyncio.gather(*(client.answer() for client in clients))
    assert Counter(answer.status for answer in answers) == {200: fit, 402: 9 * fit}
    await stage.settled()
    left = await funds(stage)
    assert (left.spent_nanousd, left.held_nanousd) == (fit * cost(), 0)
    assert await booked(stage) == fit * cost()
    assert stage.value("limit_rejections_total", tenant_id="acme", limit="budget") == 9 * fit
    assert stage.value("rate_limit_hits_total") == 0


async def test_endings_of_every_kind_leave_no_hold(make_stage: MakeStage, soaking: bool) -> None:
    """Whole, broken, refused, left by the client: never beyond the budget, and all that was held comes back."""
    fit = 50 if soaking else 10
    stage = await with_budget(make_stage, fit * cost())
    endings: list[Script] = [
        openai_answer(usage=USAGE),
        openai_stream(3, usage=USAGE),
        openai_error(500),
        [reset()],
        [head(200, SSE, CHUNKED), WORD, reset()],
        [head(200, SSE, CHUNKED), WORD, stall()],
        [stall()],
    ]
    stage.upstream.by(lambda request: endings[int(request.header("openai-beta") or 0)])

    async def one(number: int) -> None:
        ending = number % len(endings)
        streams = ending not in (0, 2)
        client = await stage.ask(CHAT, ("openai-beta", str(ending)), stream=streams, max_tokens=MOST_TOKENS)
        if ending < 5:
            await hear(client)
        elif ending == 5:
            await client.answer_head()
        await client.reset()

    await asyncio.gather(*(one(number) for number in range(10 * fit)))
    await stage.settled()
    left = await funds(stage)
    assert left.held_nanousd == 0
    assert 0 < left.spent_nanousd <= fit * cost()
    assert await booked(stage) == left.spent_nanousd


async def test_over_budget_says_when_to_come_again(make_stage: MakeStage) -> None:
    """402 in the caller's dialect, with figures, the reset, and its time in seconds; no provider is asked."""
    stage = await with_budget(make_stage, cost(), ", window: day, timezone: Europe/Berlin")
    stage.upstream.always(openai_answer(usage=USAGE))
    assert (await stage.answer(CHAT, max_tokens=MOST_TOKENS)).status == 200
    for path, kind in ((CHAT, "insufficient_quota"), (MESSAGES, "billing_error")):
        refused = await stage.answer(path, max_tokens=MOST_TOKENS)
        error = refused.json()["error"]
        assert (refused.status, error["type"]) == (402, kind)
        assert "The tenant `acme` may spend" in error["message"]
        assert "begins again at" in error["message"]
        assert 0 < int(refused.head.get("retry-after") or 0) <= 25 * 3600
    assert len(stage.upstream.requests) == 1
    assert stage.ended_as("over_budget") == 2


async def test_a_budget_of_nothing(make_stage: MakeStage) -> None:
    """Nothing may be spent; what is free may be asked."""
    stage = await with_budget(make_stage, 0)
    stage.upstream.always(anthropic_answer())
    assert (await stage.answer(CHAT)).status == 402
    assert (await stage.answer(COUNT_TOKENS)).status == 200


async def test_a_stream_is_cut_where_the_money_ends(make_stage: MakeStage, way: Way) -> None:
    """Between two events, with an event that says so, and no closing event; the provider stops, the row says it."""
    stage = await with_budget(make_stage, cost(STEP_TOKENS) + 1_000_000, way=way)
    script: list[Step] = [head(200, SSE, CHUNKED)]
    script += [chunk(sse(openai_chunk({"content": "word"})) * 256) for _ in range(12)]
    stage.upstream.next([*script, stall()])
    heard = await stage.hear(CHAT)
    assert heard.body.count(b'"content":"word"') >= STEP_TOKENS
    last = json.loads(heard.body.rstrip().rpartition(b"data: ")[2])
    assert (last["error"]["code"], last["error"]["type"]) == ("budget_cut", "insufficient_quota")
    assert b"[DONE]" not in heard.body
    await stage.upstream.closed(0)
    left = await funds(stage)
    assert left.held_nanousd == 0
    assert await booked(stage) == left.spent_nanousd
    assert stage.ended_as("budget_cut") == 1


async def test_a_stream_takes_the_steps_that_it_needs(make_stage: MakeStage, way: Way) -> None:
    """Beyond the first step it goes on without a word, and byte for byte."""
    stage = await with_budget(make_stage, 10 * cost(STEP_TOKENS), way=way)
    events = [sse(openai_chunk({"content": "word"})) * 256 for _ in range(12)]
    ended = sse(openai_chunk({}, finish="stop")) + sse("[DONE]")
    stage.upstream.next([head(200, SSE, CHUNKED), *(chunk(piece) for piece in events), chunk(ended), end()])
    heard = await stage.hear(CHAT)
    assert heard.body == b"".join(events) + ended
    assert heard.whole
    assert (await funds(stage)).held_nanousd == 0


async def test_finish_holds_all_from_the_beginning(make_stage: MakeStage) -> None:
    """So it is refused where not all of it fits, and never cut."""
    stage = await with_budget(make_stage, cost(STEP_TOKENS), ", when_exhausted: finish")
    stage.upstream.always(openai_stream(3, usage=USAGE))
    assert (await stage.hear(CHAT, max_tokens=2 * STEP_TOKENS)).status == 402
    assert (await stage.hear(CHAT, max_tokens=STEP_TOKENS)).whole


@pytest.mark.parametrize(
    ("tenant", "fields", "sent"),
    [
        ("budget: {usd: 1}", {}, {"max_completion_tokens": 50}),
        ("budget: {usd: 1}", {"max_tokens": None}, {"max_completion_tokens": 50, "max_tokens": None}),
        ("budget: {usd: 1}", {"max_tokens": 7}, {"max_tokens": 7}),
        ("", {}, {}),
    ],
    ids=["budget", "null", "asked", "no budget"],
)
async def test_the_provider_is_told_where_to_stop(
    make_stage: MakeStage, tenant: str, fields: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Where a budget holds `max_output` and the request names no maximum; all else stays as it came."""
    stage = await make_stage(FAST, tenant=tenant, models="  small: {targets: [one/gpt], max_output: 50}")
    stage.upstream.always(openai_answer(usage=USAGE))
    assert (await stage.answer(CHAT, model="small", **fields)).status == 200
    document = json.loads(stage.upstream.requests[0].body)
    assert {name: value for name, value in document.items() if name.startswith("max_")} == sent


async def test_a_key_has_a_budget_of_its_own(make_stage: MakeStage) -> None:
    """Within its tenant's, and named in the refusal."""
    stage = await make_stage(FAST, tenant="budget: {usd: 1}", key=f"budget: {{usd: {cost() / 1e9:.6f}}}")
    stage.upstream.always(openai_answer(usage=USAGE))
    assert (await stage.answer(CHAT, max_tokens=MOST_TOKENS)).status == 200
    refused = await stage.answer(CHAT, max_tokens=MOST_TOKENS)
    assert refused.status == 402
    assert "The key `web` may spend" in refused.json()["error"]["message"]
    assert (await funds(stage)).spent_nanousd == cost()


async def test_soft_thresholds_are_told_once(make_stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each, and the metrics follow."""
    stage = await with_budget(make_stage, 10 * cost(), ", soft_at: [0.5, 0.8]")
    stage.upstream.always(openai_answer(usage=USAGE))
    for _ in range(10):
        assert (await stage.answer(CHAT, max_tokens=MOST_TOKENS)).status == 200
    assert (await stage.answer(CHAT, max_tokens=MOST_TOKENS)).status == 402
    await stage.until("budget_usage_ratio", 1.0, tenant_id="acme")
    assert stage.value("budget_spent_usd", tenant_id="acme") == pytest.approx(10 * cost() / 1e9)
    lines = [record.getMessage() for record in caplog.records if "budget" in record.getMessage()]
    assert [word for word in ("50 %", "80 %", "exhausted") if sum(word in line for line in lines) == 1] == [
        "50 %",
        "80 %",
        "exhausted",
    ]
