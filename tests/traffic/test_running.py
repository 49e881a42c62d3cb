"""The whole traffic against a real gateway, and what it says where there is none."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import aiohttp
from aiohttp.test_utils import unused_port

from gateway.simulator import SimulatorSettings, start
from gateway.traffic import DEMO, Address, TrafficSettings, run_traffic
from gateway.traffic.schedule import Scene
from tests.conftest import MakeGateway

EXAMPLE = Path(__file__).parents[2] / "docs/examples/demo.yaml"
SCENES = (
    Scene("usual", 1.0, 1.0),
    Scene("crowded", 0.5, 1.0, crowd="globex"),
    Scene("an outage", 1.0, 1.0, is_outage=True),
    Scene("recovery", 0.5, 1.0),
)


def counted(page: str, name: str) -> list[tuple[dict[str, str], float]]:
    """The series of a metric: labels and value."""
    return [
        (dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value))
        for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", page, re.MULTILINE)
    ]


async def test_the_demo_shows_in_the_metrics(make_gateway: MakeGateway, new_database: Callable[[], str]) -> None:
    """Until the outage is over: all tenants, a limit that is hit, a provider that fails and is not missed."""
    north, south = await start(settings=SimulatorSettings(speed=50)), Address("127.0.0.1", unused_port())
    try:
        gateway = await make_gateway(
            EXAMPLE.read_text("utf-8"),
            NORTH_URL=north.base_url,
            SOUTH_URL=f"http://{south.host}:{south.port}",
            DATABASE_URL=new_database(),
        )
        told: list[str] = []

        def tell(line: str) -> None:
            told.append(line)
            if line.endswith("is back."):
                os.kill(os.getpid(), signal.SIGTERM)

        settings = TrafficSettings(gateway.url, rate=40, providers=[south], every_s=0.5, scenes=SCENES, seed=7)
        assert await run_traffic(settings, tell) == 0
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/metrics") as response:
            page = await response.text()
    finally:
        await north.close()
    requests = counted(page, "aigateway_requests_total")
    by_tenant: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    for labels, value in requests:
        by_tenant[labels["tenant_id"]] += int(value)
        by_status[labels["status"]] += int(value)
    assert all(by_tenant[caller.name] for caller in DEMO)
    assert by_status["success"]
    assert by_status["rate_limited"]
    failed = sum(value for labels, value in counted(page, "aigateway_provider_errors_total") if "south" in str(labels))
    moved = sum(value for labels, value in counted(page, "aigateway_fallbacks_total") if "south" in str(labels))
    assert failed
    assert moved
    assert any(line.endswith("is down.") for line in told)
    assert any(re.match(r"0:0\d (usual|crowded|an outage|recovery): \d+ whole", line) for line in told)
    asked, whole = re.match(r"(\d+) requests: (\d+) whole", told[-1]).groups()  # type: ignore[union-attr]
    assert 0 < int(whole) <= by_status["success"] <= int(asked)


async def test_no_gateway(new_database: Callable[[], str]) -> None:
    """1, and what to write; the clock of this test makes a minute short."""
    told: list[str] = []
    ticks = count(step=25)
    url = f"http://127.0.0.1:{unused_port()}"
    assert await run_traffic(TrafficSettings(url), told.append, clock=lambda: float(next(ticks))) == 1
    assert told == [f"No gateway is ready at {url}: start one, or write its address behind --url."]


async def test_keys_that_nobody_knows(make_gateway: MakeGateway) -> None:
    """The last line says what to do."""
    gateway = await make_gateway("tenants: [{id: acme}]")
    told: list[str] = []
    assert await run_traffic(TrafficSettings(gateway.url, rate=100, for_s=0.5), told.append) == 0
    assert "Nobody was served" in told[-1]


async def test_providers_alone_until_a_signal() -> None:
    """What compose.yaml's service does: no gateway is asked, and SIGTERM ends it."""
    address = Address("127.0.0.1", unused_port())
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        os.kill(os.getpid(), signal.SIGTERM)

    assert await run_traffic(TrafficSettings(None, providers=[address]), tell) == 0
    assert told == [f"Providers: 127.0.0.1:{address.port}"]
