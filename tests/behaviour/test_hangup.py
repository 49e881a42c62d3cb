"""SIGHUP as operators use it, on a gateway that is a process of its own."""

import asyncio
import signal
from pathlib import Path

from tests.behaviour.stage import CHAT, asking, config, until_heard
from tests.provider_answers import openai_answer, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.process import running
from tests.test_serving import MINIMAL, SERVE, greeted
from tests.upstream_script import body_of, wait


async def test_hangup_reads_the_file_again(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """While a stream runs, which ends whole; a file that is broken changes nothing, and its mistakes are logged."""
    go = asyncio.Event()
    words = openai_stream(20)
    upstream.always(openai_answer())
    upstream.next([*words[:3], wait(go), *words[3:]])
    file = tmp_path / "gateway.yaml"
    upstreams = {"one": upstream.openai_base}
    file.write_text(config(upstreams, server="{ready_grace_s: 0}"))
    async with running(*SERVE, cwd=tmp_path) as process:
        url = await greeted(process)
        async with await RawClient.connect(url) as streaming, await RawClient.connect(url) as client:
            await streaming.send(asking(CHAT))
            await streaming.answer_head()
            heard = await until_heard(streaming, b"word 0")
            await client.send(asking(CHAT, stream=False, model="later"))
            assert (await client.answer()).status == 404
            later = "  later: {targets: [one/gpt]}"
            file.write_text(config(upstreams, server="{ready_grace_s: 0}", models=later))
            process.process.send_signal(signal.SIGHUP)
            assert "models.later added" in await process.says("the configuration was read again")
            await client.send(asking(CHAT, stream=False, model="later"))
            assert (await client.answer()).status == 200
            file.write_text(config(upstreams, server="{ready_grace_s: 0, deadline_s: 0, port: x}", models=later))
            process.process.send_signal(signal.SIGHUP)
            await process.says("the gateway goes on with the configuration that it has")
            mistakes = [line.split(": ")[1] for line in process.lines if "is not taken" in line]
            assert mistakes == ["server.port (line 1)", "server.deadline_s (line 1)"]
            await client.send(asking(CHAT, stream=False, model="later"))
            assert (await client.answer()).status == 200
            await client.send(request_wire("GET", "/metrics", ("Host", "gateway")))
            scrape = (await client.answer()).body.decode()
            for result in ("applied", "refused"):
                assert f'aigateway_config_reloads_total{{result="{result}"}} 1' in scrape
            go.set()
            rest = b"".join(chunk.payload for chunk in await streaming.chunks())
            assert heard + rest == body_of(words)
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_hangup_changes_what_is_logged(tmp_path: Path) -> None:
    """From then on, for the process and its access log."""
    file = tmp_path / "gateway.yaml"
    file.write_text(MINIMAL + "server: {ready_grace_s: 0}\n")
    async with running(*SERVE, cwd=tmp_path) as process:
        url = await greeted(process)
        file.write_text(MINIMAL + "server: {ready_grace_s: 0, log_level: error}\n")
        process.process.send_signal(signal.SIGHUP)
        async with await RawClient.connect(url) as client:
            scrape = ""
            while 'result="applied"} 1' not in scrape:
                await client.send(request_wire("GET", "/metrics", ("Host", "gateway")))
                scrape = (await client.answer()).body.decode()
            await client.send(request_wire("GET", "/v1/models", ("Host", "gateway")))
            assert (await client.answer()).status == 401
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert process.process.stdout is not None
        assert await process.process.stdout.read() == b""
    assert not any("read again" in line or "stopping" in line for line in process.lines)


async def test_hangup_of_the_demo_says_that_there_is_no_file(tmp_path: Path) -> None:
    """And it goes on."""
    async with running(*SERVE, cwd=tmp_path) as process:
        await greeted(process)
        process.process.send_signal(signal.SIGHUP)
        await process.says("the file: does not exist: the gateway runs what is built in; start it with --config FILE")
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
