"""What compose.yaml runs, without containers: two replicas, their stores, traffic, and a Prometheus that scrapes them.

The configurations are the shipped ones: docs/examples/demo.yaml with one provider more (see ``jam``), and
deploy/prometheus with the addresses of this machine, if need be at another pace (see ``at_pace``).
"""

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import yaml

from tests.databases import PostgresServer, make_database
from tests.deploy.grafana.real_prometheus import Prometheus, serving
from tests.redis_server import RedisServer, free_port
from tests.stack.jam import Jam, jammed
from tests.surface.process import ROOT, environment, gateway_command

SHIPPED = ROOT / "deploy/prometheus"
DEMO = ROOT / "docs/examples/demo.yaml"
KEY = "gw-demo-acme"
NARROW = "narrow"
"""The provider, and the model, of which one connection is all there is."""
LOOK_EVERY_S = 0.2
Play = Callable[[str, int, int], Sequence[str]]
"""The command of a traffic: by the gateway's URL and the providers' ports, of which the second fails and recovers."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def addressed(config: str, container: str, host: str, itself: str) -> str:
    """The shipped prometheus.yml for this machine: the three addresses that it names, and nothing else.

    Raises:
        AssertionError: it does not name them.
    """
    by_name = re.compile(r"dns_sd_configs:\n(?: {6}.*\n)+")
    assert len(by_name.findall(config)) == 1
    config = by_name.sub(f'static_configs:\n      - targets: ["{container}"]\n', config)
    for old, new in (("host.docker.internal:8080", host), ("localhost:9090", itself)):
        assert config.count(f'"{old}"') == 1
        config = config.replace(f'"{old}"', f'"{new}"')
    return config


def at_pace(text: str, times: int, shortest_s: int = 4) -> str:
    """Rules where time runs so many times faster: each window, and each time for which something must last.

    Names stay as they are: ``rate5m`` is what its rule says it is. A window holds four scrapes at least.
    """

    def range_s(found: re.Match[str]) -> str:
        return f"[{max(shortest_s, int(found[1]) * _UNITS_S[found[2]] // times)}s]"

    def lasting_s(found: re.Match[str]) -> str:
        return f"for: {max(1, int(found[1]) * _UNITS_S[found[2]] // times)}s"

    return re.sub(r"\bfor: (\d+)([smhd])$", lasting_s, re.sub(r"\[(\d+)([smhd])\]", range_s, text), flags=re.M)


def every_second(config: str) -> str:
    """A prometheus.yml that scrapes, and evaluates its rules, each second.

    Raises:
        AssertionError: it does not say how often it does.
    """
    for key in ("scrape_interval", "scrape_timeout", "evaluation_interval"):
        config, count = re.subn(rf"\b{key}: \d+s$", f"{key}: 1s", config, flags=re.M)
        assert count == 1
    return config


@dataclass
class Program:
    """A process whose output goes to a file, which is told when something goes wrong."""

    command: Sequence[str]
    directory: Path
    env: dict[str, str]
    name: str
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def start(self) -> None:
        """Start it, after its end again."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=self.directory, env=environment(**self.env), stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def check(self) -> None:
        """Assert that it has not ended by itself."""
        status = None if self._process is None else self._process.poll()
        assert status is None, f"{self.name} ended with {status}:\n{self.log.read_text('utf-8')[-3000:]}"


@dataclass
class Stack:
    """The stack while it runs; the first replica is what the traffic asks, the second is there to be killed."""

    prometheus: Prometheus
    addresses: tuple[str, str]
    providers: tuple[int, int]
    gateways: list[Program]
    play: Program
    patience_s: float

    def until(self, what: object, holds: Callable[[], object]) -> None:
        """Look until it holds; nothing tells when Prometheus has learnt something. ``what`` is told if it never does.

        Raises:
            AssertionError: it did not within ``patience_s``, or a program ended.
        """
        deadline_s = time.monotonic() + self.patience_s
        while not holds():
            for program in (self.play, *self.gateways):
                program.check()
            assert time.monotonic() < deadline_s, f"for {self.patience_s:g} s: {what}"
            time.sleep(LOOK_EVERY_S)  # timed: Prometheus is asked, it does not tell

    def end(self) -> None:
        """End the traffic and the replicas."""
        for program in (self.play, *self.gateways):
            program.kill()

    def play_instead(self, play: Play) -> None:
        """End the traffic, and its providers; begin another on their ports."""
        self.play.kill()
        self.play = Program(play(f"http://{self.addresses[0]}", *self.providers), self.play.directory, {}, "next-play")
        self.play.start()

    def wait_ready(self, number: int) -> None:
        """Wait until a replica serves."""

        def is_ready() -> bool:
            try:
                with urlopen(f"http://{self.addresses[number]}/health/ready", timeout=self.patience_s) as answer:
                    return bool(answer.status == 200)
            except HTTPError as error:
                error.close()
            except (URLError, ConnectionError):
                pass
            return False

        self.until(f"{self.gateways[number].name} is not ready", is_ready)


@contextmanager
def running_stack(
    folder: Path, postgres: PostgresServer, redis: RedisServer, play: Play, *, pace: int, patience_s: float
) -> Iterator[Stack]:
    """Start everything; end it at the end.

    Args:
        folder: for files.
        postgres: where a database is made for it.
        redis: is emptied before.
        play: the traffic.
        pace: 1 takes the rules and the intervals as shipped; more is how many times faster time runs for the rules,
            and then Prometheus looks every second.
        patience_s: how long anything may take.
    """
    one, two, north, south, own = free_ports(5)
    addresses = f"127.0.0.1:{one}", f"127.0.0.1:{two}"
    rules = folder / "rules"
    rules.mkdir()
    for path in (SHIPPED / "rules").glob("*.yml"):
        text = path.read_text("utf-8")
        (rules / path.name).write_text(text if pace == 1 else at_pace(text, pace), "utf-8")
    config = addressed((SHIPPED / "prometheus.yml").read_text("utf-8"), addresses[1], addresses[0], f"127.0.0.1:{own}")
    (folder / "prometheus.yml").write_text(config if pace == 1 else every_second(config), "utf-8")
    with redis.client() as client:
        client.flushall()
    database = asyncio.run(make_database(postgres, f"observed-{one}"))
    env = {
        "NORTH_URL": f"http://127.0.0.1:{north}",
        "SOUTH_URL": f"http://127.0.0.1:{south}",
        "DATABASE_URL": database.dsn,
        "REDIS_URL": redis.url,
    }
    with ExitStack() as stack:
        jam = stack.enter_context(jammed())
        (folder / "gateway.yaml").write_text(_with_narrow(DEMO.read_text("utf-8"), jam), "utf-8")
        gateways = []
        for name, port in (("first", one), ("second", two)):
            command = gateway_command("serve", "--config", "gateway.yaml", "--host", "127.0.0.1", "--port", str(port))
            gateways.append(Program(command, folder, env, name))
        actors = Program(play(f"http://{addresses[0]}", north, south), folder, {}, "play")
        for program in (*gateways, actors):
            stack.callback(program.kill)
            program.start()
        server = stack.enter_context(serving(folder / "prometheus.yml", folder / "data", port=own))
        running = Stack(server, addresses, (north, south), gateways, actors, patience_s)
        stack.callback(running.end)
        for number in range(len(gateways)):
            running.wait_ready(number)
        jam.begin(f"http://{addresses[0]}", KEY, NARROW)
        yield running


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, no two the same."""
    with ExitStack() as taken:
        found = []
        for _ in range(count):
            found.append(free_port())
            taken.enter_context(socket.create_server(("127.0.0.1", found[-1])))
        return found


def _with_narrow(demo: str, jam: Jam) -> str:
    document = yaml.safe_load(demo)
    pool = {"connections": 1, "max_queued": 10, "queue_s": 60, "warm": 0}
    document["providers"][NARROW] = {"dialect": "openai", "base_url": jam.base_url, "pool": pool}
    document["models"][NARROW] = {"targets": [f"{NARROW}/{NARROW}"], "price": {"input": 0, "output": 0}}
    return yaml.safe_dump(document)
