"""Successors: started with the sockets of the process that they replace, believed when they say that they are ready."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import handover
from gateway.config import ConfigError
from gateway.handover import VARIABLE, NoSuccessor, Succession, predecessor
from tests.raw_client import RawClient
from tests.surface.process import START_S, environment

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

TAKES_OVER = """
import os
from gateway.handover import VARIABLE, predecessor
before = predecessor(os.environ)
assert VARIABLE not in os.environ
before.say_ready()
while True:
    connection, _ = before.sockets[0].accept()
    connection.sendall(f"{os.environ['WHO']} {os.getpid()}".encode())
    connection.close()
"""
HANGS = "import signal; signal.pause()"


def succession(script: str, patience_s: float = START_S) -> Succession:
    return Succession([sys.executable, "-c", script], environment(WHO="successor"), patience_s)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """The socket that is handed over."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test of which a process is left, running or not waited for."""
    started: list[int] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    yield
    assert len(started) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


# The new process


def test_nobody_before() -> None:
    """An ordinary start."""
    assert predecessor({"OTHER": "x"}) is None


def test_inheritance_is_read_and_removed(listening: socket.socket) -> None:
    """The sockets, and the pipe on which readiness is said once; none of it goes to children."""
    reading, writing = os.pipe()
    copy = os.dup(listening.fileno())
    for one in (writing, copy):
        os.set_inheritable(one, True)
    environ = {VARIABLE: f"sockets={copy} ready={writing}", "OTHER": "x"}
    before = predecessor(environ)
    assert before is not None
    assert environ == {"OTHER": "x"}
    assert [sock.getsockname() for sock in before.sockets] == [listening.getsockname()]
    assert not os.get_inheritable(writing)
    assert not before.sockets[0].get_inheritable()
    before.say_ready()
    assert os.read(reading, 100) == b"ready\n"
    assert os.read(reading, 100) == b""
    os.close(reading)
    before.sockets[0].close()


def test_nobody_who_listens_is_no_failure(listening: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    """The process that was to be replaced has gone: all the more reason to serve."""
    reading, writing = os.pipe()
    before = predecessor({VARIABLE: f"sockets={os.dup(listening.fileno())} ready={writing}"})
    assert before is not None
    os.close(reading)
    before.say_ready()
    assert "cannot be told" in caplog.text
    before.sockets[0].close()


@pytest.mark.parametrize("text", ["", "yes", "sockets= ready=3", "sockets=3,x ready=4", "sockets=3 ready=4 more"])
def test_what_we_did_not_write_is_refused(text: str) -> None:
    """The variable is ours; who sets it is told to leave it."""
    with pytest.raises(ConfigError, match=f"{VARIABLE}: is set by the gateway itself: remove it"):
        predecessor({VARIABLE: text})


def test_descriptors_that_are_not_there_are_refused(listening: socket.socket) -> None:
    """The pipe, or a socket that does not listen."""
    reading, writing = os.pipe()
    with pytest.raises(ConfigError, match=f"{VARIABLE}: names descriptor {reading}, which is no socket"):
        predecessor({VARIABLE: f"sockets={reading} ready={writing}"})
    os.close(writing)
    with pytest.raises(ConfigError, match=f"{VARIABLE}: names descriptor {writing}, which is not open"):
        predecessor({VARIABLE: f"sockets={listening.fileno()} ready={writing}"})
    os.close(reading)


# The old one


@BOTH_LOOPS
@pytest.mark.usefixtures("no_children")
async def test_successor_takes_over(listening: socket.socket) -> None:
    """It runs on after this process has let go of the socket, in the same environment, and nobody was refused."""
    port = listening.getsockname()[1]
    pid = await succession(TAKES_OVER).start([listening.fileno()])
    listening.close()
    for _ in range(2):
        async with await RawClient.connect(f"http://127.0.0.1:{port}") as client:
            assert await client.to_end() == f"successor {pid}".encode()
    os.kill(pid, signal.SIGKILL)
    assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == signal.SIGKILL


@BOTH_LOOPS
@pytest.mark.usefixtures("no_children")
async def test_successor_that_ends_is_none(listening: socket.socket) -> None:
    """Its status is told; its own words stand on standard error, which it shares."""
    with pytest.raises(NoSuccessor, match="it ended with status 3 before it was ready"):
        await succession("raise SystemExit(3)").start([listening.fileno()])


@BOTH_LOOPS
@pytest.mark.usefixtures("no_children")
async def test_successor_that_takes_too_long_is_ended(listening: socket.socket) -> None:
    """And waited for."""
    with pytest.raises(NoSuccessor, match=r"it was not ready within 0\.1 s"):
        await succession(HANGS, patience_s=0.1).start([listening.fileno()])


@pytest.mark.usefixtures("no_children")
async def test_successor_that_does_not_want_to_end_is_killed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores what it is told first (an ignored signal stays so in the processes that are started)."""
    monkeypatch.setattr(handover, "END_S", 0.1)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(NoSuccessor, match="not ready"):
            await succession(HANGS, patience_s=0.1).start([listening.fileno()])
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("no_children")
async def test_successor_that_is_not_wanted_any_more_is_ended(listening: socket.socket, tmp_path: Path) -> None:
    """Who cancels the start has no process left."""
    os.mkfifo(tmp_path / "begun")
    script = f"open({str(tmp_path / 'begun')!r}, 'w').close(); {HANGS}"
    starting = asyncio.create_task(succession(script).start([listening.fileno()]))
    await asyncio.to_thread((tmp_path / "begun").read_bytes)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_command_that_cannot_be_started_is_told(listening: socket.socket) -> None:
    """The program is gone, say: an upgrade in the wrong order. No pipe stays open."""
    before = set(os.listdir("/dev/fd"))
    with pytest.raises(NoSuccessor, match="/gone/python cannot be started: No such file"):
        await Succession(["/gone/python"], {}).start([listening.fileno()])
    assert set(os.listdir("/dev/fd")) == before


async def test_first_process_of_a_container_has_no_successor(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes of a container end with the first one."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(NoSuccessor, match="container"):
        await succession(TAKES_OVER).start([listening.fileno()])
