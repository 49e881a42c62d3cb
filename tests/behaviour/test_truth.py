"""Counters against truth: what /metrics and the ledger say equals what the clients and the upstream counted."""

import asyncio
import io
import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.behaviour.conftest import FAST, Way
from tests.behaviour.conftest import Play as MakeUpstream
from tests.behaviour.fate import Fate, Play, Tokens
from tests.behaviour.fates import drawn
from tests.behaviour.stage import CHAT, Stage, StageClock
from tests.behaviour.truth import Told
from tests.behaviour.truth_crowd import Crowd, configuration
from tests.behaviour.truth_records import byte_mismatches, ledger_mismatches, log_mismatches
from tests.behaviour.truth_tally import Tally, compare
from tests.conftest import MakeGateway
from tests.metrics.text_format import Exposition, read_exposition
from tests.provider_answers import openai_answer, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.upstream_script import wait

SEED = 20261124
AT_ONCE = 20
PLAIN = Way(tls=False, spliced=False)
GONE_AT_LAST: tuple[tuple[str, dict[str, str]], ...] = (
    ("active_connections", {}),
    ("pool_connections", {"state": "in_use"}),
)

EVERY_OUTCOME = {
    "success",
    "invalid_request",
    "unauthorized",
    "forbidden_model",
    "rate_limited",
    "too_busy",
    "over_budget",
    "provider_auth",
    "provider_misrouted",
    "provider_throttled",
    "provider_error",
    "connect_failed",
    "first_token_timeout",
    "stalled",
    "truncated",
    "stream_error",
    "client_closed",
    "budget_cut",
}
"""Those that need no operator's order, no broken breaker and no fault of the gateway's own."""


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens, and nobody else can."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def fate_of(tenant: str, *, stream: bool) -> Fate:
    """A whole answer of so many tokens that whatever was counted too much on its route is paid back."""
    tokens = Tokens(20, 50_000)
    usage = tokens.as_openai()
    script = openai_stream(3, usage=usage) if stream else openai_answer(usage=usage)
    return Fate("whole", CHAT, "gpt", {"one": (Play(script, "success", tokens),)}, tenant, stream)


def held(go: asyncio.Event) -> Fate:
    """One that goes on when it is told."""
    fate = fate_of("busy", stream=True)
    (play,) = fate.plays["one"]
    return replace(fate, plays={"one": (replace(play, script=[wait(go), *play.script]),)})


@pytest.mark.parametrize(("way", "share"), [(FAST, 1.0), (PLAIN, 0.25)], ids=["spliced", "plain"])
async def test_counters_equal_the_truth(
    make_gateway: MakeGateway, play: MakeUpstream, nobody: int, soaking: bool, way: Way, share: float
) -> None:
    """Thousands of requests of every fate, twenty at once: each counter, each row and each line is exact."""
    dice, log = random.Random(SEED), io.StringIO()
    upstream = await play(None)
    start = {"spliced": way.spliced, "access_log": log}
    gateway = await make_gateway(configuration(upstream.url, nobody), start=start)
    stage = Stage(gateway, upstream, StageClock())
    go = asyncio.Event()
    opening, ending = [held(go), fate_of("busy", stream=False)], fate_of("acme", stream=False)
    plan = drawn(dice, int((10_000 if soaking else 2_000) * share))
    if not way.spliced:
        # of chunks that are none aiohttp's own parser tells nobody: such streams last until they have stalled
        plan = [fate for fate in plan if fate.name != "garbage"]
    crowd = Crowd(stage, [*opening, *plan, ending], dice)

    await crowd.contend(crowd.told[0], crowd.told[1], go)
    queue = iter(crowd.told[2:-1])
    await asyncio.gather(*(crowd.live(queue) for _ in range(AT_ONCE)))
    await stage.settled()
    await crowd.live(iter(crowd.told[-1:]))
    await stage.settled()
    await gateway._books.flushed()
    await gateway.state.ledger.flushed()
    await gateway._spending.refresh()
    gateway._access_log.flush()
    for name, labels in GONE_AT_LAST:
        # of those who have left it hears a moment later
        await stage.until(name, 0, **labels)
    async with await RawClient.connect(gateway.url) as client:
        await client.send(request_wire("GET", "/metrics", ("Host", "x")))
        scrape = read_exposition((await client.answer()).body)

    told = crowd.told
    wrong = [
        *compare(Tally(told), scrape),
        *ledger_mismatches(stage, told),
        *log_mismatches(log.getvalue(), told),
        *byte_mismatches(told),
    ]
    assert not wrong, "\n".join(wrong)
    assert {one.outcome for one in told} == EVERY_OUTCOME
    assert_quiet(scrape)
    assert_chunks_are_believable(scrape, told)
    for tenant in ("poor", "cut"):
        spent = sum(one.cost_nanousd for one in told if one.tenant == tenant)
        assert scrape.value("aigateway_budget_spent_usd", tenant_id=tenant) == Decimal(str(spent / 1e9))


def assert_quiet(scrape: Exposition) -> None:
    """Nothing runs any more but the scrape itself."""
    for name in ("active_streams", "pool_connections", "ledger_pending", "circuit_breaker_state"):
        running = {
            labels: value
            for (sample, labels), value in scrape.samples.items()
            if sample == f"aigateway_{name}" and ("state", "idle") not in labels
        }
        assert running, name
        assert not any(running.values()), (name, running)
    assert scrape.value("aigateway_active_connections") == 1


def assert_chunks_are_believable(scrape: Exposition, told: list[Told]) -> None:
    """How many reads a stream takes is the network's matter: as many as it had events at most, but some."""
    events: Counter[tuple[str, str]] = Counter()
    for one in told:
        if one.has_stream:
            events[one.provider, one.model] += one.body.count(b"\n\n") + 2
    for (provider, model), most in events.items():
        gaps = scrape.value("aigateway_inter_chunk_seconds_count", provider=provider, model=model)
        assert 0 < gaps <= most, (provider, model)
