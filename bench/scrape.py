"""What a scrape costs a gateway that 100 tenants use with 20 models, and how long it keeps the event loop from others.

    python -m bench.scrape
    python -m bench.scrape --tenants 200 --models 50

A real gateway listens on loopback, every tenant has used every model in every way that is usual, and a process of its
own scrapes it. A *block* is one turn of the loop: what a relayed chunk may have to wait. It is measured in CPU time of
the loop's thread, which others on the machine lengthen less, and by the clock. Median and longest of the rounds, after
one that warms up; beside them the stock renderer, which does all at once.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from aioprometheus.renderer import render

from gateway import app, config
from gateway.core.outcome import Outcome
from gateway.metrics import Metrics

LIMIT_MS = 20.0
"""The figure to reach: the longest block of a scrape."""
ENDINGS = (Outcome.SUCCESS, Outcome.CLIENT_CLOSED, Outcome.PROVIDER_ERROR, Outcome.TRUNCATED, Outcome.RATE_LIMITED)
SCRAPER = """
import sys, urllib.request
for line in sys.stdin:
    print(len(urllib.request.urlopen(line.strip()).read()), flush=True)
"""
CONFIG = """
server: {{access_log: false, log_level: error}}
stores: {{database_url: "sqlite:///{directory}/bench.db"}}
providers: {{one: {{dialect: openai, base_url: "http://127.0.0.1:9/v1", api_keys: [x], pool: {{warm: 0}}}}}}
pricing: {{unpriced: free}}
models:
{models}
tenants:
{tenants}
"""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: all of it by the clock, the longest turn of the loop in CPU time and by the clock, and its size."""

    total_ms: float
    longest_cpu_ms: float
    longest_ms: float
    size_bytes: int


class Turns:
    """Watches the loop: it has a turn whenever the loop has one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = False

    def start(self) -> None:
        self.longest_cpu_s = self.longest_s = 0.0
        self._running = True
        self._last = time.thread_time(), time.perf_counter()
        self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._running = False

    def _turn(self) -> None:
        now = time.thread_time(), time.perf_counter()
        self.longest_cpu_s = max(self.longest_cpu_s, now[0] - self._last[0])
        self.longest_s = max(self.longest_s, now[1] - self._last[1])
        self._last = now
        if self._running:
            self._loop.call_soon(self._turn)


def use(metrics: Metrics, tenants: Sequence[str], models: Sequence[str]) -> None:
    """Let every tenant have used every model."""
    for tenant in tenants:
        for model in models:
            route, target = metrics.route(tenant, "one", model), metrics.target("one", model)
            for ending in ENDINGS:
                route.requests(ending).inc()
            route.duration.observe(1.2345)
            route.tokens_input.inc(1234)
            route.tokens_output.inc(567)
            route.cost.inc(987_654_321)
            target.ttft.observe(0.25)
            target.inter_chunk.observe(0.025)


async def scrape(scraper: asyncio.subprocess.Process, url: str, turns: Turns) -> Scrape:
    """Have the gateway scraped once."""
    assert scraper.stdin is not None
    assert scraper.stdout is not None
    turns.start()
    since = time.perf_counter()
    scraper.stdin.write(f"{url}/metrics\n".encode())
    size_bytes = int(await scraper.stdout.readline())
    total_s = time.perf_counter() - since
    turns.stop()
    return Scrape(total_s * 1000, turns.longest_cpu_s * 1000, turns.longest_s * 1000, size_bytes)


async def measure(directory: Path, tenants: int, models: int, rounds: int) -> float:
    """Print the figures; return the longest block in milliseconds."""
    model_names, tenant_names = [f"model-{n}" for n in range(models)], [f"tenant-{n}" for n in range(tenants)]
    text = CONFIG.format(
        directory=directory,
        models="\n".join(f"  {name}: {{targets: [one/{name}]}}" for name in model_names),
        tenants="\n".join(
            f'- {{id: {name}, keys: [{{id: k, hash: "sha256:{n:064x}"}}]}}' for n, name in enumerate(tenant_names)
        ),
    )
    path = directory / "gateway.yaml"
    path.write_text(text)
    gateway = await app.start(config.load(path, {}), host="127.0.0.1", port=0, access_log=None)
    use(gateway.metrics, tenant_names, model_names)
    scraper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRAPER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        turns = Turns()
        await scrape(scraper, gateway.url, turns)
        scrapes = [await scrape(scraper, gateway.url, turns) for _ in range(rounds)]
        since = time.thread_time()
        body, _ = render(gateway.metrics.registry, [])
        stock_ms = (time.thread_time() - since) * 1000
    finally:
        if scraper.stdin is not None:
            scraper.stdin.close()
        await scraper.wait()
        await gateway.close()
    series = sum(not line.startswith(b"#") for line in body.splitlines())
    print(
        f"{tenants} tenants x {models} models: {series:,} series, {scrapes[0].size_bytes / 1e6:.1f} MB, {rounds} rounds"
    )
    print("                        median    worst, ms")
    for name, figures in (
        ("longest block, CPU", [one.longest_cpu_ms for one in scrapes]),
        ("longest block, clock", [one.longest_ms for one in scrapes]),
        ("whole scrape, clock", [one.total_ms for one in scrapes]),
        ("stock renderer, CPU", [stock_ms]),
    ):
        print(f"{name:<22} {statistics.median(figures):7.1f} {max(figures):8.1f}")
    return statistics.median(one.longest_cpu_ms for one in scrapes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scrape", description="What a scrape costs.")
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        longest_ms = runner.run(measure(Path(directory), options.tenants, options.models, options.rounds))
    print(f"{'met' if longest_ms <= LIMIT_MS else 'NOT MET'}: a scrape blocks the loop for {LIMIT_MS:g} ms at most")
    return 0 if longest_ms <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
