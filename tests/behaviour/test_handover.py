"""Handover between real processes: a new one takes over on the same port, and no client notices."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.behaviour.stage import CHAT, asking, config, hear, until_heard
from tests.provider_answers import openai_answer, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.process import START_S, Running, environment, gateway_command
from tests.upstream_connection import SeenRequest
from tests.upstream_script import Script, body_of, wait

LONG_GRACE = "{host: 127.0.0.1, ready_grace_s: 60, drain_s: 60, access_log: false}"
"""Nothing waits for its end: a process that was replaced goes when its last client has."""

LOOK_S = 0.01

STREAM, WHOLE = openai_stream(5), openai_answer()


@dataclass
class Generations:
    """Processes, each of which took over from the one before; all of them write to the first one's output."""

    running: Running
    url: str
    file: Path
    pids: list[int] = field(default_factory=list)

    async def hand_over(self) -> int:
        """Tells the last one to start its successor; returns that one's process id."""
        os.kill(self.pids[-1], signal.SIGUSR2)
        line = await self.running.says("has taken over")
        found = re.search(r"process (\d+) has taken over", line)
        assert found is not None
        self.pids.append(int(found[1]))
        await self.running.says("open connections are served")
        return self.pids[-1]

    async def first_ended(self) -> int:
        """Waits for the end of the first one; returns its status."""
        process = self.running.process
        async with asyncio.timeout(START_S):
            # asyncio's wait() ends only with the pipes, which the successors have as well
            while (status := process.returncode) is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)  # timed: of its mere end no event is told
        return status

    async def stop(self) -> None:
        """Ends the last one, without its grace; returns when every process has ended."""
        os.kill(self.pids[-1], signal.SIGTERM)
        await self.running.says("stopping")
        os.kill(self.pids[-1], signal.SIGTERM)
        assert await self.running.ended() == 0


@asynccontextmanager
async def serving(folder: Path, upstream: ScriptedUpstream, server: str = LONG_GRACE) -> AsyncIterator[Generations]:
    """Runs a gateway on a free port; whatever it has started is killed in the end."""
    file = folder / "gateway.yaml"
    file.write_text(config({"one": upstream.openai_base}, server=server))
    process = await asyncio.create_subprocess_exec(
        *gateway_command("serve", "--config", str(file), "--port", "0"),
        cwd=folder,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running = Running(process)
    try:
        line = await running.says("listens on")
        await running.says("Metrics:")
        yield Generations(running, line.split("listens on ")[1].partition(",")[0], file, [process.pid])
    finally:
        # the successors belong to the session of the first
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


@dataclass
class Caller:
    """A client that asks one thing after the other, and looks closely at every answer."""

    url: str
    keeps: bool
    tell: Callable[[], None]
    answered: int = 0
    changed: int = 0

    async def call(self, over: asyncio.Event) -> None:
        """Asks until it is over. A connection is used again unless its last answer said close, or it was closed."""
        client = await RawClient.connect(self.url)
        while not over.is_set():
            stream = self.answered % 2 == 0
            await client.send(asking(CHAT, stream=stream))
            heard = await hear(client)
            assert (heard.status, heard.whole, heard.body) == (200, True, body_of(STREAM if stream else WHOLE))
            self.answered += 1
            self.tell()
            if not self.keeps or not heard.head.keeps_alive or client.ending is not None:
                self.changed += 1
                await client.close()
                client = await RawClient.connect(self.url)
        await client.close()


def answers(request: SeenRequest) -> Script:
    return STREAM if request.json().get("stream") else WHOLE


async def test_handovers_fail_no_request(tmp_path: Path, upstream: ScriptedUpstream, soaking: bool) -> None:
    """Many clients, with new and with kept connections, all the time: every answer whole, every process ends with 0."""
    handovers, count = (8, 64) if soaking else (2, 16)
    upstream.by(answers)
    over, answered = asyncio.Event(), asyncio.Event()
    async with serving(tmp_path, upstream) as generations:
        callers = [Caller(generations.url, bool(number % 2), answered.set) for number in range(count)]
        async with asyncio.TaskGroup() as calls:
            for caller in callers:
                calls.create_task(caller.call(over))
            for _ in range(handovers):
                await generations.hand_over()
                then = [caller.answered for caller in callers]
                # of three answers, one may have run and one may have had its head, so the third is told to leave
                while any(caller.answered < so_far + 3 for caller, so_far in zip(callers, then, strict=True)):
                    answered.clear()
                    await answered.wait()
            over.set()
        assert await generations.first_ended() == 0
        assert len({*generations.pids}) == handovers + 1
        assert all(caller.changed >= handovers for caller in callers)
        await generations.stop()


async def test_stream_outlives_the_handover(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """It stays with the process that began it, which waits for it, while the other one serves whoever is new."""
    go = asyncio.Event()
    upstream.next([*STREAM[:3], wait(go), *STREAM[3:]])
    upstream.always(WHOLE)
    async with serving(tmp_path, upstream) as generations, await RawClient.connect(generations.url) as old:
        await old.send(asking(CHAT))
        await old.answer_head()
        first = await until_heard(old, b"word 0")
        await generations.hand_over()
        async with await RawClient.connect(generations.url) as new:
            await new.send(asking(CHAT, stream=False))
            assert (await new.answer()).head.keeps_alive
        go.set()
        rest = b"".join(chunk.payload for chunk in await old.chunks())
        assert first + rest == body_of(STREAM)
        # its head had promised more, so the next request is answered too, and is the last one
        await old.send(request_wire("GET", "/health/ready", ("Host", "x")))
        answer = await old.answer()
        assert (answer.status, answer.head.get("connection")) == (200, "close")
        assert await generations.first_ended() == 0
        await generations.stop()


async def test_successor_that_cannot_start_changes_nothing(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """A broken file: the old process says why and serves on. Then, with a good one, the new models are there."""
    upstream.always(WHOLE)
    async with serving(tmp_path, upstream) as generations:
        good = generations.file.read_text()
        generations.file.write_text(good.replace("server:", "sevrer:"))
        os.kill(generations.pids[0], signal.SIGUSR2)
        assert "it ended with status 2" in await generations.running.says("this process goes on")
        assert any("sevrer" in line and "server" in line for line in generations.running.lines)
        async with await RawClient.connect(generations.url) as client:
            await client.send(asking(CHAT, stream=False, model="newer"))
            assert (await client.answer()).status == 404
        generations.file.write_text(good.replace("models:", "models:\n  newer: {targets: [one/gpt]}", 1))
        await generations.hand_over()
        async with await RawClient.connect(generations.url) as client:
            await client.send(asking(CHAT, stream=False, model="newer"))
            assert (await client.answer()).status == 200
        await generations.stop()


async def test_successor_is_ended_with_the_process_that_starts_it(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """SIGTERM while it is still starting: both are gone, and nobody listens."""
    async with serving(tmp_path, upstream, "{host: 127.0.0.1, ready_grace_s: 0}") as generations:
        # a configuration that never ends: the successor waits in it
        generations.file.unlink()
        os.mkfifo(generations.file)
        os.kill(generations.pids[0], signal.SIGUSR2)
        # opens only when the successor reads
        writing = await asyncio.to_thread(os.open, generations.file, os.O_WRONLY)
        os.kill(generations.pids[0], signal.SIGTERM)
        assert await generations.running.ended() == 0
        os.close(writing)
        with pytest.raises(OSError, match=r"refused|failed"):
            await RawClient.connect(generations.url)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="other processes' descriptors are not shown here")
async def test_descriptors_do_not_add_up(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Each process has the listening socket once, and no more sockets than the one before it."""
    async with serving(tmp_path, upstream) as generations:
        first, second = [sockets_of(await generations.hand_over()) for _ in range(2)]
        assert len(set(first)) == len(first) == len(second)
        assert set(first) & set(second)
        await generations.stop()


def sockets_of(pid: int) -> list[str]:
    """The sockets that a process has open, each by its inode."""
    opened: list[str] = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it runs on meanwhile, and opens and closes files
            opened.append(os.readlink(path))
    return [name for name in opened if name.startswith("socket:")]
