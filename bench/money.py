"""What limits, budgets and the ledger cost a request, in process.

    python -m bench.money

A request takes its grant (limits and budgets of its tenant and its key, and limits for the model), is settled and,
where the ledger is counted in, written into a file of SQLite: 32 requests at once, so that they share transactions.
CPU time of the whole process, the database's thread included; median of the rounds.
"""

import asyncio
import gc
import secrets
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from gateway.core.ledger import ID_RANDOM_BYTES, new_exchange_id
from gateway.core.outcome import Outcome
from gateway.core.quota import Scope
from gateway.core.tokens import Source, Usage
from gateway.metrics import Metrics
from gateway.proxy.books import Books
from gateway.proxy.exchange import Exchange
from gateway.proxy.grants import Grants
from gateway.stores.memory import LocalQuotas
from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import open_database
from gateway.stores.sql.ledger import Ledger
from gateway.tenancy.quotas import BudgetSettings, Entitlement, LimitSettings
from gateway.tenancy.tenants import Identity, Key, Tenant
from tests.hand_ledger import HandLedger
from tests.surface.exchanges import TARGET, admitted, attempt, hand_spending, order_of

AT_ONCE = 32
REQUESTS = 1600
ROUNDS = 9
LIMITS = LimitSettings(requests_per_minute=10**9, tokens_per_minute=10**9, concurrent=10**6)
BUDGET = BudgetSettings(usd=Decimal(1_000_000))
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 100}
USAGE = Usage(input=100, output=50, source=Source.REPORTED)


class Desk:
    """Grants and books, on a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
        quotas = LocalQuotas(time.monotonic, time.time)
        self.grants = Grants(quotas, metrics, hand_spending(), asyncio.ensure_future)
        self.books = Books(ledger, self.grants, "bench", time.monotonic, time.time)
        entitlement = Entitlement(
            "acme", LIMITS, BUDGET, keys={"web": (LIMITS, BUDGET)}, models={"gpt-4o-mini": LIMITS}
        )
        self._identity = Identity(Tenant("acme", entitlement=entitlement), Key("web"))
        assert all(isinstance(scope, Scope) for scope in entitlement.scopes("web", "gpt-4o-mini"))

    def exchange(self) -> Exchange:
        """One that has its order, and is about to be admitted."""
        exchange = admitted("/v1/chat/completions", ASK)
        exchange.serial = new_exchange_id(int(time.time() * 1e6), secrets.token_bytes(ID_RANDOM_BYTES))
        order_of(exchange).identity = self._identity
        served = attempt()
        served.end(Outcome.SUCCESS, time.monotonic())
        exchange.served, exchange.usage = served, USAGE
        exchange.outcome, exchange.cost_nanousd, exchange.status = Outcome.SUCCESS, 150_000, 200
        return exchange

    async def nothing(self, exchange: Exchange) -> None:
        """What the measuring itself costs."""

    async def limited(self, exchange: Exchange) -> None:
        await self.grants.take(exchange, order_of(exchange))
        exchange.attempts.append(exchange.served)  # type: ignore[arg-type]
        await self.grants.settle(exchange)

    async def booked(self, exchange: Exchange) -> None:
        self.books.check()
        await self.grants.take(exchange, order_of(exchange))
        self.books.open(exchange, order_of(exchange), TARGET)
        exchange.attempts.append(exchange.served)  # type: ignore[arg-type]
        await self.books.opened(exchange)
        await self.books.close(exchange)
        self.books.end(exchange)

    async def round_us(self, way: str) -> float:
        """CPU microseconds per request of one round."""
        exchanges = [self.exchange() for _ in range(REQUESTS)]
        call = getattr(self, way)
        queue = iter(exchanges)

        async def client() -> None:
            for exchange in queue:
                await call(exchange)

        # the requests were made of mocks, thousands of objects that no pass of the collector would meet in a gateway
        gc.collect()
        gc.freeze()
        since = time.process_time()
        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        took_s = time.process_time() - since
        gc.unfreeze()
        return took_s / REQUESTS * 1e6


async def measure(directory: Path) -> tuple[float, float, float]:
    """Microseconds per request: limits and budgets; with the ledger; rows per transaction."""
    database = await open_database(SqliteAddress(directory / "bench.db"))
    ledger = Ledger(database.ledger_writer(), LedgerSettings())
    ledger.start()
    hand, real = Desk(HandLedger()), Desk(ledger)
    rounds = [
        (await hand.round_us("nothing"), await hand.round_us("limited"), await real.round_us("booked"))
        for _ in range(ROUNDS)
    ]
    await ledger.flushed()
    per_group = 2 * REQUESTS * ROUNDS / ledger.commits
    await ledger.aclose(5)
    await database.aclose()
    limited = statistics.median(limited - nothing for nothing, limited, _ in rounds)
    booked = statistics.median(booked - nothing for nothing, _, booked in rounds)
    return limited, booked, per_group


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        limited, booked, per_group = asyncio.run(measure(Path(directory)))
    print(
        f"limits and budgets {limited:.1f} us per request, with the ledger {booked:.1f} us, {per_group:.0f} rows a time"
    )


if __name__ == "__main__":
    main()
