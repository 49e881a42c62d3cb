"""Reloads as clients, providers and operators see them: what runs goes on, what comes is new, and nothing is left."""

import asyncio
import gc
import json
import weakref
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import ConfigError
from gateway.tenancy.tenants import hash_key
from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.reloads import another, only_two
from tests.behaviour.stage import CHAT, KEY, Stage, asking, hear, until_heard
from tests.provider_answers import openai_answer, openai_error, openai_stream
from tests.raw_client import Answer, RawClient, json_request_wire, request_wire
from tests.raw_connection import read_boundary
from tests.upstream_script import Script, body_of, wait

RELOADS = 20
CLIENTS = 8
FRAGILE = "breaker: {consecutive_failures: 1, cooldown_s: 1000, max_cooldown_s: 1000, jitter: 0}"
DRAINING = "unfinished: {settle: drain}"
NEW_KEY = "agw-of-a-new-tenant"


async def begun(stage: Stage, words: Script) -> tuple[RawClient, bytes, Script, asyncio.Event]:
    """A stream of the provider ``one`` that has said its first words and says the rest after the event."""
    go = asyncio.Event()
    script = [*words[:3], wait(go), *words[3:]]
    stage.upstream.next(script)
    client = await stage.ask()
    await client.answer_head()
    return client, await until_heard(client, b"word 0"), script, go


async def rest_of(client: RawClient) -> bytes:
    return b"".join(chunk.payload for chunk in await client.chunks())


async def tell(stage: Stage, wire: bytes) -> Answer:
    """One request on a connection of its own."""
    client = await stage.client()
    await client.send(wire)
    answer = await client.answer()
    await client.abort()
    return answer


async def health(stage: Stage) -> Any:
    return (await tell(stage, request_wire("GET", "/health", ("Host", "x")))).json()["providers"]


async def test_running_stream_keeps_its_configuration(make_stage: MakeStage, way: Way) -> None:
    """Byte for byte, though its provider is at another address by now; who asks now finds it there."""
    stage = await make_stage(way, two=True)
    assert stage.second is not None
    words = openai_stream(20)
    client, heard, script, go = await begun(stage, words)
    stage.second.always(openai_answer())
    moved = {"one": stage.second.openai_base, "claude": stage.upstream.anthropic_base}
    changed = stage.gateway.reload(another(stage, moved))
    assert {"providers.one.base_url changed", "providers.two removed"} <= set(changed)
    assert (await tell(stage, asking(CHAT, stream=False))).status == 200
    assert (len(stage.upstream.requests), len(stage.second.requests)) == (1, 1)
    go.set()
    assert heard + await rest_of(client) == body_of(script)


@pytest.mark.parametrize("settings", [None, "timeouts: {stall_s: 5}"], ids=["removed", "changed"])
async def test_provider_closes_after_its_last_stream(make_stage: MakeStage, settings: str | None) -> None:
    """Its connections stand as long as anybody uses one of them; then they close, the idle ones too."""
    stage = await make_stage(two=True)
    stage.upstream.always(openai_answer())
    await stage.answer()
    client, _, _, go = await begun(stage, openai_stream(20))
    old = stage.gateway.plans.current.providers["one"]
    stage.gateway.reload(only_two(stage) if settings is None else another(stage, provider=settings))
    streaming = stage.upstream.requests[-1].connection
    assert stage.upstream.ending(streaming) is None
    assert stage.value("pool_connections", provider="one", state="in_use") == 1
    assert stage.value("active_streams", provider="one") == 1
    go.set()
    await rest_of(client)
    await stage.upstream.closed(streaming)
    await stage.until("pool_connections", 0, provider="one", state="idle")
    assert old.pool.in_use() == old.pool.idle() == 0


async def test_equal_provider_keeps_its_connections(make_stage: MakeStage) -> None:
    """A reload that does not concern it costs it nothing."""
    stage = await make_stage(two=True)
    stage.upstream.always(openai_answer())
    await stage.answer()
    stage.gateway.reload(another(stage, server="{deadline_s: 30}"))
    await stage.answer()
    assert [request.connection for request in stage.upstream.requests] == [0, 0]


async def test_stream_without_its_client_is_read_on_under_its_plan(make_stage: MakeStage) -> None:
    """The provider is gone from the configuration before the client leaves, and still says what it all cost."""
    stage = await make_stage(two=True, provider=DRAINING)
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    client, _, _, go = await begun(stage, openai_stream(20, usage=usage))
    stage.gateway.reload(only_two(stage))
    await client.abort()
    while not len(stage.gateway.plans.followed[0].unfinished):
        await read_boundary()
    go.set()
    await stage.until("stream_settlements_total", 1, provider="one", source="reported")
    await stage.upstream.closed(stage.upstream.requests[0].connection)


async def test_gateway_that_ends_settles_what_is_read_on_under_any_plan(make_stage: MakeStage) -> None:
    """Before it lets go of the ledger, so not when its tasks are cancelled after that."""
    stage = await make_stage(two=True, provider=DRAINING)
    client, _, _, _ = await begun(stage, openai_stream(20))
    stage.gateway.reload(only_two(stage))
    await client.abort()
    while not len(stage.gateway.plans.followed[0].unfinished):
        await read_boundary()
    stage.gateway.plans.end_unfinished()
    assert (len(stage.gateway.live), stage.ended_as("client_closed")) == (0, 1)


async def test_circuit_goes_on_as_it_was(make_stage: MakeStage) -> None:
    """Open, though its provider has another timeout now; other rules for the circuit are a new circuit."""
    stage = await make_stage(provider=FRAGILE)
    stage.upstream.next(openai_error(500))
    assert (await stage.answer()).status == 502
    assert stage.value("circuit_breaker_state", provider="one") == 2
    stage.gateway.reload(another(stage, provider=f"{FRAGILE}, timeouts: {{stall_s: 5}}"))
    assert stage.value("circuit_breaker_state", provider="one") == 2
    assert stage.value("circuit_breaker_next_probe_seconds", provider="one") > 500
    stage.gateway.reload(another(stage))
    assert stage.value("circuit_breaker_state", provider="one") == 0


async def test_what_cannot_change_is_refused_whole(make_stage: MakeStage) -> None:
    """Every such key is named at once, and nothing of the rest is taken."""
    stage = await make_stage(two=True)
    stage.upstream.always(openai_answer())
    config = another(stage, server="{host: 127.0.0.2, port: 9, deadline_s: 7}", provider="timeouts: {stall_s: 5}")
    before = stage.gateway.config, stage.gateway.plans.current
    with pytest.raises(ConfigError) as refused:
        stage.gateway.reload(config)
    assert [mistake.key for mistake in refused.value.mistakes] == ["server.host", "server.port"]
    assert "restart the gateway, or take the change back" in str(refused.value)
    assert (stage.gateway.config, stage.gateway.plans.current) == before
    assert (await stage.answer()).status == 200


async def test_what_is_new_is_known_everywhere(make_stage: MakeStage) -> None:
    """A tenant's key, a model, a provider: they work, and their series exist at 0; those that are gone stay."""
    stage = await make_stage()
    stage.upstream.always(openai_answer())
    await stage.answer()
    new = another(
        stage,
        {"three": stage.upstream.openai_base},
        models="  gpt-5: {targets: [three/gpt-5]}",
        tenant=f"name: Acme}}\n  - {{id: newcomer, keys: [{{id: k, hash: '{hash_key(NEW_KEY)}'}}]",
    )
    changed = stage.gateway.reload(new)
    assert {"providers.one removed", "providers.three added", "models.gpt-5 added"} <= set(changed)
    assert {"tenants.newcomer added", "tenants.acme.name changed"} <= set(changed)
    assert not any(word in line for line in changed for word in (KEY, "sha256", "sk-"))
    series = stage.scrape().series("aigateway_requests_total")
    assert {"acme", "newcomer"} <= {labels["tenant_id"] for labels in series}
    assert {"one", "three"} <= {labels["provider"] for labels in series}
    assert stage.value("requests_total", provider="one", status="success") == 1
    assert stage.scrape().value("aigateway_circuit_breaker_state", provider="three") == 0
    wire = json_request_wire(
        CHAT, {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}, ("x-api-key", NEW_KEY)
    )
    assert (await tell(stage, wire)).status == 200
    await stage.settled()
    assert stage.value("requests_total", tenant_id="newcomer", model="gpt-5", status="success") == 1


async def test_key_that_is_gone_is_refused(make_stage: MakeStage) -> None:
    """At once; a stream of it that runs comes to its end."""
    stage = await make_stage()
    client, heard, script, go = await begun(stage, openai_stream(5))
    config = another(stage)
    keyless = tuple(tenant.model_copy(update={"keys": ()}) for tenant in config.tenants)
    stage.gateway.reload(replace(config, tenants=keyless))
    assert (await tell(stage, asking(CHAT, stream=False))).status == 401
    go.set()
    assert heard + await rest_of(client) == body_of(script)


async def test_listening_side_follows(make_stage: MakeStage) -> None:
    """The limit of bodies, of requests at once, the token of the metrics: for whoever connects from now on."""
    stage = await make_stage()
    stage.upstream.always(openai_answer())
    config = another(stage, server="{max_body_mb: 1, max_in_flight: 1, max_queued: 0}")
    ops = config.ops.model_validate({"metrics_token": "t" * 20})
    stage.gateway.reload(replace(config, ops=ops))
    large = asking(CHAT, stream=False, user="x" * (1024 * 1024))
    assert (await tell(stage, large)).status == 413
    assert (await tell(stage, request_wire("GET", "/metrics", ("Host", "x")))).status == 401
    client, heard, script, go = await begun(stage, openai_stream(5))
    assert (await tell(stage, asking(CHAT, stream=False))).json()["error"]["code"] == "overloaded"
    go.set()
    assert heard + await rest_of(client) == body_of(script)


async def test_many_reloads_under_load_fail_nobody(make_stage: MakeStage) -> None:
    """Twenty, each another pool of connections, while eight clients ask all the time; nothing of the old is left."""
    stage = await make_stage(two=True)
    assert stage.second is not None
    for upstream in (stage.upstream, stage.second):
        upstream.by(
            lambda seen: openai_stream(5) if b'"stream":true' in seen.body.replace(b" ", b"") else openai_answer()
        )
    answered: list[int] = []
    enough = asyncio.Event()

    async def visit(streams: bool) -> None:
        while not enough.is_set():
            client = await stage.ask(CHAT, stream=streams)
            heard = await hear(client)
            assert (heard.status, heard.whole) == (200, True), heard
            answered.append(heard.status)
            await client.abort()

    visits = [asyncio.create_task(visit(number % 2 == 0)) for number in range(CLIENTS)]
    lines = []
    for number in range(RELOADS):
        seen = len(answered)
        while len(answered) < seen + CLIENTS:
            await read_boundary()
        lines.append(weakref.ref(stage.gateway.plans.current.line))
        stage.gateway.reload(another(stage, provider=f"timeouts: {{stall_s: {number + 5}}}"))
    enough.set()
    await asyncio.gather(*visits)
    await stage.settled()
    assert len(answered) >= RELOADS * CLIENTS
    assert stage.ended_as("success") == len(answered) == stage.value("requests_total")
    while len(stage.gateway.plans.providers) > len(stage.gateway.config.providers):
        await read_boundary()
    assert len(stage.gateway.plans.followed) == 1
    gc.collect()
    assert [line() for line in lines] == [None] * RELOADS


async def test_drained_provider_is_asked_no_more(make_stage: MakeStage) -> None:
    """What runs there ends as it would have; others serve, and where there are none it is said when to come again."""
    stage = await make_stage(two=True)
    assert stage.second is not None
    stage.second.always(openai_answer())
    client, heard, script, go = await begun(stage, openai_stream(20))
    circuits = stage.gateway.circuits
    circuits.drain("one")
    assert (await tell(stage, asking(CHAT, stream=False))).head.get("x-gateway-provider") == "two"
    assert (await health(stage))["one"]["gpt"] == {"circuit": "closed", "successes": 0, "failures": 0, "drained": True}
    assert "drained" not in (await health(stage))["two"]["gpt"]
    go.set()
    assert heard + await rest_of(client) == body_of(script)
    circuits.drain("two")
    refused = await stage.answer()
    assert (refused.status, refused.head.get("retry-after")) == (503, "10")
    assert json.loads(refused.body)["error"]["code"] == "circuit_open"
    assert (len(stage.upstream.requests), len(stage.second.requests)) == (1, 1)
    stage.gateway.reload(another(stage, provider="timeouts: {stall_s: 5}"))
    assert (await stage.answer()).status == 503
    circuits.undrain("two")
    assert (await stage.answer()).head.get("x-gateway-provider") == "two"
    circuits.undrain("one")
    stage.upstream.next(openai_answer())
    assert (await stage.answer()).head.get("x-gateway-provider") == "one"


async def test_reset_provider_is_asked_at_once(make_stage: MakeStage) -> None:
    """Its circuits are closed and its keys awake, long before their time."""
    stage = await make_stage(provider=FRAGILE)
    stage.upstream.next(openai_error(500), openai_error(429, ("Retry-After", "250")), openai_answer())
    assert (await stage.answer()).status == 502
    stage.gateway.circuits.reset("one")
    assert (await stage.answer()).status == 429
    assert (await stage.answer()).status == 429
    assert len(stage.upstream.requests) == 2
    stage.gateway.circuits.reset("one")
    assert (await stage.answer()).status == 200
