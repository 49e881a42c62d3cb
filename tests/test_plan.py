"""What a configuration decides: what a plan takes over from the one before it, and when that is let go."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import Config
from gateway.core.breaker import BreakerSettings
from gateway.core.routing import Target
from gateway.core.timeouts import Timeouts
from gateway.plan import Plan
from gateway.upstream.settings import PoolSettings, RetrySettings
from gateway.upstream.targets import TargetState
from tests.conftest import MakeGateway
from tests.provider_answers import openai_stream
from tests.raw_client import RawClient
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, BEARER, CHAT, Front, open_front
from tests.upstream_script import stall, wait


@pytest.fixture
async def front(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> Front:
    """Providers `one` and `two`; nothing is opened before a request."""
    return await open_front(make_gateway, upstream, provider="pool: {warm: 0}")


def changed(config: Config, **settings: Any) -> Config:
    """The same configuration with other settings of the provider `one`."""
    one = config.providers["one"].model_copy(update=settings)
    return replace(config, providers={**config.providers, "one": one})


def followed(front: Front, config: Config) -> tuple[Plan, Plan]:
    """The plan before a reload and the one after it."""
    before = front.gateway.plans.current
    front.gateway.reload(config)
    return before, front.gateway.plans.current


def state(plan: Plan) -> TargetState:
    return plan.targets.of(Target("one", "gpt-4o-mini", circuit="gpt-4o-mini"))


async def test_provider_with_equal_settings_stays(front: Front) -> None:
    """The object itself, with pool, keys and gate; of one that has changed all three are new."""
    before, after = followed(front, changed(front.gateway.config, timeouts=Timeouts(stall_s=5)))
    assert after.providers["two"] is before.providers["two"]
    assert after.providers["one"] is not before.providers["one"]
    two = Target("two", "claude-sonnet-4-5", circuit="claude-sonnet-4-5")
    assert after.targets.of(two).gate is before.targets.of(two).gate
    assert state(after).gate is not state(before).gate
    before, after = followed(front, front.gateway.config)
    assert after.providers == before.providers
    assert all(after.providers[name] is provider for name, provider in before.providers.items())


@pytest.mark.parametrize(
    ("settings", "breaker_stays", "retries_stay"),
    [
        ({"timeouts": Timeouts(stall_s=5)}, True, True),
        ({"breaker": BreakerSettings(cooldown_s=7)}, False, True),
        ({"retries": RetrySettings(floor=9)}, True, False),
    ],
    ids=["timeouts", "breaker", "retries"],
)
async def test_target_goes_on_as_it_was(
    front: Front, settings: dict[str, Any], breaker_stays: bool, retries_stay: bool
) -> None:
    """Its circuit and its retries where their own settings are equal; what runs there and how long it rests, always."""
    old = state(front.gateway.plans.current)
    old.rest(100)
    before, after = followed(front, changed(front.gateway.config, **settings))
    new = state(after)
    assert (new.breaker is old.breaker, new.retries is old.retries) == (breaker_stays, retries_stay)
    assert 99 < new.rests_for() <= 100
    assert (new.provider, old.provider) == (after.providers["one"], before.providers["one"])


async def test_plan_is_let_go_with_its_last_exchange(front: Front, upstream: ScriptedUpstream) -> None:
    """And with it the providers that no other plan needs; those of the plans between are not waited for."""
    go = asyncio.Event()
    words = openai_stream(5)
    upstream.next([*words[:3], wait(go), *words[3:]])
    plans, config = front.gateway.plans, front.gateway.config
    first = plans.current
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, {**ASK, "stream": True}, *BEARER)
        await client.answer_head()
        followed(front, changed(config, timeouts=Timeouts(stall_s=5)))
        second = plans.current
        followed(front, changed(config, timeouts=Timeouts(stall_s=6)))
        assert plans.followed == [first, plans.current]
        while second.providers["one"] in plans.providers:
            await read_boundary()
        assert set(plans.providers) == {*first.providers.values(), *plans.current.providers.values()}
        go.set()
        await client.chunks()
    while len(plans.providers) > 2:
        await read_boundary()
    assert plans.followed == [plans.current]
    assert set(plans.providers) == set(plans.current.providers.values())


async def test_new_providers_are_warmed_up(
    front: Front, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """As at the start: those that a reload has brought, and no others; it is said where nobody is there."""
    config = changed(front.gateway.config, pool=PoolSettings(warm=2))
    front.gateway.reload(config)
    await upstream.until_open(2)
    front.gateway.reload(replace(config, server=config.server.model_copy(update={"deadline_s": 7.0})))
    assert upstream.accepted_connections == 2
    await upstream.refuse()
    with caplog.at_level(logging.WARNING, "gateway"):
        front.gateway.reload(changed(config, pool=PoolSettings(warm=1)))
        while "the provider one cannot be reached yet" not in caplog.text:
            await read_boundary()


async def test_gateway_that_ends_closes_every_plan_s_providers(front: Front, upstream: ScriptedUpstream) -> None:
    """Those of the plan before too, whose stream is broken off."""
    words = openai_stream(5)
    upstream.next([*words[:3], stall()])
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, {**ASK, "stream": True}, *BEARER)
        await client.answer_head()
        followed(front, changed(front.gateway.config, timeouts=Timeouts(stall_s=5)))
        await front.gateway.close()
    assert front.gateway.plans.providers == ()
    await upstream.closed(upstream.requests[0].connection)
