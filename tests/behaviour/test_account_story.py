"""A tenant looks at its account: what it asked for is there, in the page and in the metrics, to the nano-dollar."""

import logging

import pytest

from gateway.core.tokens import estimate_prompt
from gateway.tenancy.refusals import usd
from tests.behaviour.conftest import MakeStage
from tests.behaviour.stage import AUTH, CHAT, PROMPTS, Stage
from tests.provider_answers import openai_answer, openai_stream
from tests.raw_client import Answer, request_wire
from tests.raw_connection import read_boundary
from tests.surface.front import error_of

ANTHROPIC = ("anthropic-version", "2023-06-01")
MOST_TOKENS = 100
PROMPT_TOKENS = estimate_prompt(PROMPTS[CHAT])
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": MOST_TOKENS}
COST_NANOUSD = PROMPT_TOKENS * 1_000 + MOST_TOKENS * 2_000
"""At the stage's price; an answer that is as long as it may be costs what was held for it."""
BUDGET_USD = usd(2 * COST_NANOUSD)
TENANT = f"limits: {{concurrent: 5}}, budget: {{usd: {BUDGET_USD}, timezone: Europe/Berlin, soft_at: [0.5]}}"


async def account(stage: Stage, query: str = "", *headers: tuple[str, str]) -> Answer:
    """The page, as its HTTP answer."""
    client = await stage.client()
    await client.send(request_wire("GET", f"/v1/usage{query}", ("Host", "x"), *(headers or (AUTH,))))
    return await client.answer()


async def watched(stage: Stage, spent_nanousd: int) -> None:
    """Have budgets read until this much of it is spent; the gateway does so by itself every other second."""
    while stage.value("budget_spent_usd", tenant_id="acme") != spent_nanousd / 1e9:
        await stage.gateway._spending.refresh()
        await read_boundary()


@pytest.mark.parametrize("stream", [False, True])
async def test_page_metrics_and_log_agree(
    make_stage: MakeStage, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    """From the first request to the first that the budget refuses."""
    stage = await make_stage(tenant=TENANT)
    stage.upstream.always(openai_stream(1, usage=USAGE) if stream else openai_answer(usage=USAGE))
    assert (await stage.hear(CHAT, stream=stream, max_tokens=MOST_TOKENS)).status == 200
    await watched(stage, COST_NANOUSD)
    assert stage.value("budget_usage_ratio", tenant_id="acme") == 0.5
    assert stage.value("budget_limit_usd", tenant_id="acme") == float(BUDGET_USD)
    await stage.until("budget_thresholds_total", 1, tenant_id="acme", scope="tenant", threshold="soft")

    page = (await account(stage)).json()
    sums = {"requests": 1, "cost_nanousd": COST_NANOUSD, "cost_usd": usd(COST_NANOUSD)}
    assert {name: page[name] for name in sums} == sums
    (line,) = page["models"]
    assert (line["model"], line["tokens"]["input"], line["tokens"]["output"]) == ("gpt", PROMPT_TOKENS, MOST_TOKENS)
    budget = page["budget"]
    figures = budget["spent_nanousd"], budget["held_nanousd"], budget["remaining_nanousd"]
    assert figures == (COST_NANOUSD, 0, COST_NANOUSD)
    assert page["limits"]["concurrent"] == {"limit": 5, "in_flight": 0, "remaining": 5}
    assert (page["tenant_id"], page["key"]) == ("acme", {"id": "web", "budget": None, "limits": None})

    assert (await stage.hear(CHAT, stream=stream, max_tokens=MOST_TOKENS)).status == 200
    for _ in range(3):
        assert (await stage.hear(CHAT, stream=stream, max_tokens=MOST_TOKENS)).status == 402
    await stage.until("budget_thresholds_total", 1, tenant_id="acme", scope="tenant", threshold="exhausted")
    await watched(stage, 2 * COST_NANOUSD)
    assert stage.value("budget_usage_ratio", tenant_id="acme") == 1
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.split(":")[0] for line in told if "budget" in line] == [
        "the tenant `acme` has spent 50 % of its budget",
        "the tenant `acme` has exhausted its budget, so requests are refused",
    ]


async def test_what_is_wrong_is_said_in_the_caller_s_dialect(make_stage: MakeStage) -> None:
    """No key, a wrong query: settled and counted like every other refusal."""
    stage = await make_stage(tenant=TENANT)
    for headers in ((), (ANTHROPIC,)):
        nobody = await account(stage, "", ("x-nothing", "x"), *headers)
        assert (nobody.status, error_of(nobody)["type"]) == (401, "authentication_error")
        wrong = await account(stage, "?since=yesterday", AUTH, *headers)
        error = error_of(wrong)
        assert (wrong.status, error["code"], error["param"]) == (400, "invalid_request", "since")
        for answer in (nobody, wrong):
            assert ("request_id" in answer.json()) == bool(headers)
    assert stage.ended_as("unauthorized") == 2
    assert stage.value("requests_total", status="invalid_request", tenant_id="acme") == 2
