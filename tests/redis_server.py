"""A real Redis for tests: started by the session on a free port, without persistence, to be stopped and killed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

BINARY = "redis-server"
START_S = 120
PORTS = range(20_000, 32_000)
"""Below those that the system gives to connections (32,768 on Linux): a killed server finds its port free again."""


def free_port() -> int:
    """A port that nobody listens on; sessions that run side by side begin to look at different ones."""
    first = os.getpid() * 7
    for offset in range(len(PORTS)):
        port = PORTS[(first + offset) % len(PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if _binds(probe, port):
                return port
    raise OSError("no free port")


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


class RedisServer:
    """One server; what it knows is gone when it ends."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [BINARY, *arguments, "--dir", str(self._directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)  # timed: a starting server gives no sign of its own
            else:
                return

    def client(self) -> "redis.Redis":
        """A client of the test's own, to look with."""
        return redis.Redis(
            host="127.0.0.1",
            port=self.port,
            socket_timeout=START_S,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay, nothing answers, and what is sent meanwhile is read later."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def recover(self) -> None:
        """Have it answer, whatever a test has done to it."""
        self.resume()
        if self._process.poll() is not None:
            self.start()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kill it, and start it with nothing in it."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """End it and take its files away."""
        self.kill()
        shutil.rmtree(self._directory)


def serving() -> Iterator[RedisServer]:
    """A running Redis; skips where there is none."""
    if shutil.which(BINARY) is None:
        pytest.skip(f"Redis is not installed: {BINARY} not found on PATH")
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def redis_server(redis_of_session: RedisServer) -> RedisServer:
    """The session's Redis, whichever module imports this; it answers, whatever the test before has done to it."""
    redis_of_session.recover()
    return redis_of_session
