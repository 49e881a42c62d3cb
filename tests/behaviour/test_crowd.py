"""Two hundred streams at once, of every fate: each ends as it must, and nothing is left of any."""

import asyncio
import random

import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, Stage, hear, until_heard
from tests.provider_answers import OPENAI_USAGE, anthropic_stream, openai_chunk, openai_stream, responses_stream
from tests.raw_connection import read_boundary
from tests.upstream_script import CHUNKED, SSE, Script, body_of, event, flat, head, raw, reset, stall

SEED = 20261123
STREAMS = 200
WHOLE: dict[str, Script] = {
    CHAT: openai_stream(20, usage=OPENAI_USAGE, usage_in_finish=True),
    RESPONSES: responses_stream(20),
    MESSAGES: anthropic_stream(20),
}
WORD = event(openai_chunk({"content": "word"}))
BEGUN: Script = [head(200, SSE, CHUNKED), *[WORD] * 10]
FATES: dict[str, Script] = {
    "reset": [*BEGUN, reset()],
    "early reset": [head(200, SSE, CHUNKED), reset()],
    "stall": [*BEGUN, stall()],
    "garbage": [*BEGUN, raw(b"zz\r\n"), stall()],
    "client leaves": [*BEGUN, stall()],
    "client never reads": [*BEGUN, stall()],
}
OUTCOMES = {
    "ok": {"success"},
    "reset": {"truncated"},
    "early reset": {"truncated"},
    "stall": {"stalled"},
    "garbage": {"provider_error", "stalled"},
    "client leaves": {"client_closed"},
    "client never reads": {"client_closed"},
}


async def live(stage: Stage, fate: str, path: str) -> None:
    """One client's story."""
    client = await stage.ask(path, ("openai-beta", fate))
    if fate in {"client leaves", "client never reads"}:
        await client.answer_head()
        if fate == "client leaves":
            await until_heard(client, b"word")
        await client.reset()
        return
    heard = await hear(client)
    await client.close()
    if fate == "ok":
        assert heard.body == body_of(WHOLE[path])
    elif fate == "early reset":
        assert heard.status == 502
    else:
        assert heard.body.startswith(body_of(flat(BEGUN)))
        assert b'"error"' in heard.body
        assert heard.whole


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_a_crowd_of_every_fate(make_stage: MakeStage, way: Way) -> None:
    """Each client hears what it must, gauges return to 0, and no upstream connection is in use any more."""
    stage = await make_stage(way)
    stage.upstream.by(lambda request: FATES.get(request.header("openai-beta") or "", WHOLE[request.path]))
    dice = random.Random(SEED)
    fates = [dice.choice(["ok", "ok", "ok", *FATES]) for _ in range(STREAMS)]
    lives = [live(stage, fate, dice.choice(list(WHOLE)) if fate == "ok" else CHAT) for fate in fates]
    silent = {"stall", "garbage"}
    ending = asyncio.gather(*(life for fate, life in zip(fates, lives, strict=True) if fate in silent))
    await asyncio.gather(*(life for fate, life in zip(fates, lives, strict=True) if fate not in silent))
    while not ending.done():
        # whoever says no more now never will
        stage.sweep(ahead_s=61)
        await read_boundary()
    await ending
    await stage.settled()
    allowed = {outcome for fate in set(fates) for outcome in OUTCOMES[fate]}
    ended = {outcome: stage.ended_as(outcome) for outcome in allowed}
    assert sum(ended.values()) == STREAMS == stage.value("requests_total")
    assert ended["success"] == fates.count("ok")
    assert ended["truncated"] == fates.count("reset") + fates.count("early reset")
    assert ended["client_closed"] == fates.count("client leaves") + fates.count("client never reads")
    assert stage.value("active_streams") == 0
    assert stage.value("pool_connections", state="in_use") == 0
    await stage.upstream.until_open(int(stage.value("pool_connections", state="idle")))
    assert stage.upstream.accepted_connections <= STREAMS
