"""Budgets in the log: each threshold told once over all replicas, and the first refusal of an exhausted one."""

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.core.period import Span
from gateway.core.quota import Crossing, Denied, Funds, Grant, Limit, Scope
from gateway.proxy.spending import EXHAUSTED_PPM
from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import Database
from gateway.tenancy.quotas import LimitSettings
from tests.databases import database, sqlite_file
from tests.proxy.spending_house import DAY_S, USD, House, budget

__all__ = ["database", "sqlite_file"]


@pytest.fixture
def address(tmp_path: Path) -> SqliteAddress:
    """A file: what databases have in common is tested where they are."""
    return SqliteAddress(tmp_path / "data" / "gateway.db")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has of budgets."""
    return [record.getMessage() for record in caplog.records if "budget" in record.getMessage()]


# --- soft thresholds


@pytest.fixture
async def replicas(database: Database) -> list[House]:
    """Two replicas on one database; each keeps quotas of its own, so each of them sees the same crossings."""
    houses = [House(database=database) for _ in range(2)]
    for house in houses:
        house.tenant("acme", budget(10, window="day", soft_at=[0.5, 0.8, 1]))
    return houses


async def test_a_threshold_is_told_once_over_all_replicas(
    replicas: list[House], caplog: pytest.LogCaptureFixture
) -> None:
    """One line and one count for each threshold and period, with what is needed to act on it."""
    for day in range(2):
        caplog.clear()
        for house in replicas:
            await house.spend("acme", 6)
        await asyncio.gather(*(house.tell() for house in replicas))
        assert lines(caplog) == [
            f"the tenant `acme` has spent 50 % of its budget: 6 of 10 USD; the budget begins again at "
            f"2027-01-0{day + 1}T00:00:00+01:00"
        ]
        assert sum(house.told("acme", "tenant", "soft") for house in replicas) == day + 1
        for house in replicas:
            house.now_s += DAY_S


async def test_all_shares_that_one_request_crosses_are_told(
    replicas: list[House], caplog: pytest.LogCaptureFixture
) -> None:
    """Each once; the whole of it is a share too."""
    for house in replicas:
        await house.spend("acme", 10)
        await house.tell()
    told = sorted(int(line.split(" % ")[0].rsplit(" ", 1)[1]) for line in lines(caplog))
    assert told == [50, 80, 100]
    assert replicas[0].told("acme", "tenant", "soft") == 3
    assert replicas[0].told("acme", "tenant", "exhausted") == 0


async def test_a_key_s_threshold_says_whose_key_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Keys of two tenants may have one name; a budget for ever does not begin again."""
    house = House()
    house.tenant("acme", None, web=budget(20, window="total", soft_at=[0.125]))
    await house.spend("acme", 2.5)
    await house.tell()
    assert lines(caplog) == [
        "the key `web` of the tenant `acme` has spent 12.5 % of its budget: 2.5 of 20 USD; the budget does not begin "
        "again"
    ]
    assert house.marked == [("key/acme/web", 0, 125_000)]
    assert (house.told("acme", "key", "soft"), house.told("acme", "tenant", "soft")) == (1, 0)
    assert caplog.records[-1].levelno == logging.WARNING


async def test_without_a_database_it_is_told_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Rather twice than never."""
    house = House()
    house.down = True
    house.tenant("acme", budget(10, soft_at=[0.5]))
    await house.spend("acme", 6)
    await house.tell()
    assert len(lines(caplog)) == 1
    assert house.told("acme", "tenant", "soft") == 1


async def test_a_process_that_ends_has_told_it(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else will: whoever reads the budget back takes what is spent for told."""
    house = House()
    asked = asyncio.Event()

    async def never(scope: str, period_start_us: int, threshold_ppm: int) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return False

    house.spending._mark = never
    house.tenant("acme", budget(10, soft_at=[0.5]))
    await house.spend("acme", 6)
    task = asyncio.create_task(house.started())
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(lines(caplog)) == 1


async def test_shares_that_round_to_nothing_have_a_mark() -> None:
    """A millionth is the least, and an exhausted budget has a mark of its own."""
    house = House()
    house.tenant("acme", budget(10, soft_at=[1e-9, 1]))
    await house.spend("acme", 10)
    await house.spend("acme", 1)
    await house.tell()
    assert sorted(ppm for _, _, ppm in house.marked) == [1, 1_000_000, EXHAUSTED_PPM]


# --- exhaustion


async def test_exhaustion_is_told_once_for_a_period(replicas: list[House], caplog: pytest.LogCaptureFixture) -> None:
    """However many requests are refused, by however many replicas; the database is asked once by each."""
    for day in range(2):
        for house in replicas:
            await house.spend("acme", 9.5)
            await house.tell()
        caplog.clear()
        for house in replicas:
            house.marked.clear()
            for _ in range(50):
                assert await house.spend("acme", 1)
            await house.tell()
            assert len(house.marked) == 1
            house.now_s += DAY_S
        assert lines(caplog) == [
            "the tenant `acme` has exhausted its budget, so requests are refused: 9.5 of 10 USD; the budget begins "
            f"again at 2027-01-0{day + 1}T00:00:00+01:00"
        ]
        assert sum(house.told("acme", "tenant", "exhausted") for house in replicas) == day + 1


async def test_what_is_held_is_no_exhaustion() -> None:
    """It may come back: 500 at once on a budget for 50 that cost less in the end."""
    house = House()
    house.tenant("acme", budget(10))
    held = await house.hold("acme", 8)
    assert isinstance(held, Grant)
    assert await house.spend("acme", 5)
    assert house.marked == [] and not house._work
    await house.quotas.settle(held, 0, 8 * USD)
    assert await house.spend("acme", 5)
    await house.tell()
    assert [ppm for _, _, ppm in house.marked] == [EXHAUSTED_PPM]


@pytest.mark.parametrize("usd", [0, 4])
async def test_a_request_larger_than_the_budget_says_nothing_of_it(usd: int) -> None:
    """Nor is a budget of 0 ever exhausted: it was never there."""
    house = House()
    house.tenant("acme", budget(usd))
    assert await house.spend("acme", 5)
    assert not house._work


async def test_other_limits_are_no_budgets() -> None:
    """They are not told here at all."""
    house = House()
    scope = Scope("tenant/acme", "the tenant `acme`", LimitSettings(concurrent=1).limits)
    house.spending.on_denied(Denied(Limit.CONCURRENT, scope, 1, 1.0))
    assert not house._work


async def test_memory_of_what_was_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys come and go; what is forgotten is asked for again, and the database remembers."""
    monkeypatch.setattr("gateway.proxy.spending.MOST_TOLD", 3)
    house = House()
    for n in range(10):
        scope = Scope(f"key/acme/k{n}", "the key", None, budget(10).budget)
        funds = Funds(10 * USD, 10 * USD, 0, Span(0.0, 1.0))
        for _ in range(2):
            house.spending.on_denied(Denied(Limit.BUDGET, scope, 1, None, funds))
        assert len(house.spending._refused) <= 3
    await house.tell()
    assert len(house.marked) == 10


async def test_a_crossing_of_an_unknown_tenant_is_counted_as_other() -> None:
    """Labels are a closed set."""
    house = House()
    scope = Scope("tenant/unheard", "the tenant `unheard`", None, budget(10).budget)
    house.spending.on_crossed(Crossing(scope, 0.5, Funds(10 * USD, 5 * USD, 0, Span(0.0, 1.0))))
    await house.tell()
    assert house.told("other", "tenant", "soft") == 1
