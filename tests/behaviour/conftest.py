"""Stages for stories: every way that bytes can take through the gateway, the same story on each."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme

import gateway.app
from tests.behaviour.stage import Stage, StageClock, config
from tests.conftest import MakeGateway
from tests.scripted_upstream import ScriptedUpstream


@dataclass(frozen=True)
class Way:
    """How the upstream is reached, and whether its bytes go from transport to transport."""

    tls: bool
    spliced: bool

    def __str__(self) -> str:
        return f"{'tls' if self.tls else 'tcp'}-{'spliced' if self.spliced else 'plain'}"


FAST = Way(tls=False, spliced=True)
WAYS = (FAST, Way(tls=False, spliced=False), Way(tls=True, spliced=True), Way(tls=True, spliced=False))


Play = Callable[[ssl.SSLContext | None], Awaitable[ScriptedUpstream]]


class MakeStage(Protocol):
    """``await make_stage(way, server="{keepalive_s: 1}", provider="timeouts: {stall_s: 1}")``.

    Arguments are those of :func:`tests.behaviour.stage.config`, and ``start`` as in ``make_gateway``.
    """

    def __call__(self, way: Way = ..., *, two: bool = ..., **options: Any) -> Awaitable[Stage]: ...


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Each of the four ways in turn."""
    chosen: Way = request.param
    return chosen


@pytest.fixture(scope="session")
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    """What upstreams on TLS show; issued once, since a key takes longer than most stories."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """``await play(tls)``: one more scripted upstream; stopped after the test, whose scripts it must have followed."""
    playing: list[ScriptedUpstream] = []

    async def start(tls: ssl.SSLContext | None) -> ScriptedUpstream:
        scripted = ScriptedUpstream(tls)
        await scripted.start()
        playing.append(scripted)
        return scripted

    yield start
    for scripted in playing:
        await scripted.stop()


@pytest.fixture
async def make_stage(
    make_gateway: MakeGateway, play: Play, server_tls: ssl.SSLContext, ca_file: Path
) -> AsyncIterator[MakeStage]:
    """Builds stages: providers ``one`` and ``claude`` on the upstream, with ``two`` also ``two`` on a second one."""
    stages: list[Stage] = []

    async def make(way: Way = FAST, *, two: bool = False, **options: Any) -> Stage:
        scripted = await play(server_tls if way.tls else None)
        upstreams = {"one": scripted.openai_base, "claude": scripted.anthropic_base}
        second = None
        if two:
            second = await play(None)
            upstreams["two"] = second.openai_base
            options.setdefault("targets", "[one/gpt, two/gpt]")
        clock = StageClock()
        start = {"spliced": way.spliced, "access_log": None, "clock": clock, **options.pop("start", {})}
        text = config(upstreams, ca_file=str(ca_file), **options)
        stage = Stage(await make_gateway(text, start=start), scripted, clock, second)
        stages.append(stage)
        return stage

    yield make
    for stage in stages:
        await stage.leave()


@pytest.fixture
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways sweep over their streams only where the test says so, however long a stream takes: a sweep counts what
    has come so far, and where the provider then reports less, the counter stands too high for a while.
    """
    monkeypatch.setattr(gateway.app, "SWEEP_S", 3600.0)


@pytest.fixture
async def stage(make_stage: MakeStage, way: Way) -> Stage:
    """A stage with default settings, on each way."""
    return await make_stage(way)
