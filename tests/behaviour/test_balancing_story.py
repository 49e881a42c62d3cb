"""Several targets and several keys: who is asked first, who next, and what a provider's wish for rest is worth."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.behaviour.conftest import FAST, MakeStage
from tests.behaviour.stage import MESSAGES, PROVIDER_KEY, RESPONSES, Stage, StageClock, config
from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer, openai_error, openai_error_doc, openai_stream, responses_answer
from tests.raw_client import Answer, RawClient
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream.passing import HandClock
from tests.upstream_connection import SeenRequest
from tests.upstream_script import JSON, Script, Step, flat, head, raw, wait

ANSWERS: Script = openai_answer()
RETRIES = "retries: {}"


def status(code: int, *headers: tuple[str, str], document: object = None) -> list[Step]:
    """An error with any status, 529 too, which the standard library does not know."""
    body = json.dumps(document or openai_error_doc()).encode()
    return [head(code, JSON, ("Content-Length", str(len(body))), *headers, reason="Scripted"), raw(body)]


def told(answer: Answer) -> tuple[int, str | None, str | None]:
    """Status, who served, after how many attempts."""
    return answer.status, answer.head.get("x-gateway-provider"), answer.head.get("x-gateway-attempts")


async def test_weights_share_the_traffic(make_stage: MakeStage) -> None:
    """Three to one; the bounds are seven standard deviations wide."""
    targets = "[{target: one/gpt, weight: 3}, {target: two/gpt, weight: 1}], balance: weighted"
    stage = await make_stage(two=True, targets=targets)
    assert stage.second is not None
    stage.upstream.always(ANSWERS)
    stage.second.always(ANSWERS)
    for _ in range(400):
        assert (await stage.answer()).status == 200
    assert 240 <= len(stage.upstream.requests) <= 360
    assert len(stage.upstream.requests) + len(stage.second.requests) == 400


async def test_weight_nothing_is_for_emergencies(make_stage: MakeStage) -> None:
    """It serves when nobody with a weight can."""
    targets = "[{target: one/gpt, weight: 0}, two/gpt], balance: weighted"
    stage = await make_stage(two=True, targets=targets)
    assert stage.second is not None
    stage.upstream.always(ANSWERS)
    stage.second.next(*[ANSWERS] * 20)
    assert {told(await stage.answer()) for _ in range(20)} == {(200, "two", "1")}
    stage.second.always(openai_error(500))
    assert told(await stage.answer()) == (200, "one", "2")


async def test_the_less_busy_one_is_asked(make_stage: MakeStage) -> None:
    """Streams that stay open pile up nowhere: a new one goes where fewer run."""
    stage = await make_stage(two=True, targets="[one/gpt, two/gpt], balance: least_busy")
    assert stage.second is not None
    upstreams, go_on = (stage.upstream, stage.second), asyncio.Event()
    stream = flat(openai_stream())
    for upstream in upstreams:
        upstream.always([*stream[:3], wait(go_on), *stream[3:]])
    clients: list[RawClient] = []
    for asked in range(1, 11):
        clients.append(await stage.ask())
        await clients[-1].answer_head()
        counts = [len(upstream.requests) for upstream in upstreams]
        assert sum(counts) == asked
        assert abs(counts[0] - counts[1]) <= 1
    go_on.set()
    for client in clients:
        await client.chunks()
    await stage.settled()
    assert stage.ended_as("success") == 10


async def test_targets_without_a_price_are_passed_over(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """The price is judged for each target: what would be served for nothing known by one, another serves."""
    text = config(
        dict.fromkeys(("one", "two"), upstream.openai_base),
        targets="[one/gpt-4o]",
        models='  "open-*": {targets: ["one/*", two/gpt-4o-mini]}',
    )
    text = "\n".join(line for line in text.split("\n") if not line.startswith("pricing:"))
    stage = Stage(await make_gateway(text, start={"access_log": None}), upstream, StageClock())
    upstream.always(ANSWERS)
    assert told(await stage.answer(model="open-made-up")) == (200, "two", "1")
    assert told(await stage.answer(model="gpt")) == (200, "one", "1")
    await stage.leave()


async def test_a_continued_answer_stays_where_it_came_from(make_stage: MakeStage) -> None:
    """Only the provider of the first answer knows it: no other is asked, even where that one fails."""
    stage = await make_stage(two=True)
    assert stage.second is not None
    first = responses_answer()
    stage.upstream.next(openai_error(500))
    stage.second.next(first)
    answer = await stage.answer(RESPONSES)
    assert told(answer) == (200, "two", "2")
    known = answer.json()["id"]
    stage.second.next(responses_answer())
    assert told(await stage.answer(RESPONSES, previous_response_id=known)) == (200, "two", "1")
    stage.second.next(openai_error(500))
    assert told(await stage.answer(RESPONSES, previous_response_id=known)) == (502, "two", "1")
    assert len(stage.upstream.requests) == 1


NONSENSE: Mapping[str, tuple[str, str]] = {
    "2099": ("Retry-After", "Thu, 01 Jan 2099 00:00:00 GMT"),
    "a century": ("Retry-After", "3153600000"),
    "negative": ("Retry-After", "-60"),
    "in the past": ("Retry-After", "Thu, 01 Jan 1998 00:00:00 GMT"),
    "garbage": ("Retry-After", "soon, I promise"),
    "not a number": ("Retry-After", "nan"),
    "no end": ("Retry-After", "inf"),
    "empty": ("Retry-After", ""),
    "other digits": ("Retry-After", "٣٠"),
    "negative ms": ("retry-after-ms", "-5"),
    "garbage ms": ("retry-after-ms", "0x10"),
    "endless ms": ("retry-after-ms", "9" * 400),
}


@pytest.mark.parametrize("code", [429, 503, 529])
async def test_nonsense_parks_nothing(make_stage: MakeStage, code: int) -> None:
    """A wait that nobody can mean counts as none: who sent it is asked again a second later at the latest."""
    clock = HandClock()
    stage = await make_stage(two=True, start={"clock": clock})
    assert stage.second is not None
    stage.second.always(ANSWERS)
    for name, header in NONSENSE.items():
        stage.upstream.next(status(code, (header[0], header[1].encode().decode("latin-1"))), ANSWERS)
        assert (name, *told(await stage.answer())) == (name, 200, "two", "2")
        clock.now += 1.001
        assert (name, *told(await stage.answer())) == (name, 200, "one", "1")


async def test_a_long_rest_is_kept_and_bounded(make_stage: MakeStage) -> None:
    """Who asks for a day gets five minutes at most; until then nobody asks, and clients are served elsewhere."""
    clock = HandClock()
    stage = await make_stage(two=True, start={"clock": clock})
    assert stage.second is not None
    stage.second.always(ANSWERS)
    stage.upstream.next(status(503, ("Retry-After", "86000")), ANSWERS)
    assert told(await stage.answer()) == (200, "two", "2")
    clock.now += 299
    assert told(await stage.answer()) == (200, "two", "1")
    clock.now += 2
    assert told(await stage.answer()) == (200, "one", "1")
    assert stage.value("fallbacks_total", to="two", reason="provider_throttled") == 2


async def test_a_short_wait_is_waited_out(make_stage: MakeStage) -> None:
    """Where the provider says that it is soon over, the same target is asked again, and nobody else."""
    stage = await make_stage(two=True, provider=RETRIES)
    stage.upstream.next(status(503, ("retry-after-ms", "30")), ANSWERS)
    assert told(await stage.answer()) == (200, "one", "2")
    first, again = stage.upstream.requests
    assert again.head_at_s - first.body_at_s >= 0.03


async def test_everybody_throttles(make_stage: MakeStage) -> None:
    """Then the client is told so, in its dialect, and when to come back."""
    stage = await make_stage(two=True, start={"clock": HandClock()})
    assert stage.second is not None
    stage.upstream.always(status(429, ("Retry-After", "40")))
    stage.second.always(status(429, ("Retry-After", "30")))
    for attempts in ("2", None):
        answer = await stage.answer()
        assert (answer.status, answer.head.get("x-gateway-attempts")) == (429, attempts)
        assert answer.json()["error"]["code"] == "provider_throttled"
        assert answer.head.get("retry-after") == "30"
    answer = await stage.answer(MESSAGES)
    assert (answer.status, answer.json()["error"]["type"]) == (429, "rate_limit_error")


@pytest.fixture
async def keyed(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> Stage:
    """One provider with three keys."""
    clock = StageClock()
    text = config({"one": upstream.openai_base}, provider=RETRIES)
    text = text.replace(f'["{PROVIDER_KEY}"]', "[sk-a, sk-b, sk-c]")
    gateway = await make_gateway(text, start={"spliced": FAST.spliced, "access_log": None, "clock": clock})
    return Stage(gateway, upstream, clock)


def key_of(request: SeenRequest) -> str:
    return (request.header("authorization") or "").removeprefix("Bearer ")


async def test_a_refused_key_rests(keyed: Stage) -> None:
    """The request goes on with another key, the next ones leave it out; a minute later it gets its chance."""
    revoked = {"sk-b"}
    keyed.upstream.by(lambda request: openai_error(401) if key_of(request) in revoked else ANSWERS)
    answers = [told(await keyed.answer()) for _ in range(9)]
    assert Counter(answers) == {(200, "one", "1"): 8, (200, "one", "2"): 1}
    used = Counter(key_of(request) for request in keyed.upstream.requests)
    assert (used["sk-b"], sum(used.values())) == (1, 10)
    revoked.clear()
    keyed.clock.advance(61)
    for _ in range(3):
        assert told(await keyed.answer()) == (200, "one", "1")
    assert {key_of(request) for request in keyed.upstream.requests[-3:]} == {"sk-a", "sk-b", "sk-c"}
    await keyed.leave()


async def test_a_throttled_key_leaves_its_place_to_the_others(keyed: Stage) -> None:
    """Its limit is no other key's, so the request goes on at once; when all are at theirs, the client is told."""
    throttled = {"sk-a"}
    keyed.upstream.by(lambda request: status(429, ("Retry-After", "50")) if key_of(request) in throttled else ANSWERS)
    for _ in range(6):
        assert (await keyed.answer()).status == 200
    assert Counter(map(key_of, keyed.upstream.requests))["sk-a"] == 1
    throttled |= {"sk-b", "sk-c"}
    answer = await keyed.answer()
    assert (answer.status, answer.json()["error"]["code"]) == (429, "provider_throttled")
    assert 48 <= int(answer.head.get("retry-after") or "") <= 50
    asked = len(keyed.upstream.requests)
    assert (await keyed.answer()).status == 429
    assert len(keyed.upstream.requests) == asked
    await keyed.leave()


async def test_a_quota_used_up_is_not_asked_again(keyed: Stage) -> None:
    """No wait brings money back: each key is tried once, and the client hears of it."""
    keyed.upstream.always(status(429, document={"error": {"code": "insufficient_quota", "message": "x"}}))
    assert (await keyed.answer()).status == 429
    used = Counter(map(key_of, keyed.upstream.requests))
    assert max(used.values()) == 1
    await keyed.leave()
