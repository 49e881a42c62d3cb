"""Processes with their stores, on real databases: what a test starts, and the words for what they do."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from gateway.core.ledger import ID_RANDOM_BYTES, Closing, Opening, new_exchange_id
from gateway.core.outcome import Outcome
from gateway.core.period import Period
from gateway.core.quota import Ask, Budget, Crossing, Grant, Quotas, Scope
from gateway.metrics import Metrics
from gateway.state import State, StoresUnusable
from gateway.stores.others import Others
from gateway.stores.settings import LedgerSettings, StoresSettings
from gateway.stores.sql.address import Address, SqliteAddress
from gateway.stores.sql.database import open_database
from gateway.stores.sql.instances import BEAT_S, DEAD_AFTER_S
from gateway.stores.sql.schema import instances
from gateway.tenancy.tenants import Tenants
from tests.closing import close_in_time
from tests.databases import (
    empty,
)
from tests.metrics.text_format import Exposition, read_exposition
from tests.upstream.passing import HandClock

PRICE = '{"input":"1","output":"2"}'
HALF = 0.5


def budget(nanousd: int, period: Period = Period.TOTAL) -> Budget:
    return Budget(nanousd, period, ZoneInfo("UTC"), (HALF,))


def acme(nanousd: int = 1_000_000, period: Period = Period.TOTAL) -> Scope:
    return Scope("tenant/acme", "the tenant `acme`", None, budget(nanousd, period))


@dataclass
class Process:
    """One process: its state, and what it was told and shows."""

    state: State
    metrics: Metrics
    clock: HandClock
    instance_id: str
    crossed: list[Crossing] = field(default_factory=list)
    was_told: asyncio.Event = field(default_factory=asyncio.Event)

    def on_crossed(self, crossing: Crossing) -> None:
        self.crossed.append(crossing)
        self.was_told.set()

    @property
    def quotas(self) -> Quotas:
        return self.state.quotas

    @property
    def scrape(self) -> Exposition:
        return read_exposition(self.metrics.render()[0])

    def shows(self, name: str, **labels: str) -> float:
        return float(self.scrape.value(f"aigateway_{name}", **labels))

    def opening(self, hold_nanousd: int = 0, **more: Any) -> Opening:
        """A row of this process."""
        now_us = time.time_ns() // 1000
        fields: dict[str, Any] = {
            "exchange_id": new_exchange_id(now_us, os.urandom(ID_RANDOM_BYTES)),
            "request_id": "req",
            "tenant_id": "acme",
            "key_id": "web",
            "operation": "chat",
            "stream": True,
            "model_asked": "gpt",
            "instance_id": self.instance_id,
            "opened_at_us": now_us,
            "input_estimate_tokens": 7,
            "hold_nanousd": hold_nanousd,
            "price": PRICE,
        }
        return Opening(**fields | more)

    async def begin(self, hold_nanousd: int, scope: Scope | None = None) -> tuple[Grant, Opening]:
        """Admit an exchange, and open its row."""
        row = self.opening(hold_nanousd)
        grant = await self.quotas.admit(Ask(row.exchange_id, "acme", (scope or acme(),), 0, hold_nanousd))
        assert isinstance(grant, Grant)
        await self.state.ledger.open(row)
        return grant, row

    async def end(self, grant: Grant, row: Opening, cost_nanousd: int) -> None:
        """Settle it, and close its row."""
        await self.quotas.settle(grant, 0, cost_nanousd)
        assert await self.state.ledger.in_time(self.state.ledger.close(closing(row, cost_nanousd)))

    async def money(self, scope: Scope | None = None) -> tuple[int, int]:
        """What is spent, and what is held."""
        funds = (await self.quotas.standing(scope or acme())).funds
        assert funds is not None
        return funds.spent_nanousd, funds.held_nanousd

    async def watch(self) -> None:
        """So much time passes that the dead are known to be."""
        for _ in range(int(DEAD_AFTER_S / BEAT_S) + 2):
            self.clock.now += BEAT_S
            await self.state._upkeep.settle()
        await self.state._told()

    async def has_left(self) -> None:
        """It has said good-bye to the others; the database tells nobody, so it is asked."""
        count = select(func.count()).where(instances.c.instance_id == self.instance_id)
        while await self.state.database.read(lambda connection: connection.scalar(count)):
            pass

    async def hear(self) -> None:
        """What other processes have ended becomes known here."""
        others: Others = self.state._others
        await others.look()


def closing(row: Opening, cost_nanousd: int) -> Closing:
    return Closing(row, Outcome.SUCCESS, 200, row.opened_at_us + 1000, cost_nanousd=cost_nanousd)


class Start(Protocol):
    """``await start()``: one more process, on the test's database."""

    def __call__(self, url: str = ..., **stores: Any) -> Awaitable[Process]: ...


@pytest.fixture
async def start(address: Address, sqlite_file: bytes) -> AsyncIterator[Start]:
    """Processes on a database without rows."""
    if isinstance(address, SqliteAddress):
        address.path.parent.mkdir()
        address.path.write_bytes(sqlite_file)
    else:
        database = await open_database(address)
        await database.write(empty)
        await database.aclose()
    async with starting(url_of(address)) as begin:
        yield begin


@asynccontextmanager
async def starting(own_url: str) -> AsyncIterator[Start]:
    """Starts processes; whatever still runs is closed at the end."""
    async with AsyncExitStack() as closing:

        async def begin(url: str = own_url, **stores: Any) -> Process:
            clock, name = HandClock(), os.urandom(4).hex()
            metrics = Metrics(name, "v", ["acme"], [], [])
            # It begins to be told of things before it is whole.
            told: list[Process] = []
            state = await State.open(
                StoresSettings(database_url=SecretStr(url), **stores),
                LedgerSettings(open_wait_s=60, end_wait_s=60),
                Tenants((), time.time),
                metrics,
                instance_id=name,
                clock=clock,
                wall_clock=time.time,
                on_crossed=lambda crossing: told[-1].on_crossed(crossing),  # noqa: PLW0108 (it is not there yet)
            )
            closing.push_async_callback(close_in_time, "the state", partial(state.aclose, 5))
            told.append(Process(state, metrics, clock, name))
            return told[0]

        yield begin


def url_of(address: Address) -> str:
    return f"sqlite:///{address.path}" if isinstance(address, SqliteAddress) else address.dsn


async def refused(url: str) -> str:
    """The sentence with which a database is refused."""
    with pytest.raises(StoresUnusable) as refusal:
        async with starting(url) as begin:
            await begin()
    return str(refusal.value)
