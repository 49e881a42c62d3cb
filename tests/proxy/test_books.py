"""The ledger on the line: what is written down when, and what waits for it."""

import asyncio
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.core.ledger import price_text
from gateway.core.outcome import Outcome
from gateway.core.pricing import cost_nanousd
from gateway.core.quota import Ask, Grant, Settled
from gateway.core.routing import Target
from gateway.core.tokens import Source, Usage
from gateway.metrics import Metrics
from gateway.proxy.books import Books
from gateway.proxy.exchange import Exchange, Holding
from gateway.proxy.grants import Grants
from gateway.stores.memory import LocalQuotas
from tests.hand_ledger import HandLedger
from tests.raw_connection import read_boundary
from tests.surface.exchanges import NOW_S, PRICE, TARGET, WALL_S, admitted, attempt, books_of, hand_spending, order_of

CHAT, COUNT = "/v1/chat/completions", "/v1/messages/count_tokens"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "x" * 38}]}
USAGE = Usage(input=100, output=10, source=Source.REPORTED)


class SlowQuotas(LocalQuotas):
    """Settles when it is told to."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW_S, lambda: WALL_S)
        self.settled: list[tuple[str, int, int]] = []
        self.may = asyncio.Event()

    async def settle(self, grant: Grant, tokens: int, cost_nanousd: int) -> Settled:
        await self.may.wait()
        self.settled.append((grant.exchange_id, tokens, cost_nanousd))
        return Settled(True)


class Desk:
    """Books, and what lies behind them."""

    def __init__(self) -> None:
        metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
        self.ledger, self.quotas = HandLedger(), SlowQuotas()
        self.quotas.may.set()
        grants = Grants(self.quotas, metrics, hand_spending(), asyncio.ensure_future)
        self.books: Books = books_of(metrics, self.ledger, grants)

    def opened(self, path: str = CHAT, **fields: Any) -> Exchange:
        """An exchange that is about to ask its first target, with a hold."""
        exchange = admitted(path, {**ASK, **fields})
        exchange.holding = Holding(Grant(exchange.serial, "acme"), nanousd=77)
        self.books.open(exchange, order_of(exchange), TARGET)
        return exchange

    def answered(self, **fields: Any) -> Exchange:
        """One that has been served, and whose cost is known."""
        exchange = self.opened(**fields)
        exchange.served = attempt()
        exchange.attempts.append(exchange.served)
        exchange.served.end(Outcome.SUCCESS, NOW_S)
        exchange.usage, exchange.outcome, exchange.status = USAGE, Outcome.SUCCESS, 200
        exchange.cost_nanousd = cost_nanousd(USAGE, PRICE)
        return exchange


def test_the_opening_has_what_a_crash_needs() -> None:
    """Who, what, the prompt's estimate, the hold and the price of the target that is asked first."""
    desk = Desk()
    exchange = desk.opened()
    (row,) = desk.ledger.openings
    assert (row.exchange_id, row.request_id) == (exchange.serial, exchange.id)
    assert (row.tenant_id, row.key_id, row.operation, row.stream) == ("acme", "web", "chat", True)
    assert (row.model_asked, row.instance_id, row.opened_at_us) == ("gpt-4o-mini", "instance", int(WALL_S * 1e6))
    assert (row.input_estimate_tokens, row.hold_nanousd) == (order_of(exchange).view.prompt_tokens, 77)
    assert row.price == price_text(PRICE)


def test_what_is_free_is_not_written_down() -> None:
    """Counting tokens costs nothing, and needs no database."""
    desk = Desk()
    exchange = desk.opened(COUNT, model="claude")
    assert exchange.entry is None
    assert desk.ledger.openings == []


async def test_content_waits_for_the_opening() -> None:
    """It does not go on before the row is committed."""
    desk = Desk()
    desk.ledger.prompt = False
    exchange = desk.opened()
    waiting = asyncio.create_task(desk.books.opened(exchange))
    await read_boundary()
    assert not waiting.done()
    desk.ledger.commit_all()
    await waiting
    await desk.books.opened(exchange)


async def test_content_without_an_opening_is_refused() -> None:
    """503, with the wait; also where it failed before anybody waited."""
    desk = Desk()
    desk.ledger.prompt = False
    exchange = desk.opened()
    waiting = asyncio.create_task(desk.books.opened(exchange))
    await read_boundary()
    desk.ledger.fail_all()
    for refused in (waiting, desk.books.opened(exchange)):
        with pytest.raises(GatewayError, match="written down") as caught:
            await refused
        assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("overloaded", 503, 1.0)


def test_nobody_spends_while_nothing_is_written() -> None:
    """Refused before anything is taken."""
    desk = Desk()
    desk.books.check()
    desk.ledger.accepting = False
    with pytest.raises(GatewayError, match="written down"):
        desk.books.check()


async def test_the_closing_has_the_whole_account() -> None:
    """Outcome, tokens, cost, who served, and one row per attempt with what it cost the operator."""
    desk = Desk()
    exchange = desk.answered()
    failed, slow = attempt(Target("two", "m", price=PRICE)), attempt(Target("three", "m", price=PRICE))
    failed.end(Outcome.CONNECT_FAILED, NOW_S)
    slow.end(Outcome.HEDGE_LOST, NOW_S)
    exchange.attempts[:0] = [failed, slow]
    await desk.books.close(exchange)
    (row,) = desk.ledger.closings
    assert (row.opening.exchange_id, row.outcome, row.status) == (exchange.serial, Outcome.SUCCESS, 200)
    assert (row.usage, row.cost_nanousd) == (USAGE, cost_nanousd(USAGE, PRICE))
    assert (row.provider, row.model_served) == ("one", TARGET.model)
    prompt = Usage(input=order_of(exchange).view.prompt_tokens)
    assert [(a.number, a.provider, a.outcome, a.cost_nanousd, a.source) for a in row.attempts] == [
        (1, "two", Outcome.CONNECT_FAILED, 0, Source.NONE),
        (2, "three", Outcome.HEDGE_LOST, cost_nanousd(prompt, PRICE), Source.ESTIMATED),
        (3, "one", Outcome.SUCCESS, row.cost_nanousd, Source.REPORTED),
    ]
    assert all(a.started_at_us == a.ended_at_us == int(WALL_S * 1e6) for a in row.attempts)


async def test_the_closing_event_waits_for_its_row() -> None:
    """And the row for the budgets, so that none which is rebuilt meanwhile counts it twice."""
    desk = Desk()
    desk.ledger.prompt = False
    desk.quotas.may.clear()
    exchange = desk.answered()
    closing = asyncio.create_task(desk.books.close(exchange))
    await read_boundary()
    assert desk.ledger.closings == []
    desk.quotas.may.set()
    for _ in range(3):
        await read_boundary()
    assert len(desk.ledger.closings) == 1
    assert desk.quotas.settled == [(exchange.serial, 110, exchange.cost_nanousd)]
    assert not closing.done()
    desk.ledger.commit_all()
    await closing


async def test_what_is_closed_is_closed_once() -> None:
    """Whoever comes again finds nothing to do."""
    desk = Desk()
    exchange = desk.answered()
    await desk.books.close(exchange)
    desk.books.end(exchange)
    await desk.books.close(exchange)
    await desk.books.flushed()
    assert (len(desk.quotas.settled), len(desk.ledger.closings)) == (1, 1)


async def test_a_client_that_leaves_meanwhile_changes_nothing() -> None:
    """The rest is done behind its back, once."""
    desk = Desk()
    desk.quotas.may.clear()
    exchange = desk.answered()
    closing = asyncio.create_task(desk.books.close(exchange))
    await read_boundary()
    closing.cancel()
    await asyncio.wait([closing])
    desk.books.end(exchange)
    desk.quotas.may.set()
    await desk.books.flushed()
    assert (len(desk.quotas.settled), len(desk.ledger.closings)) == (1, 1)


async def test_quotas_that_fail_keep_nothing_out_of_the_ledger(caplog: pytest.LogCaptureFixture) -> None:
    """What it cost is written down all the same, and said in the log."""
    desk = Desk()
    exchange = desk.answered()
    exchange.cost_nanousd = -1
    desk.quotas.settle = LocalQuotas.settle.__get__(desk.quotas)  # type: ignore[method-assign]
    await desk.quotas.admit(Ask(exchange.serial, "acme", (), 0, 0))
    desk.books.end(exchange)
    await desk.books.flushed()
    assert len(desk.ledger.closings) == 1
    assert "could not be settled" in caplog.text


async def test_a_whole_answer_goes_out_whatever_becomes_of_its_quotas(caplog: pytest.LogCaptureFixture) -> None:
    """The closing event waits for the row, which is written; that its budget was not told is said in the log."""
    desk = Desk()
    exchange = desk.answered()

    async def fails(grant: Grant, tokens: int, cost_nanousd: int) -> Settled:
        raise OSError

    desk.quotas.settle = fails  # type: ignore[method-assign]
    await desk.books.close(exchange)
    assert len(desk.ledger.closings) == 1
    assert "could not be settled" in caplog.text


async def test_who_took_nothing_leaves_nothing() -> None:
    """Neither limits nor a row: no task is made for it."""
    desk = Desk()
    exchange = admitted(CHAT, ASK)
    before = asyncio.all_tasks()
    desk.books.end(exchange)
    assert asyncio.all_tasks() == before
