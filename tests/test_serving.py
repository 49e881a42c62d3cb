"""The process around a gateway: how it starts, what it says first, what it refuses, how it ends."""

import asyncio
import gc
import json
import os
import resource
import shlex
import shutil
import signal
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import serving
from gateway.app import Gateway
from gateway.config import DEMO_KEY, ConfigError, builtin, load
from tests.behaviour.stage import asking, config, until_heard
from tests.provider_answers import openai_answer, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.raw_connection import EndedEarly
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, CHAT
from tests.surface.process import Running, gateway_command, running
from tests.upstream_script import body_of, stall, wait

SERVE = gateway_command("serve", "--host", "127.0.0.1", "--port", "0")
MINIMAL = "providers: {}\nmodels: {}\ntenants: []\n"


async def greeted(process: Running) -> str:
    """Waits for the last line of the greeting; returns the base URL."""
    line = await process.says("Metrics:")
    return line.split()[-1].removesuffix("/metrics")


async def test_the_printed_curl_line_streams_tokens(tmp_path: Path) -> None:
    """Without a file: the demo, and its greeting can be pasted into a shell as it stands."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    async with running(*SERVE, cwd=tmp_path) as process:
        url = await greeted(process)
        start = process.lines.index("Try it:") + 1
        command = "\n".join(process.lines[start : process.lines.index("", start)])
        assert f"OpenAI SDK:    base_url={url}/v1" in process.lines
        assert f"Anthropic SDK: base_url={url}" in process.lines
        curl = await asyncio.create_subprocess_shell(f"{command} --fail -s", stdout=asyncio.subprocess.PIPE)
        out, _ = await curl.communicate()
        assert curl.returncode == 0
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
    events = [line.removeprefix("data: ") for line in out.decode().splitlines() if line]
    assert events[-1] == "[DONE]"
    text = "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1])
    assert len(text.split()) > 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_running_stream_end(tmp_path: Path, number: signal.Signals) -> None:
    """Exit status 0, the stream whole, nothing traced; nobody new is let in meanwhile."""
    async with running(*SERVE, cwd=tmp_path) as process:
        url = await greeted(process)
        async with await RawClient.connect(url) as client:
            await client.post(CHAT, {**ASK, "model": "sim-fast", "stream": True}, ("x-api-key", DEMO_KEY))
            await client.answer_head()
            first = await client.chunk()
            process.process.send_signal(number)
            chunks = [first, *await client.chunks()]
        assert b"data: [DONE]" in b"".join(chunk.payload for chunk in chunks)
        assert await process.ended() == 0
        assert not any("Traceback" in line or "Error" in line for line in process.lines)
        assert process.process.stdout is not None
        (line,) = (await process.process.stdout.read()).splitlines()
        assert json.loads(line)["outcome"] == "success"


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """The second instance ends with 1 and names the address."""
    async with running(*SERVE, cwd=tmp_path) as first:
        port = (await greeted(first)).rpartition(":")[2]
        command = gateway_command("serve", "--host", "127.0.0.1", "--port", port)
        async with running(*command, cwd=tmp_path) as second:
            assert await second.ended() == 1
            said = "\n".join(second.lines)
    assert "aigateway: " in said
    assert port in said
    assert "in use" in said
    assert "Traceback" not in said


async def test_the_file_is_found(tmp_path: Path) -> None:
    """`--config`, then $AIGATEWAY_CONFIG, then ./gateway.yaml; the greeting says which."""
    for name in ("a.yaml", "b.yaml", "gateway.yaml"):
        (tmp_path / name).write_text(MINIMAL)
    for arguments, env, name in (
        (("--config", "a.yaml"), {"AIGATEWAY_CONFIG": "b.yaml"}, "a.yaml"),
        ((), {"AIGATEWAY_CONFIG": "b.yaml"}, "b.yaml"),
        ((), {}, "gateway.yaml"),
    ):
        async with running(*SERVE, *arguments, cwd=tmp_path, **env) as process:
            assert (await process.says("listens on")).endswith(f"configured by {name}")
            await greeted(process)
            assert "Try it:" not in process.lines


async def test_too_few_descriptors_are_refused(tmp_path: Path) -> None:
    """A pool that could never be filled: exit status 2, and both ways out."""
    (tmp_path / "gateway.yaml").write_text(
        'providers: {one: {dialect: openai, base_url: "http://127.0.0.1:9/v1", pool: {connections: 500, warm: 0}}}\n'
        "models: {}\ntenants: []\n"
    )
    command = f"ulimit -n 300; exec {shlex.join(SERVE)}"
    async with running("/bin/sh", "-c", command, cwd=tmp_path) as process:
        assert await process.ended() == 2
        said = "\n".join(process.lines)
    assert "providers.one.pool.connections" in said
    assert "is 500" in said
    assert "118 streams" in said
    assert "ulimit -Hn" in said


def test_descriptor_limit_is_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The soft limit becomes the hard one; a pool that nobody set is not complained about."""
    path = tmp_path / "gateway.yaml"
    path.write_text('providers: {one: {dialect: openai, base_url: "http://127.0.0.1:9/v1"}}\nmodels: {}\ntenants: []\n')
    config = load(path, {})
    raised: list[tuple[int, int]] = []
    for soft, hard, expected in (
        (64, 1024, [(1024, 1024)]),
        (1024, 1024, []),
        (64, resource.RLIM_INFINITY, [(resource.RLIM_INFINITY, resource.RLIM_INFINITY)]),
    ):
        raised.clear()
        limit = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: limit)
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
        serving._raise_descriptor_limit()
        serving._check_pools(config)
        assert raised == expected


def test_local_key_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Readable by its owner only, and the same at the next start; an empty file is none."""
    monkeypatch.chdir(tmp_path)
    key = serving._local_key()
    assert key.startswith("agw-")
    assert stat.S_IMODE(os.stat("data/local.key").st_mode) == 0o600
    assert stat.S_IMODE(os.stat("data").st_mode) == 0o700
    assert serving._local_key() == key
    os.truncate("data/local.key", 0)
    os.chmod("data/local.key", 0o644)
    assert serving._local_key() not in ("", key)
    assert stat.S_IMODE(os.stat("data/local.key").st_mode) == 0o600


@pytest.fixture
def as_before() -> Iterator[None]:
    """Puts the collector's settings back, which `serve` changes for its whole process."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("as_before")
async def test_real_provider_is_served_under_a_random_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """With OPENAI_API_KEY set: the printed key reaches the provider, the demo's reaches the simulator only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(builtin.REAL_PROVIDERS, "OPENAI_API_KEY", ("openai", upstream.openai_base, ("gpt-*",)))
    upstream.always(openai_answer())
    ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
    greet = serving._greet

    def listen(gateway: Gateway, is_demo: bool) -> None:
        greet(gateway, is_demo)
        ready.set_result(gateway)

    monkeypatch.setattr(serving, "_greet", listen)
    served = asyncio.create_task(serving.serve(None, "127.0.0.1", 0, {"OPENAI_API_KEY": "sk-real"}))
    url = (await ready).url
    key = (tmp_path / "data/local.key").read_text().strip()
    assert f"Key to the real providers (kept in data/local.key): {key}" in capsys.readouterr().err
    for secret, model, status in (
        (key, "gpt-4o-mini", 200),
        (DEMO_KEY, "gpt-4o-mini", 403),
        (DEMO_KEY, "sim-fast", 200),
        (key, "sim-fast", 200),
    ):
        async with await RawClient.connect(url) as client:
            await client.post(CHAT, {**ASK, "model": model, "max_tokens": 5}, ("x-api-key", secret))
            assert (await client.answer()).status == status
    assert [request.header("authorization") for request in upstream.requests] == ["Bearer sk-real"]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await served == 0


async def test_a_key_that_can_be_none_is_refused(tmp_path: Path) -> None:
    """Exit status 2, the variable's place named, its value not shown, nothing left open."""
    async with running(*SERVE, cwd=tmp_path, OPENAI_API_KEY="sk-pasted with blanks") as process:
        assert await process.ended() == 2
        said = "\n".join(process.lines)
    assert "api_keys" in said
    assert "sk-pasted" not in said
    assert "Unclosed" not in said
    assert "Traceback" not in said


async def test_collector_is_tuned_for_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Young passes stay short, full ones do not come by counting; what was built at start is out of sight."""
    seen: dict[str, Any] = {}
    fake = SimpleNamespace(
        collect=lambda: seen.setdefault("collected", True),
        freeze=lambda: seen.setdefault("frozen", True),
        set_threshold=lambda *thresholds: seen.setdefault("thresholds", thresholds),
    )
    monkeypatch.setattr(serving, "gc", fake)
    serving._tune_gc()
    assert seen["collected"]
    assert seen["frozen"]
    young, _, full = seen["thresholds"]
    assert young <= 10_000
    assert full >= 1_000_000


async def test_streams_that_run_at_the_signal_end_whole(
    tmp_path: Path, upstream: ScriptedUpstream, soaking: bool
) -> None:
    """All of them, byte for byte, though each has most of its words to come; exit status 0."""
    count = 500 if soaking else 50
    go = asyncio.Event()
    words = openai_stream(20)
    upstream.always([*words[:5], wait(go), *words[5:]])
    (tmp_path / "gateway.yaml").write_text(config({"one": upstream.openai_base}, server="{ready_grace_s: 0}"))
    async with running(*SERVE, cwd=tmp_path) as process, AsyncExitStack() as closing:
        url = await greeted(process)
        clients = [await closing.enter_async_context(await RawClient.connect(url)) for _ in range(count)]
        for client in clients:
            await client.send(asking(CHAT))
        first = [await until_heard(client, b"word 0") for client in clients if await client.answer_head()]
        process.process.send_signal(signal.SIGTERM)
        await process.says("connections are served")
        go.set()
        for client, heard in zip(clients, first, strict=True):
            rest = b"".join(chunk.payload for chunk in await client.chunks())
            assert heard + rest == body_of(words)
        assert await process.ended() == 0
    assert not any("WARNING" in line or "Traceback" in line for line in process.lines)


async def test_second_signal_does_not_wait(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """After the first, clients are served as long as it takes; after the second, who runs is told and all is over."""
    upstream.always([*openai_stream()[:3], stall()])
    server = "{ready_grace_s: 1000, drain_s: 1000}"
    (tmp_path / "gateway.yaml").write_text(config({"one": upstream.openai_base}, server=server))
    async with running(*SERVE, cwd=tmp_path) as process:
        url = await greeted(process)
        async with await RawClient.connect(url) as streaming, await RawClient.connect(url) as asking_health:
            await streaming.send(asking(CHAT))
            await streaming.answer_head()
            process.process.send_signal(signal.SIGTERM)
            await process.says("connections are served")
            await asking_health.send(request_wire("GET", "/health/ready", ("Host", "gateway")))
            health = await asking_health.answer()
            assert (health.status, health.head.get("connection")) == (503, "close")
            process.process.send_signal(signal.SIGTERM)
            body = b"".join(chunk.payload for chunk in await streaming.chunks())
            assert b'"code":"draining"' in body.rpartition(b"data: ")[2]
            assert await process.ended() == 0
    assert any("stopping at once" in line for line in process.lines)


async def test_requests_after_the_signal_find_nobody(tmp_path: Path) -> None:
    """A process without work is gone at once."""
    async with running(*SERVE, cwd=tmp_path) as process:
        url = await greeted(process)
        async with await RawClient.connect(url) as client:
            await client.send(request_wire("GET", "/health", ("Host", "gateway")))
            assert (await client.answer()).head.keeps_alive
            process.process.send_signal(signal.SIGTERM)
            assert await process.ended() == 0
            with pytest.raises((EndedEarly, ConnectionResetError)):
                await client.answer()
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(url)


def test_built_in_configuration_says_what_is_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sentences as for a file."""
    monkeypatch.chdir(tmp_path)
    simulator: Any = SimpleNamespace(base_url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="the built-in demo has 1 mistake"):
        serving._built_in({"ANTHROPIC_API_KEY": "a b"}, simulator)
    assert set(serving._built_in({}, simulator).providers) == {"demo", "demo-anthropic"}
