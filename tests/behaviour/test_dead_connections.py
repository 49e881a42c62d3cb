"""A kept connection that the provider has closed: the client gets its answer, and nobody counts what happened."""

import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import CHAT
from tests.provider_answers import openai_answer, openai_stream
from tests.upstream_script import Script, close, raw, reset

HASTY = "breaker: {consecutive_failures: 1, quiet_s: 0.001}"
"""A circuit that opens at the first failure."""


@pytest.mark.parametrize("gone", [[close()], [reset()]], ids=["closes", "resets"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_dead_connection_is_nobodys_failure(
    make_stage: MakeStage, way: Way, gone: Script, stream: bool
) -> None:
    """Same bytes, one attempt, no error counted, and the circuit stays closed."""
    stage = await make_stage(way, provider=HASTY)
    answer = openai_stream(3) if stream else openai_answer("hi")
    stage.upstream.next(answer, gone, answer, answer)
    heard = []
    for _ in range(3):
        heard.append(await stage.hear(CHAT, stream=stream))
        stage.clock.advance(1)
    assert [(one.status, one.whole, one.head.get("x-gateway-attempts")) for one in heard] == [(200, True, "1")] * 3
    assert len({one.body for one in heard}) == 1
    assert [request.connection for request in stage.upstream.requests] == [0, 0, 1, 2]
    assert (stage.ended_as("success"), stage.value("attempts_total", result="success")) == (3, 3)
    assert (stage.value("attempts_total"), stage.value("provider_errors_total")) == (3, 0)
    assert stage.value("circuit_breaker_transitions_total") == 0
    assert stage.value("pool_connections", state="in_use") == 0


async def test_an_answer_begun_is_a_failure(make_stage: MakeStage, way: Way) -> None:
    """One byte of it and the provider has read the request: it is not asked a second time behind everybody's back."""
    stage = await make_stage(way, provider=HASTY)
    stage.upstream.next(openai_answer("hi"), [raw(b"H"), reset()])
    await stage.hear(CHAT, stream=False)
    stage.clock.advance(1)
    assert (await stage.hear(CHAT, stream=False)).status == 502
    assert len(stage.upstream.requests) == 2
    assert stage.value("circuit_breaker_transitions_total") == 1
