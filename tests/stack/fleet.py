"""Replicas in one process: gateways with a state each, on one database, one Redis and one upstream."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import pytest
from sqlalchemy import func, select

from gateway.app import Gateway
from gateway.core.quota import Funds
from gateway.stores.outage import OutageQuotas
from gateway.stores.redis_link import PROBE_EVERY_S, RedisGone, RedisLink
from gateway.stores.sql.address import PostgresAddress
from gateway.stores.sql.database import open_database
from gateway.stores.sql.schema import exchanges
from tests.behaviour.stage import CHAT, StageClock, asking, config
from tests.conftest import MakeGateway
from tests.databases import PostgresServer, empty
from tests.metrics.text_format import read_exposition
from tests.raw_client import Answer, RawClient
from tests.raw_connection import read_boundary
from tests.redis_server import RedisServer
from tests.scripted_upstream import ScriptedUpstream

PATIENCE_S = 30.0


@dataclass
class Fleet:
    """Replicas behind something that gives each request to the next of them."""

    gateways: Sequence[Gateway]
    upstream: ScriptedUpstream
    clock: StageClock
    _turns: "itertools.cycle[Gateway]" = field(init=False)

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(self.gateways)

    @property
    def quotas(self) -> list[OutageQuotas]:
        """Of each replica."""
        found = [gateway.state.quotas for gateway in self.gateways]
        assert all(isinstance(quotas, OutageQuotas) for quotas in found)
        return [quotas for quotas in found if isinstance(quotas, OutageQuotas)]

    async def ask(self, *headers: tuple[str, str], **fields: Any) -> RawClient:
        """A client of its own that has sent a request to the next replica."""
        client = await RawClient.connect(next(self._turns).url)
        await client.send(asking(CHAT, *headers, **fields))
        return client

    async def answer(self, *headers: tuple[str, str], **fields: Any) -> Answer:
        """Ask for a whole answer."""
        async with await self.ask(*headers, stream=False, **fields) as client:
            return await client.answer()

    async def know_each_other(self) -> None:
        """Have every replica know how many there are, as it would within two seconds where Redis answers in time."""
        while any(quotas.replicas != len(self.gateways) for quotas in self.quotas):
            await self.find_redis_again()
            for quotas in self.quotas:
                await quotas.beat()

    async def settled(self) -> None:
        """Wait until every exchange is booked, and the ledger has its row."""
        while any(len(gateway.live) for gateway in self.gateways):
            await read_boundary()
        for gateway in self.gateways:
            await gateway._books.flushed()
            await gateway.state.ledger.flushed()

    async def until_up(self, *, up: bool = True) -> None:
        """Wait until every replica asks Redis, or does not, and says so."""
        while any(quotas.up != up for quotas in self.quotas):
            await read_boundary()
        assert {value(gateway, "store_up", store="redis") for gateway in self.gateways} == {float(up)}

    async def find_redis_again(self) -> None:
        """Have them try Redis as often as they do in the seconds that pass here at once, until it knows everything."""
        while not all(quotas.up and not quotas.endings for quotas in self.quotas):
            self.clock.advance(PROBE_EVERY_S)
            for quotas in self.quotas:
                await quotas.beat()
        await self.until_up()

    async def booked(self) -> int:
        """What the rows add up to; none of them is open."""
        database = self.gateways[0].state.database
        open_rows = select(func.count()).where(exchanges.c.state == "open")
        assert await database.read(lambda connection: connection.scalar(open_rows)) == 0
        total = await database.read(lambda connection: connection.scalar(select(func.sum(exchanges.c.cost_nanousd))))
        return int(total or 0)

    async def funds(self) -> Funds:
        """Where the only tenant's budget stands in Redis itself, however often it must be asked."""
        (tenant,) = self.gateways[0].tenants.all
        assert tenant.entitlement.own is not None
        while True:
            with suppress(RedisGone):
                found = (await self.quotas[0]._redis.standing(tenant.entitlement.own)).funds
                assert found is not None
                return found
            await self.find_redis_again()

    def value(self, name: str, **labels: str) -> float:
        """A metric, over all replicas."""
        return sum(value(gateway, name, **labels) for gateway in self.gateways)


def value(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum over all series of a replica's metric that carry these labels; the name without the prefix."""
    samples = read_exposition(gateway.metrics.render()[0]).samples.items()
    return float(sum(n for (sample, has), n in samples if sample == f"aigateway_{name}" and labels.items() <= has))


class MakeFleet(Protocol):
    """``await make_fleet(3, tenant="budget: {usd: 1}", on_outage="deny")``.

    Args:
        redis_url: instead of the server's, for a way to it that a test can make worse.
        skews_s: by how much the wall clocks are off, of each replica in turn.
        options: as for :func:`tests.behaviour.stage.config`.
    """

    def __call__(
        self,
        replicas: int = ...,
        *,
        on_outage: str = ...,
        redis_url: str | None = ...,
        skews_s: Sequence[float] = ...,
        **options: Any,
    ) -> Awaitable[Fleet]: ...


@pytest.fixture
async def shared_database(postgres_server: PostgresServer) -> str:
    """A database without rows, for several; its ``stores.database_url``."""
    address = PostgresAddress(postgres_server.dsn("ledger"))
    database = await open_database(address)
    await database.write(empty)
    await database.aclose()
    return address.dsn


@pytest.fixture
async def make_fleet(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, redis_server: RedisServer, shared_database: str
) -> AsyncIterator[MakeFleet]:
    """Starts replicas that know of each other; the Redis of the session is empty before, and answers after."""
    with redis_server.client() as client:
        client.flushall()

    async def make(
        replicas: int = 3,
        *,
        on_outage: str = "local",
        redis_url: str | None = None,
        skews_s: Sequence[float] = (0.0,),
        **options: Any,
    ) -> Fleet:
        url = redis_url or redis_server.url
        stores = f"stores: {{database_url: '{shared_database}', redis_url: '{url}', on_outage: {on_outage}}}"
        text = config({"one": upstream.openai_base}, sections=stores, **options)
        gateways, monotonic = [], StageClock()
        for number in range(replicas):
            start = {"access_log": None, "clock": monotonic, "wall_clock": wall_clock(skews_s[number % len(skews_s)])}
            gateways.append(await make_gateway(text, start=start))
        fleet = Fleet(gateways, upstream, monotonic)
        await fleet.know_each_other()
        return fleet

    yield make
    redis_server.recover()


def wall_clock(ahead_s: float) -> Callable[[], float]:
    """The system's clock, if it were set so."""
    return lambda: time.time() + ahead_s


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, soaking: bool) -> None:
    """Redis may take its time: on a busy machine its answers are late, which is an outage, and no matter of counting.

    At full size it is as in production.
    """
    if not soaking:
        monkeypatch.setattr("gateway.stores.redis_link.RedisLink", partial(RedisLink, command_s=PATIENCE_S))


async def at_rate(per_s: float, seconds: float, ask: Callable[[int], Awaitable[None]]) -> int:
    """Ask at even distances, whoever is still waiting; returns how many, when all have their answers."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    count = max(1, round(per_s * seconds))

    async def one(number: int) -> None:
        await asyncio.sleep(began_s + number / per_s - loop.time())  # timed: that is what a rate is
        await ask(number)

    await asyncio.gather(*(one(number) for number in range(count)))
    return count
