"""Usage in groups: sums that add up, days of UTC, tags by name, and words that are no group."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from gateway.core.ledger import tags_text
from gateway.stores.sql.database import Database
from gateway.stores.sql.usage import usage
from tests.stores.sql.rows import closing, opening, write

FIRST_US = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000
DAY_US = 86_400_000_000
ALL: dict[str, Any] = {"from_us": 0, "to_us": 2**62}


@pytest.fixture
async def booked(database: Database) -> Database:
    """Five exchanges of two tenants, three models and two days, and one that runs."""
    rows = [
        ("acme", "web", "gpt", 0, {"team": "red"}, 10, "far"),
        ("acme", "web", "gpt", DAY_US - 1, {"team": "blue", "env": "prod"}, 200, "far"),
        ("acme", "cli", "opus", DAY_US, {"team": "red"}, 3_000, "near"),
        ("other", "web", "gpt", DAY_US, {}, 40_000, None),
        ("other", "web", "tiny", DAY_US, {"team": 'it\'s "quoted"'}, 500_000, "far"),
    ]
    for tenant_id, key_id, model, at_us, tags, cost, provider in rows:
        row = opening(
            tenant_id=tenant_id,
            key_id=key_id,
            model_asked=model,
            opened_at_us=FIRST_US + at_us,
            tags=tags_text(tags),
        )
        await write(database, closing(row, cost_nanousd=cost, provider=provider))
    await write(database, opening(opened_at_us=FIRST_US))
    return database


GROUPS: list[tuple[list[str], list[tuple[tuple[str | None, ...], int, int]]]] = [
    ([], [((), 5, 543_210)]),
    (["tenant"], [(("other",), 2, 540_000), (("acme",), 3, 3_210)]),
    (["tenant", "key"], [(("other", "web"), 2, 540_000), (("acme", "cli"), 1, 3_000), (("acme", "web"), 2, 210)]),
    (["model"], [(("tiny",), 1, 500_000), (("gpt",), 3, 40_210), (("opus",), 1, 3_000)]),
    (["provider"], [(("far",), 3, 500_210), ((None,), 1, 40_000), (("near",), 1, 3_000)]),
    (["day"], [(("2026-03-02",), 3, 543_000), (("2026-03-01",), 2, 210)]),
    (
        ["tag:team"],
        [(('it\'s "quoted"',), 1, 500_000), ((None,), 1, 40_000), (("red",), 2, 3_010), (("blue",), 1, 200)],
    ),
    (["tag:env"], [((None,), 4, 543_010), (("prod",), 1, 200)]),
    (
        ["day", "tag:team", "tenant"],
        [
            (("2026-03-02", 'it\'s "quoted"', "other"), 1, 500_000),
            (("2026-03-02", None, "other"), 1, 40_000),
            (("2026-03-02", "red", "acme"), 1, 3_000),
            (("2026-03-01", "blue", "acme"), 1, 200),
            (("2026-03-01", "red", "acme"), 1, 10),
        ],
    ),
]
"""Words, and the lines that they make: what is common, how many exchanges, their cost."""


async def test_groups_add_up(booked: Database) -> None:
    """The dearest first; what runs is in none of them."""
    for by, lines in GROUPS:
        found = await usage(booked, by, **ALL)
        assert [(line.by, line.exchanges, line.cost_nanousd) for line in found] == lines, by
        for line in found:
            tokens = (
                line.input_tokens,
                line.cached_input_tokens,
                line.cache_write_tokens,
                line.cache_write_1h_tokens,
                line.output_tokens,
                line.reasoning_tokens,
            )
            assert tokens == tuple(n * line.exchanges for n in (10, 20, 30, 40, 50, 6)), by


async def test_only_what_was_asked_for_counts(booked: Database) -> None:
    """One tenant, one key, one time."""
    wishes: list[tuple[dict[str, Any], int]] = [
        ({"tenant_id": "acme"}, 3_210),
        ({"tenant_id": "acme", "key_id": "web"}, 210),
        ({"from_us": FIRST_US + DAY_US}, 543_000),
        ({"to_us": FIRST_US + DAY_US}, 210),
        ({"from_us": FIRST_US + 1, "to_us": FIRST_US + DAY_US, "tenant_id": "acme"}, 200),
    ]
    for narrowed, cost_nanousd in wishes:
        (line,) = await usage(booked, [], **{**ALL, **narrowed})
        assert line.cost_nanousd == cost_nanousd, narrowed


async def test_nothing_is_no_line(booked: Database) -> None:
    """Not a line of zeros."""
    assert await usage(booked, [], 0, 1) == []
    assert await usage(booked, ["tenant"], **ALL, tenant_id="nobody") == []


async def test_lines_are_bounded(booked: Database) -> None:
    """The dearest stay."""
    found = await usage(booked, ["model"], **ALL, limit=2)
    assert [line.by for line in found] == [("tiny",), ("gpt",)]


@pytest.mark.parametrize(
    "word", ["", "week", "tenant_id", "tag:", "tag:a b", "tag:\"] || '", "tag:" + "x" * 65, "tags", "TAG:team", "Day"]
)
async def test_other_words_are_refused(word: str) -> None:
    """With those that there are; none of them comes near the database, of which there is none here."""
    database = cast(Database, None)
    with pytest.raises(ValueError, match="write tenant, key, model, provider, day or tag:NAME"):
        await usage(database, ["tenant", word], **ALL)
