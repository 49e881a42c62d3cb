"""Usage over HTTP: groups, times as people write them, and sums to the nano-dollar."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.ledger import tags_text
from tests.admin.house import NOW_S, House, error_of
from tests.stores.sql.rows import closing, opening, write

NOW_US = int(NOW_S * 1e6)
DAY_US = 86_400_000_000
HUGE = 9_007_199_254_740_993
"""One more than 2^53: no float has it."""


@pytest.fixture
async def booked(house: House) -> House:
    """Four exchanges: two tenants, two models, yesterday and today, and one two months ago."""
    for tenant, model, at_us, cost, tags in (
        ("acme", "gpt", NOW_US - DAY_US, 10, {"team": "red"}),
        ("acme", "opus", NOW_US, HUGE, {}),
        ("other", "gpt", NOW_US - 1, 500_000_000, {"team": "blue"}),
        ("acme", "gpt", NOW_US - 60 * DAY_US, 7, {}),
    ):
        row = opening(tenant_id=tenant, model_asked=model, opened_at_us=at_us, tags=tags_text(tags))
        await write(house.database, closing(row, cost_nanousd=cost))
    house.now_s += 1
    return house


async def lines(house: House, query: str) -> list[tuple[dict[str, Any], int]]:
    """Groups and their cost."""
    answer = await house.get(f"/admin/usage?{query}")
    assert answer.status == 200, answer.body
    return [(line["by"], line["cost_nanousd"]) for line in answer.json()["lines"]]


async def test_groups_are_named_and_add_up(booked: House) -> None:
    """The dearest first; the last thirty days where no time is named."""
    assert await lines(booked, "") == [({}, HUGE + 500_000_010)]
    assert await lines(booked, "by=tenant") == [({"tenant": "acme"}, HUGE + 10), ({"tenant": "other"}, 500_000_000)]
    assert await lines(booked, "by=day,tag:team&tenant=acme") == [
        ({"day": "2026-09-21", "tag:team": None}, HUGE),
        ({"day": "2026-09-20", "tag:team": "red"}, 10),
    ]
    assert await lines(booked, "by=model,provider&tenant=other&key=web") == [
        ({"model": "gpt", "provider": "far"}, 500_000_000)
    ]
    assert await lines(booked, "key=nobody") == []


async def test_money_is_exact_as_a_number_and_as_a_text(booked: House) -> None:
    """Beyond what a float holds; tokens by kind beside it."""
    answer = await booked.get("/admin/usage?by=model&tenant=acme")
    first, second = answer.json()["lines"]
    assert f'"cost_nanousd":{HUGE},"cost_usd":"9007199.254740993"'.encode() in answer.body
    assert (second["cost_usd"], second["exchanges"]) == ("0.00000001", 1)
    kinds = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning")
    assert [first[f"{kind}_tokens"] for kind in kinds] == [10, 20, 30, 40, 50, 6]


async def test_a_time_is_from_one_moment_to_before_another(booked: House) -> None:
    """Dates are their first instants in UTC; the answer says which time it was."""
    assert await lines(booked, "from=2026-07-01&to=2026-09-21") == [({}, 17)]
    at = datetime.fromtimestamp(NOW_US / 1e6, UTC).isoformat().replace("+", "%2B")
    assert await lines(booked, f"from={at}") == [({}, HUGE)]
    assert await lines(booked, "from=2026-09-21T16:13:20.25%2B02:00") == [({}, HUGE)]
    assert await lines(booked, "from=2026-09-21T16:13:20.250001%2B02:00") == []
    told = (await booked.get("/admin/usage?to=2026-09-21")).json()
    assert (told["from"], told["to"]) == ("2026-08-22T00:00:00.000000Z", "2026-09-21T00:00:00.000000Z")
    told = (await booked.get("/admin/usage")).json()
    assert told["to"] == "2026-09-21T14:13:21.250000Z"


async def test_what_is_cut_off_says_so(booked: House) -> None:
    """The dearest stay."""
    some = (await booked.get("/admin/usage?by=tenant&limit=1")).json()
    whole = (await booked.get("/admin/usage?by=tenant&limit=2")).json()
    assert (len(some["lines"]), some["has_more"]) == (1, True)
    assert (len(whole["lines"]), whole["has_more"]) == (2, False)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=week", "by"),
        ("by=tenant,tag:", "by"),
        ("by=tenant,tenant", "by"),
        ("by=tag:a,tag:b,tag:c,tag:d,tag:e,tag:f,tag:g", "by"),
        ("by=day&by=model", "by"),
        ("from=yesterday", "from"),
        ("to=1e9", "to"),
        ("from=2026-01-01T00:00:00+02:00", "from"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2026-02-01&to=2026-02-01", "from"),
        ("from=0001-01-01", "from"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
        ("form=2026-01-01", "form"),
        ("tenant=" + "x" * 201, "tenant"),
    ],
)
async def test_what_cannot_be_asked_is_refused(house: House, query: str, param: str) -> None:
    """By the parameter, in a sentence."""
    answer = await house.get(f"/admin/usage?{query}")
    assert (answer.status, error_of(answer)["param"]) == (400, param)
    assert error_of(answer)["message"].endswith((".", "?"))
