"""What systemd passes and what it is told: sd_listen_fds(3) and sd_notify(3), spoken to real sockets."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import systemd
from gateway.config import ConfigError
from tests.raw_client import RawClient, request_wire
from tests.surface.process import gateway_command, running

MINIMAL = "server: {host: 127.0.0.1, port: 1, ready_grace_s: 0}\nproviders: {}\nmodels: {}\ntenants: []\n"
AS_SYSTEMD = """
import fcntl, os, socket, sys
kind, count = sys.argv[1], int(sys.argv[2])
opened = []
for _ in range(count):
    listening = kind == "listening"
    descriptor = socket.create_server(("127.0.0.1", 0)).detach() if listening else os.open(os.devnull, os.O_RDONLY)
    opened.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10))
for descriptor, passed in enumerate(opened, 3):
    os.dup2(passed, descriptor)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=":".join(["gw"] * count))
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""
"""Opens descriptors from 3 on and becomes the command that it is given, as systemd starts services."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify@here"))
        yield sock


def told(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_nothing_passed_is_nothing() -> None:
    """Without the variables, or with half of them, no socket is taken, and the variables are gone."""
    for environ in ({}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "x"}):
        assert systemd.passed_sockets(environ) == ()
        assert environ == {}


def test_sockets_for_another_process_are_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    """They were meant for the shell around it, say; the log tells what to do."""
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "OTHER": "x"}
    assert systemd.passed_sockets(environ) == ()
    assert environ == {"OTHER": "x"}
    assert "exec" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value"), [("LISTEN_PID", "-1"), ("LISTEN_PID", "x"), ("LISTEN_FDS", "many"), ("LISTEN_FDS", "99999")]
)
def test_nonsense_is_refused(variable: str, value: str) -> None:
    """By the variable's name."""
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", variable: value}
    with pytest.raises(ConfigError, match=f"{variable}: must be .*{value}"):
        systemd.passed_sockets(environ)


def test_states_are_told(manager: socket.socket) -> None:
    """To a path, also one with an @ in it, and to an abstract address."""
    systemd.notify({"NOTIFY_SOCKET": manager.getsockname()}, "READY=1", "MAINPID=7")
    assert told(manager) == "READY=1\nMAINPID=7"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        name = f"aigateway-test-{os.getpid()}"
        abstract.bind("\0" + name)
        systemd.notify({"NOTIFY_SOCKET": "@" + name}, "STOPPING=1")
        assert told(abstract) == "STOPPING=1"


def test_nobody_to_tell_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No manager, one of a kind that is not spoken here, or one that has gone: the last is logged."""
    systemd.notify({}, "READY=1")
    systemd.notify({"NOTIFY_SOCKET": "vsock:2:1"}, "READY=1")
    assert not caplog.records
    systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")
    assert "could not be told READY=1" in caplog.text


async def test_socket_unit_is_served(tmp_path: Path, manager: socket.socket) -> None:
    """The process that systemd starts accepts on what it was given, says that it is ready, and that it stops."""
    (tmp_path / "gateway.yaml").write_text(MINIMAL)
    command = (sys.executable, "-c", AS_SYSTEMD, "listening", "2", *gateway_command("serve")[1:])
    async with running(*command, cwd=tmp_path, NOTIFY_SOCKET=manager.getsockname()) as process:
        url = (await process.says("listens on")).split("listens on ")[1].partition(",")[0]
        await process.says("Metrics:")
        async with await RawClient.connect(url) as client:
            await client.send(request_wire("GET", "/health", ("Host", "x")))
            assert (await client.answer()).status == 200
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert [told(manager), told(manager)] == ["READY=1", "STOPPING=1"]
    assert any("so port 1 of the configuration is not used" in line for line in process.lines)


async def test_descriptor_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    """Exit status 2, and what to pass."""
    (tmp_path / "gateway.yaml").write_text(MINIMAL)
    command = (sys.executable, "-c", AS_SYSTEMD, "file", "1", *gateway_command("serve")[1:])
    async with running(*command, cwd=tmp_path) as process:
        assert await process.ended() == 2
    said = "\n".join(process.lines)
    assert "LISTEN_FDS: names descriptor 3, which is no socket" in said
    assert "Traceback" not in said
