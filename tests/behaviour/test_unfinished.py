"""The client leaves, the provider is heard out: its own figures are billed where its policy is `drain`."""

import asyncio

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, Stage, hear, until_heard
from tests.behaviour.test_slow_client import rests
from tests.provider_answers import anthropic_stream, openai_chunk, openai_stream, responses_stream
from tests.raw_connection import read_boundary
from tests.upstream_script import CHUNKED, SSE, Script, Step, Write, end, event, head, reached, reset, stall, wait

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
DRAIN = "unfinished: {settle: drain}"
OPEN, WORD = head(200, SSE, CHUNKED), event(openai_chunk({"content": "word"}))
TOKENS_IN, TOKENS_OUT = 40, 77
"""What the provider reports: not what one would estimate."""
OPENAI = {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT}
OTHERS = {"input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT}
STREAMS: dict[str, tuple[list[Step], bytes]] = {
    CHAT: (openai_stream(6, usage=OPENAI), b"word"),
    RESPONSES: (responses_stream(6, usage=OTHERS), b"output_text.delta"),
    MESSAGES: (anthropic_stream(6, usage=OTHERS), b"text_delta"),
}
ENDING: list[Step] = openai_stream(0, usage=OPENAI)[2:]
"""Finish reason, usage, closing event, terminal chunk."""


def paused(script: list[Step], go: asyncio.Event) -> Script:
    """The same stream, which waits in its middle until the test says so."""
    middle = len(script) // 2
    return [*script[:middle], wait(go), *script[middle:]]


async def leaves(
    stage: Stage, path: str = CHAT, heard: bytes = b"word", how: str = "fin", after: asyncio.Event | None = None
) -> None:
    """A client asks, hears something, and goes (`after` something has happened); the gateway has seen it go."""
    client = await stage.ask(path)
    await client.answer_head()
    await until_heard(client, heard)
    if after is not None:
        await after.wait()
    await {"fin": client.close, "reset": client.reset}[how]()
    await stage.until("active_connections", 0)


def counted(stage: Stage) -> tuple[float, float]:
    return stage.value("tokens_total", type="input"), stage.value("tokens_total", type="output")


def settled_as(stage: Stage) -> dict[str, float]:
    """How many streams were settled, by source."""
    by = {source: stage.value("stream_settlements_total", source=source) for source in ("reported", "estimated")}
    return {source: value for source, value in by.items() if value}


@BOTH_LOOPS
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_the_provider_s_figures_are_billed(make_stage: MakeStage, way: Way, how: str) -> None:
    """In every dialect's route: nothing is settled while it talks, then what it reported is, and its connection serves
    the next request.
    """
    stage = await make_stage(way, provider=DRAIN)
    for number, (path, (script, heard)) in enumerate(STREAMS.items(), 1):
        go = asyncio.Event()
        stage.upstream.next(paused(script, go))
        await leaves(stage, path, heard, how)
        assert stage.ended_as("client_closed") == number - 1
        assert stage.value("active_streams") == 1
        go.set()
        await stage.settled()
        assert (path, *counted(stage)) == (path, number * TOKENS_IN, number * TOKENS_OUT)
        assert stage.ended_as("client_closed") == number
        assert stage.value("client_disconnects_total", phase="streaming") == number
    assert settled_as(stage) == {"reported": len(STREAMS)}
    assert stage.value("cost_usd_total") == pytest.approx(len(STREAMS) * (TOKENS_IN + 2 * TOKENS_OUT) / 1e6)
    assert stage.value("active_streams") == 0
    assert stage.value("provider_errors_total") == 0
    stage.upstream.next(openai_stream(1), anthropic_stream(1))
    for path in (CHAT, MESSAGES):
        assert (await stage.hear(path)).whole
    assert stage.upstream.accepted_connections == 2, "one for each of the two providers"


async def test_counters_go_on(make_stage: MakeStage) -> None:
    """They follow what comes, with or without a client, and the settlement corrects them."""
    stage = await make_stage(provider=DRAIN)
    go, said, on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    stage.upstream.next([OPEN, WORD, wait(go), [WORD] * 9, reached(said), wait(on), ENDING])
    await leaves(stage)
    stage.sweep()
    assert counted(stage)[1] == 1
    go.set()
    await said.wait()
    stage.sweep()
    assert counted(stage)[1] == 10
    on.set()
    await stage.settled()
    assert counted(stage) == (TOKENS_IN, TOKENS_OUT)


@pytest.mark.parametrize("ending", [reset(), end()])
async def test_a_provider_that_breaks_off(make_stage: MakeStage, way: Way, ending: Step) -> None:
    """It is the client that left; what came is an estimate, with all that came after the client."""
    stage = await make_stage(way, provider=DRAIN)
    go = asyncio.Event()
    stage.upstream.next([OPEN, [WORD] * 10, wait(go), [WORD] * 30, ending])
    await leaves(stage)
    go.set()
    await stage.settled()
    assert counted(stage)[1] == pytest.approx(40, rel=0.1)
    assert settled_as(stage) == {"estimated": 1}
    assert stage.ended_as("client_closed") == 1


@BOTH_LOOPS
async def test_so_many_tokens(make_stage: MakeStage, way: Way) -> None:
    """A provider that goes on and on is closed, and what came is an estimate."""
    stage = await make_stage(way, provider="unfinished: {settle: drain, max_tokens: 25}")
    here, go = asyncio.Event(), asyncio.Event()
    stage.upstream.next([OPEN, [WORD] * 10, reached(here), wait(go), [WORD] * 60, stall()])
    await leaves(stage, after=here)
    go.set()
    await stage.upstream.closed(0)
    await stage.settled()
    # a read that has more than the allowance in it is the last, and may hold several words
    assert 10 + 25 < counted(stage)[1] <= 10 + 30
    assert settled_as(stage) == {"estimated": 1}


async def test_so_many_seconds(make_stage: MakeStage, way: Way) -> None:
    """The sweep closes it when they are over, and not before."""
    stage = await make_stage(way, provider="unfinished: {settle: drain, max_s: 30}, timeouts: {stall_s: 3600}")
    here = asyncio.Event()
    stage.upstream.next([OPEN, [WORD] * 10, reached(here), stall()])
    await leaves(stage, after=here)
    stage.sweep(20)
    await read_boundary()
    assert (stage.upstream.ending(0), len(stage.gateway.live)) == (None, 1)
    stage.sweep(11)
    await stage.upstream.closed(0)
    await stage.settled()
    assert settled_as(stage) == {"estimated": 1}
    assert counted(stage)[1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("way", [way for way in WAYS if way.spliced], ids=str)
async def test_silence(make_stage: MakeStage, way: Way) -> None:
    """The provider's stall limit holds on."""
    stage = await make_stage(way, provider=f"{DRAIN}, timeouts: {{stall_s: 10}}")
    stage.upstream.next([OPEN, WORD, stall()])
    await leaves(stage)
    stage.sweep(11)
    await stage.upstream.closed(0)
    await stage.settled()
    assert settled_as(stage) == {"estimated": 1}
    assert stage.ended_as("client_closed") == 1


@pytest.mark.parametrize("policy", ["", "unfinished: {settle: cancel}"])
async def test_cancel_is_what_it_was(make_stage: MakeStage, way: Way, policy: str) -> None:
    """Without the policy upstream is closed at once, and an estimate is billed."""
    stage = await make_stage(way, provider=policy)
    stage.upstream.next([OPEN, [WORD] * 10, stall()])
    await leaves(stage)
    await stage.upstream.closed(0)
    await stage.settled()
    assert settled_as(stage) == {"estimated": 1}


@BOTH_LOOPS
async def test_a_client_that_never_reads_has_left(make_stage: MakeStage, way: Way) -> None:
    """After write_timeout_s it loses its connection; the provider, who was held back for it, is heard out."""
    stage = await make_stage(
        way, provider="unfinished: {settle: drain, max_tokens: 10000000}", server="{write_timeout_s: 0.2}"
    )
    big, events = event(openai_chunk({"content": "x" * 16_000})), 2000
    # more tokens than events, of which the running counter takes each for one
    usage = {"prompt_tokens": TOKENS_IN, "completion_tokens": 2 * events, "total_tokens": TOKENS_IN + 2 * events}
    stage.upstream.next([OPEN, Write((big.wire,) * events), openai_stream(0, usage=usage)[2:]])
    client = await stage.ask()
    await rests(stage)
    await stage.settled()
    assert counted(stage) == (TOKENS_IN, 2 * events)
    assert settled_as(stage) == {"reported": 1}
    assert stage.ended_as("client_closed") == 1
    assert not (await hear(client)).whole


@BOTH_LOOPS
async def test_the_gateway_stops_in_the_middle(make_stage: MakeStage, way: Way) -> None:
    """What is still read on is settled with what there is, and closed."""
    stage = await make_stage(way, provider=DRAIN)
    stage.upstream.next([OPEN, [WORD] * 10, stall()])
    await leaves(stage)
    assert stage.ended_as("client_closed") == 0
    await stage.gateway.close()
    assert stage.ended_as("client_closed") == 1
    assert settled_as(stage) == {"estimated": 1}
    assert len(stage.gateway.live) == 0
    await stage.upstream.closed(0)


async def test_a_crowd_leaves(make_stage: MakeStage) -> None:
    """A hundred streams without clients, all heard out at once, each billed for what it reported."""
    stage = await make_stage(FAST, provider=DRAIN)
    go, crowd = asyncio.Event(), 100
    stage.upstream.always(paused(openai_stream(6, usage=OPENAI), go))
    clients = [await stage.ask() for _ in range(crowd)]
    for client in clients:
        await client.answer_head()
        await client.close()
    await stage.until("active_connections", 0)
    assert (stage.value("active_streams"), stage.ended_as("client_closed")) == (crowd, 0)
    go.set()
    await stage.settled()
    assert counted(stage) == (crowd * TOKENS_IN, crowd * TOKENS_OUT)
    assert settled_as(stage) == {"reported": crowd}
