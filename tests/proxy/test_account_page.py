"""`GET /v1/usage`: figures that agree with the ledger and the quotas, of one tenant only; queries refused clearly."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.core.errors import GatewayError
from gateway.core.quota import Ask, Grant
from gateway.core.tokens import Source, Usage
from gateway.proxy.account_page import MOST_DAYS
from gateway.proxy.recent_usage import KEEP_S
from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import Database
from tests.databases import database, sqlite_file
from tests.proxy.account_house import NOW, House

__all__ = ["database", "sqlite_file"]

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def address(tmp_path: Path) -> SqliteAddress:
    """A file: what databases have in common is tested where they are."""
    return SqliteAddress(tmp_path / "data" / "gateway.db")


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    there = House(database)
    yield there
    await there.usage.aclose()
    await there.quotas.aclose()


# --- the whole page


async def test_the_example_of_the_docs_is_what_comes(house: House) -> None:
    """To the letter: a month with two models, a stream that runs, a key with a budget of its own."""
    mini = Usage(1_000, 2_000, 0, 0, 500, 0, Source.REPORTED)
    opus = Usage(4_000, 0, 0, 0, 2_000, 1_200, Source.REPORTED)
    await house.book(NOW - timedelta(days=2), 750_000, mini, model_asked="gpt-4o-mini")
    await house.book(NOW - timedelta(hours=1), 750_000, mini, model_asked="gpt-4o-mini")
    await house.book(NOW - timedelta(hours=2), 70_000_000, opus, model_asked="claude-opus-4-1", key_id="cli")
    await house.book(datetime(2026, 2, 28, tzinfo=UTC), 9_000_000)
    await house.book(NOW - timedelta(hours=3), 8_000_000, tenant_id="free")
    scopes = house.scopes()
    grant = await house.quotas.admit(Ask("runs", "acme", scopes, 1_500, 1_228_800))
    assert isinstance(grant, Grant)
    written = re.search(r"```json\n(.+?)```", (DOCS / "usage.md").read_text("utf-8"), re.DOTALL)
    assert written is not None
    assert await house.shown() == json.loads(written[1])


async def test_amounts_are_whole_nano_dollars_and_exact_decimals(house: House) -> None:
    """What a float would round."""
    await house.book(NOW - timedelta(days=1), 123_456_789_012_345_678, tenant_id="free")
    found = await house.shown("agw-free")
    assert (found["cost_nanousd"], found["cost_usd"]) == (123_456_789_012_345_678, "123456789.012345678")


async def test_a_key_sees_its_tenant_and_no_other(house: House) -> None:
    """All keys of it the same sums, each its own budget."""
    for tenant_id, key_id, cost in (("acme", "web", 1), ("acme", "cli", 20), ("free", "only", 300)):
        await house.book(NOW - timedelta(hours=1), cost, tenant_id=tenant_id, key_id=key_id)
    web, cli, free = await house.shown("agw-acme-web"), await house.shown("agw-acme-cli"), await house.shown("agw-free")
    assert [one["cost_nanousd"] for one in (web, cli, free)] == [21, 21, 300]
    assert (web["key"]["id"], web["key"]["budget"]["spent_nanousd"]) == ("web", 1)
    assert cli["key"] == {"id": "cli", "budget": None, "limits": None}
    assert {web["tenant_id"], cli["tenant_id"], free["tenant_id"]} == {"acme", "free"}


@pytest.mark.parametrize("key", ["agw-nobody", "agw-acme-web2", ""])
async def test_without_a_key_there_is_nothing_to_see(house: House, key: str) -> None:
    """401, and the ledger is not asked."""
    with pytest.raises(GatewayError) as refused:
        await house.shown(key, **{"from": "2026-03-01"})
    assert refused.value.code == "unauthorized"
    assert house.sums == 0


# --- which time


async def test_without_a_budget_it_is_the_month_of_utc(house: House) -> None:
    """To the microsecond."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for at in (start - timedelta(microseconds=1), start, datetime(2026, 4, 1, tzinfo=UTC)):
        await house.book(at, tenant_id="free")
    found = await house.shown("agw-free")
    assert found["period"] == {
        "window": "month",
        "timezone": "UTC",
        "from": "2026-03-01T00:00:00+00:00",
        "to": "2026-04-01T00:00:00+00:00",
    }
    assert (found["requests"], found["budget"], found["limits"]) == (1, None, None)


async def test_with_a_budget_it_is_its_period(house: House) -> None:
    """In its time zone: summer time begins in this month."""
    await house.book(datetime(2026, 2, 28, 23, tzinfo=UTC))
    await house.book(datetime(2026, 2, 28, 22, 59, 59, tzinfo=UTC))
    found = await house.shown()
    assert (found["period"]["from"], found["period"]["to"]) == (
        "2026-03-01T00:00:00+01:00",
        "2026-04-01T00:00:00+02:00",
    )
    assert (found["requests"], found["cost_nanousd"], found["budget"]["spent_nanousd"]) == (1, 1_000, 1_000)


async def test_a_budget_for_ever_is_shown_with_the_month(house: House) -> None:
    """Its spending has no beginning; the sums have."""
    await house.book(datetime(2020, 1, 1, tzinfo=UTC), 4, tenant_id="old")
    await house.book(NOW - timedelta(hours=1), 50, tenant_id="old")
    found = await house.shown("agw-old")
    assert (found["cost_nanousd"], found["budget"]["spent_nanousd"]) == (50, 54)
    assert (found["budget"]["from"], found["budget"]["to"], found["budget"]["window"]) == (None, None, "total")
    assert found["period"]["window"] == "month"


async def test_nothing_remains_of_what_is_overspent(house: House) -> None:
    """Where an answer cost more than was held for it."""
    await house.book(NOW - timedelta(hours=1), 7_000_000_001, tenant_id="old")
    budget = (await house.shown("agw-old"))["budget"]
    assert (budget["spent_usd"], budget["remaining_usd"]) == ("7.000000001", "0")


async def test_the_next_period_is_the_next(house: House) -> None:
    """The page goes with the clock."""
    await house.book(NOW)
    assert (await house.shown())["requests"] == 1
    house.now_s += 20 * 86_400
    found = await house.shown()
    assert (found["requests"], found["budget"]["spent_nanousd"]) == (0, 0)
    assert found["period"]["from"] == "2026-04-01T00:00:00+02:00"


TIMES: list[tuple[dict[str, str], str, str | None, int]] = [
    ({"from": "2026-03-10"}, "2026-03-10T00:00:00+01:00", None, 2),
    ({"from": "2026-03-10", "to": "2026-03-11"}, "2026-03-10T00:00:00+01:00", "2026-03-11T00:00:00+01:00", 1),
    ({"from": "2026-03-09T22:59:59Z", "to": "2026-03-10"}, "2026-03-09T23:59:59+01:00", "2026-03-10T00:00:00+01:00", 1),
    ({"from": "2026-03-09T23:00:00.000001Z"}, "2026-03-10T00:00:00+01:00", None, 1),
    ({"from": "2026-03-29", "to": "2026-03-30"}, "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 0),
    ({"from": "2027-01-01"}, "2027-01-01T00:00:00+01:00", None, 0),
    ({"from": "2024-03-01", "to": "2025-04-05"}, "2024-03-01T00:00:00+01:00", "2025-04-05T00:00:00+02:00", 0),
]  # fmt: skip
"""Queries, the ends as they come back, and how many exchanges are between them."""


@pytest.mark.parametrize(("query", "start", "end", "requests"), TIMES, ids=[str(n) for n in range(len(TIMES))])
async def test_any_time_can_be_asked_for(
    house: House, query: dict[str, str], start: str, end: str | None, requests: int
) -> None:
    """Dates in the budget's zone, moments in any; the end does not belong to it. The budget stays what it is."""
    first = datetime(2026, 3, 9, 23, tzinfo=UTC)
    for at in (first - timedelta(seconds=1), first, NOW - timedelta(days=1)):
        await house.book(at)
    found = await house.shown(**query)
    assert found["period"] == {"window": None, "timezone": "Europe/Berlin", "from": start, "to": end}
    assert found["requests"] == requests
    assert found["budget"]["spent_nanousd"] == 3_000


WRONG = [
    ("?since=2026-03-01", "since", "no parameter `since` here: write from, or from and to"),
    ("?from=2026-03-01&tenant_id=free", "tenant_id", "no parameter `tenant_id`"),
    ("?%0d%0aX=1", None, "no parameter here"),
    ("?<script>=1", None, "no parameter here"),
    ("?FROM=2026-03-01", "FROM", "no parameter `FROM`"),
    ("?from=2026-03-01&from=2026-03-02", "from", "from is given more than once"),
    ("?to=2026-03-01", "to", "to stands alone"),
    ("?from=", "from", "from must be a date or a moment"),
    ("?from=yesterday", "from", "from must be a date or a moment"),
    ("?from=2026-02-30", "from", "from must be a date or a moment"),
    ("?from=2026-03-01T00:00:00", "from", "with its offset"),
    ("?from=2026-03-01T00:00:00+01:00", "from", "in a URL a + is written %2B"),
    ("?from=20260301", "from", "from must be a date or a moment"),
    ("?from=1772319600", "from", "from must be a date or a moment"),
    ("?from=0000-01-01", "from", "from must be a date or a moment"),
    ("?from=9999-12-31", "from", "from must be a date or a moment"),
    ("?from=2026-03-01&to=soon", "to", "to must be a date or a moment"),
    ("?from=2026-03-02&to=2026-03-01", "to", "to is not after from"),
    ("?from=2026-03-01&to=2026-03-01", "to", "to is not after from"),
    ("?from=2026-01-01&to=2027-02-06", "from", "longer than 400 days"),
    ("?from=2025-02-01", "from", "longer than 400 days"),
    ("?from=1970-01-02&to=9980-12-30", "from", "longer than 400 days"),
    ("?from=0001-01-01T00:00:00%2B14:00", "from", "from 1970 on"),
    ("?from=1969-12-31", "from", "from 1970 on"),
    ("?from=9999-12-31T23:59:59-14:00", "from", "from must be a date or a moment"),
    ("?from='%20OR%201=1", "from", "from must be a date or a moment"),
]


@pytest.mark.parametrize(("query", "param", "said"), WRONG, ids=[query for query, *_ in WRONG])
async def test_other_queries_are_refused(house: House, query: str, param: str | None, said: str) -> None:
    """By the name of what is wrong, and with what to write; nothing of the value is repeated."""
    with pytest.raises(GatewayError) as refused:
        await house.asked(query)
    error = refused.value
    assert (error.code, error.status, error.param) == ("invalid_request", 400, param)
    assert said in error.message
    assert house.sums == 0


async def test_the_longest_time(house: House) -> None:
    """To the day."""
    found = await house.shown("agw-free", **{"from": "2025-01-01", "to": "2026-02-05"})
    span = datetime.fromisoformat(found["period"]["to"]) - datetime.fromisoformat(found["period"]["from"])
    assert span == timedelta(days=MOST_DAYS)


# --- stores that do not answer, and what the page costs


async def test_without_the_ledger_it_says_so(house: House) -> None:
    """503 with a time to come again, and the figures when it is back."""
    house.down = True
    with pytest.raises(GatewayError) as refused:
        await house.shown()
    assert (refused.value.code, refused.value.status, refused.value.retry_after_s) == ("overloaded", 503, 2.0)
    house.down = False
    assert (await house.shown())["requests"] == 0


async def test_a_sum_that_takes_too_long_is_told_later(house: House) -> None:
    """503 instead of a client that waits; the sum goes on, for whoever asks again."""
    house.usage._wait_s = 0.0
    with pytest.raises(GatewayError) as refused:
        await house.shown()
    assert (refused.value.code, refused.value.retry_after_s) == ("overloaded", 2.0)
    house.usage._wait_s = 60.0
    await house.shown()
    assert house.sums == 1


async def test_where_nobody_knows_what_is_spent_it_says_so(house: House) -> None:
    """Not a budget that looks untouched."""
    house.lost = True
    with pytest.raises(GatewayError) as refused:
        await house.shown()
    assert refused.value.code == "overloaded"


async def test_a_page_that_is_asked_for_all_the_time_costs_one_sum(house: House) -> None:
    """Sums are some seconds old, and say so; budgets and limits are of now."""
    await house.book(NOW - timedelta(hours=1), 1_000)
    first = await house.shown()
    scopes = house.scopes()
    grant = await house.quotas.admit(Ask("next", "acme", scopes, 0, 5_000))
    assert isinstance(grant, Grant)
    await house.quotas.settle(grant, 0, 5_000)
    await house.book(NOW, 5_000)
    house.now_s += KEEP_S - 0.5
    answers = await asyncio.gather(*(house.shown() for _ in range(20)))
    assert house.sums == 1
    assert {one["as_of"] for one in answers} == {first["as_of"]} == {"2026-03-15T13:00:00+01:00"}
    assert {one["cost_nanousd"] for one in answers} == {1_000}
    assert {one["budget"]["spent_nanousd"] for one in answers} == {6_000}
    house.now_s += 1
    assert (await house.shown())["cost_nanousd"] == 6_000


async def test_limits_are_as_they_stand_now(house: House) -> None:
    """What is left, and when nothing is used any more; None where there is no such limit."""
    scopes = house.scopes()
    await asyncio.gather(*(house.quotas.admit(Ask(str(n), "acme", scopes, 10_000, 0)) for n in range(3)))
    found = await house.shown()
    assert found["limits"] == {
        "requests": {"limit_per_minute": 600, "remaining": 7, "reset_s": 0.3},
        "tokens": {"limit_per_minute": 400_000, "remaining": 10_000, "reset_s": 4.5},
        "concurrent": {"limit": 200, "in_flight": 3, "remaining": 197},
    }
    assert found["key"]["limits"] == {
        "requests": None,
        "tokens": None,
        "concurrent": {"limit": 10, "in_flight": 3, "remaining": 7},
    }
