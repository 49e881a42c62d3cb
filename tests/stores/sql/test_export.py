"""The ledger as a file: every row once, as it is, page by page."""

import csv
import io
import json
from typing import Any, Literal

import pytest

from gateway.stores.sql.database import Database
from gateway.stores.sql.export import export
from gateway.stores.sql.schema import exchanges
from tests.stores.sql.rows import NOW_US, as_found, closing, opening, write

ALL: dict[str, Any] = {"from_us": 0, "to_us": 2**62}
NAMES = [column.name for column in exchanges.c]


async def exported(database: Database, form: Literal["csv", "jsonl"], **wish: Any) -> list[bytes]:
    """The pieces of a file."""
    return [piece async for piece in export(database, form, **{**ALL, **wish})]


def lines(pieces: list[bytes]) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


def table(pieces: list[bytes]) -> list[list[str]]:
    """The cells of a CSV file."""
    return list(csv.reader(io.StringIO(b"".join(pieces).decode(), newline="")))


async def test_json_lines_have_the_rows_and_their_attempts(database: Database) -> None:
    """Tags as an object; what runs is there as well, without an end."""
    whole, runs = closing(opening(tags='{"team":"red"}')), opening()
    await write(database, whole, runs)
    first, second = lines(await exported(database, "jsonl"))
    attempts = first.pop("attempts")
    assert first == as_found(whole)
    assert second == as_found(runs) | {"attempts": []}
    assert [(one["number"], one["provider"], one["cost_nanousd"]) for one in attempts] == [
        (1, "near", 0),
        (2, "far", whole.cost_nanousd),
    ]


async def test_csv_has_a_header_and_the_rows(database: Database) -> None:
    """Nothing is lost between commas, quotes and line breaks."""
    nasty = 'a,"b"\r\nc; =1+1'
    whole, runs = closing(opening(key_id=nasty, tags='{"team":"red"}'), provider=nasty), opening()
    await write(database, whole, runs)
    header, *rows = table(await exported(database, "csv"))
    assert header == NAMES
    for row, expected in zip(rows, (as_found(whole), as_found(runs)), strict=True):
        found = dict(zip(NAMES, row, strict=True))
        assert json.loads(found.pop("tags")) == expected.pop("tags")
        assert found == {name: "" if value is None else str(value) for name, value in expected.items()}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_pages_join_without_a_seam(database: Database, form: Literal["csv", "jsonl"]) -> None:
    """However many rows there are, and also between rows of the same microsecond."""
    for count in (0, 1, 9, 10, 11, 35):
        rows = [opening(tenant_id=str(count), opened_at_us=NOW_US + n // 15) for n in range(count)]
        await write(database, *rows)
        pieces = await exported(database, form, page_rows=10, tenant_id=str(count))
        if form == "csv":
            ids = [row[0] for row in table(pieces)[1:]]
            pieces = pieces[1:]
        else:
            ids = [row["exchange_id"] for row in lines(pieces)]
        assert ids == [row.exchange_id for row in sorted(rows, key=lambda row: (row.opened_at_us, row.exchange_id))]
        assert len(pieces) == -(-count // 10)


async def test_only_what_was_asked_for_is_exported(database: Database) -> None:
    """One tenant, one time."""
    rows = [opening(tenant_id=tenant, opened_at_us=NOW_US + at) for at in range(4) for tenant in ("acme", "other")]
    await write(database, *rows)
    found = lines(await exported(database, "jsonl", from_us=NOW_US + 1, to_us=NOW_US + 3, tenant_id="acme"))
    assert [row["exchange_id"] for row in found] == [rows[2].exchange_id, rows[4].exchange_id]


async def test_rows_that_come_meanwhile_break_nothing(database: Database) -> None:
    """Those opened in the time that was asked for come along; the end stays where it is."""
    await write(database, *(opening(opened_at_us=NOW_US + n) for n in range(4)))
    pieces = export(database, "jsonl", 0, NOW_US + 100, page_rows=2)
    found = lines([await anext(pieces)])
    later = opening(opened_at_us=NOW_US + 50)
    await write(database, later, opening(opened_at_us=NOW_US + 100))
    found += lines([piece async for piece in pieces])
    assert len({row["exchange_id"] for row in found}) == len(found) == 5
    assert found[-1]["exchange_id"] == later.exchange_id


async def test_who_stops_reading_leaves_nothing_open(database: Database) -> None:
    """Between pages it holds neither a transaction nor a connection."""
    await write(database, *(opening() for _ in range(4)))
    pieces = export(database, "jsonl", page_rows=2, **ALL)
    await anext(pieces)
    await write(database, closing(opening()))
    await pieces.aclose()
