"""Everything that outlives a request: opened in order before the first one, closed in the reverse after the last.

Where no Redis is configured, each process keeps limits and budgets in its own memory. What a budget has spent is read
back from the ledger, once for each period; exchanges that other processes have open at that moment are held as they
hold them, until it is known what they cost. So a crash makes nothing free, and one process may take over from another
on the same database: what runs meanwhile is counted once, in both. What such a handover can cost: the new process does
not see what the old one admits or tops up after that moment, so a budget may be overspent by that. It is at most what
was left for the old one; in practice the further steps of the streams that it finishes, and requests that were on
their way. And limits begin anew, with full buckets. With Redis there is one account for all, and none of this.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Literal

from sqlalchemy.exc import DBAPIError

from gateway.core.account import Balance
from gateway.core.clock import Clock, WallClock
from gateway.core.quota import Crossing, Quotas
from gateway.metrics import Metrics
from gateway.metrics.declarations import OUTAGE_DECISIONS, STORE_OPS
from gateway.metrics.stores import TimedDatabase
from gateway.stores.memory import LocalQuotas
from gateway.stores.others import Others
from gateway.stores.settings import LedgerSettings, StoresSettings
from gateway.stores.sql.address import Address, SqliteAddress, read_address
from gateway.stores.sql.database import Database, open_database
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.instances import Instances
from gateway.stores.sql.ledger import Ledger
from gateway.stores.sql.migrate import SchemaTooNew
from gateway.stores.sql.orphans import SettledOrphan
from gateway.stores.sql.spending import balance, ended, spent
from gateway.stores.sql.upkeep import Upkeep
from gateway.tenancy.directory import Directory
from gateway.tenancy.quotas import owner_of
from gateway.tenancy.tenants import Tenants

OPEN_S: Final = 30.0
"""How long opening may take: SQLite waits 10 s for another process, and a server may be busy with a migration."""

LET_GO_S: Final = 2.0
"""How long a part may take to close: a store that does not answer any more must not hold up the end."""

AT_ONCE: Final = 16
"""Orphans told at the same time: half of the connections to Redis, so that requests find some."""

log = logging.getLogger("gateway")


class StoresUnusable(Exception):
    """A store cannot be used at all. The sentence names the key and says what to do."""


class State:
    """The stores of one process.

    Attributes:
        database: of ledger, tenants and keys.
        ledger: takes rows from the first moment on.
        quotas: limits and budgets.
        directory: tenants and keys of the database, in memory.
    """

    database: Database
    ledger: Ledger
    quotas: Quotas
    directory: Directory

    def __init__(
        self,
        metrics: Metrics,
        instance_id: str,
        clock: Clock,
        wall_clock: WallClock,
        on_crossed: Callable[[Crossing], None],
    ) -> None:
        self._declared = metrics.declared
        self._instance_id = instance_id
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_crossed = on_crossed
        self._closing = AsyncExitStack()
        self._telling: set[asyncio.Task[None]] = set()
        self._within_s = LET_GO_S

    @classmethod
    async def open(
        cls,
        stores: StoresSettings,
        ledger: LedgerSettings,
        tenants: Tenants,
        metrics: Metrics,
        *,
        instance_id: str,
        clock: Clock,
        wall_clock: WallClock,
        on_crossed: Callable[[Crossing], None],
    ) -> "State":
        """Open everything, in :data:`OPEN_S` at most. A Redis that does not answer is an outage, and no reason to wait.

        Args:
            tenants: gets those of the database.
            instance_id: new at each start of a process.
            on_crossed: told of soft thresholds of budgets that are crossed by what nobody here settles.

        Raises:
            StoresUnusable: nothing is left open.
        """
        address = read_address(stores.database_url.get_secret_value())
        state = cls(metrics, instance_id, clock, wall_clock, on_crossed)
        try:
            async with asyncio.timeout(OPEN_S):
                await state._open(address, stores, ledger, tenants)
        except BaseException as trouble:
            await state.aclose(0)
            why = _sentence(trouble, address)
            if why is None:
                raise
            raise StoresUnusable(f"stores.database_url: {why}") from trouble
        return state

    async def aclose(self, within_s: float) -> None:
        """Close everything, whatever of it fails.

        Args:
            within_s: how long the ledger may take to write what waits, and as long again to tell Redis what it does
                not know. Well below the 30 s after which other processes take this one for dead.
        """
        self._within_s = within_s
        await self._closing.aclose()

    async def _open(self, address: Address, stores: StoresSettings, ledger: LedgerSettings, tenants: Tenants) -> None:
        self.database = TimedDatabase(await open_database(address), self._declared, self._clock)
        self._closing.push_async_callback(_let_go, "the database", self.database.aclose)
        self._open_ledger(ledger)
        if stores.redis_url is None:
            self._open_local_quotas()
        else:
            self._open_shared_quotas(stores.redis_url.get_secret_value(), stores.on_outage)
        instances = Instances(self.database, self._instance_id, self._clock, self._wall_clock)
        self._upkeep = Upkeep(self.database, instances, ledger, self._wall_clock, self._settled)
        self._closing.push_async_callback(self._told)
        self._closing.push_async_callback(_let_go, "upkeep", self._upkeep.aclose)
        await self._upkeep.start()
        self.directory = Directory(self.database, tenants, self._wall_clock, self._clock)
        self._closing.push_async_callback(_let_go, "the directory", self.directory.aclose)
        await self.directory.start()

    def _open_ledger(self, settings: LedgerSettings) -> None:
        commit = self._declared.ledger_commit.labels()
        self.ledger = ledger = Ledger(
            self.database.ledger_writer(), settings, lambda seconds, _rows: commit.observe(seconds)
        )
        self._declared.ledger_pending.labels().read_from(lambda: ledger.pending)
        self._declared.ledger_late.read_from(lambda: ledger.late)
        ledger.start()
        self._closing.push_async_callback(self._close_ledger)

    def _open_local_quotas(self) -> None:
        self.quotas = quotas = LocalQuotas(self._clock, self._wall_clock, self._balance)
        self._others = Others(quotas.accounts, partial(ended, self.database), self._on_crossed)
        self._closing.push_async_callback(_let_go, "the quotas", quotas.aclose)
        self._closing.push_async_callback(_let_go, "the quotas", self._others.aclose)
        self._others.start()

    def _open_shared_quotas(self, url: str, on_outage: Literal["local", "deny", "allow"]) -> None:
        # Its client takes a tenth of a second to import, which a start without it need not wait for.
        from gateway.stores.outage import OutageQuotas
        from gateway.stores.redis_link import RedisLink
        from gateway.stores.redis_quotas import RedisQuotas

        cells = {op: self._declared.store_seconds.labels("redis", op) for store, op in STORE_OPS if store == "redis"}
        link = RedisLink(url, self._clock, observe=lambda op, seconds: cells[op].observe(seconds))
        redis = RedisQuotas(link, self._wall_clock, self._spent)
        self.quotas = quotas = OutageQuotas(
            redis, on_outage, self._instance_id, self._clock, self._wall_clock, self._spent, self._on_crossed
        )
        self._declared.store_up.labels("redis").read_from(lambda: quotas.up)
        for decision in OUTAGE_DECISIONS:
            self._declared.outage_decisions.read_from(partial(getattr, quotas.counts, decision), decision)
        quotas.start()
        self._closing.push_async_callback(self._close_quotas, quotas)

    async def _balance(self, scope_key: str, start_s: float) -> Balance | None:
        owner = owner_of(scope_key)
        return await balance(self.database, owner.tenant_id, owner.key_id, _from_us(start_s))

    async def _spent(self, scope_key: str, start_s: float) -> int:
        owner = owner_of(scope_key)
        found = await spent(self.database, owner.tenant_id, owner.key_id, _from_us(start_s))
        return found.total_nanousd

    def _settled(self, orphans: Sequence[SettledOrphan]) -> None:
        # Not in upkeep's own round: a slow Redis must not keep this process from saying that it lives.
        task = asyncio.create_task(self._tell(orphans), name="orphans")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, orphans: Sequence[SettledOrphan]) -> None:
        for first in range(0, len(orphans), AT_ONCE):
            told = await asyncio.gather(
                *(
                    self.quotas.settle_orphan(one.orphan.tenant_id, one.orphan.exchange_id, one.cost_nanousd)
                    for one in orphans[first : first + AT_ONCE]
                )
            )
            for crossing in (crossing for settled in told for crossing in settled.crossed):
                self._on_crossed(crossing)

    async def _told(self) -> None:
        if self._telling:
            _, left = await asyncio.wait(self._telling, timeout=LET_GO_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _close_ledger(self) -> None:
        await self.ledger.aclose(self._within_s)

    async def _close_quotas(self, quotas: Quotas) -> None:
        await _let_go("the quotas", quotas.aclose, max(self._within_s, LET_GO_S))


def _from_us(start_s: float) -> int | None:
    # A budget without a period begins with everything, that which retention has deleted included.
    return round(start_s * 1_000_000) if start_s else None


async def _let_go(what: str, close: Callable[[], Awaitable[None]], within_s: float = LET_GO_S) -> None:
    try:
        async with asyncio.timeout(within_s):
            await close()
    except TimeoutError:
        log.warning("%s could not be closed within %g s and is left as it is", what, within_s)
    except Exception:
        log.exception("%s could not be closed", what)


def _sentence(trouble: BaseException, address: Address) -> str | None:
    """Say what is wrong with the database and what to do; None where it is a mistake of ours."""
    do = (
        "Its directory must be writable for this process, and no other may be at work in the file for long."
        if isinstance(address, SqliteAddress)
        else "Start it, or write where it is: postgresql://user:password@host:5432/name."
    )
    match trouble:
        case TimeoutError():
            return f"{address} has not answered within {OPEN_S:g} s. {do}"
        case DatabaseDown():
            return f"{trouble}. {do}"
        case DBAPIError():
            return f"{address} refused to be set up: {trouble.orig}. The user of the gateway must own the database."
        case SchemaTooNew():
            return str(trouble)
    return None
