"""The ledger as a file over HTTP: whole, as fast as it is taken, and never a part that looks whole."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from gateway.core.ledger import tags_text
from gateway.stores.sql.export import PAGE_ROWS
from gateway.stores.sql.group import DatabaseDown
from tests.admin.house import ADMIN_KEY, House, error_of
from tests.raw_client import RawClient, request_wire
from tests.raw_connection import EndedEarly
from tests.stores.sql.rows import NOW_US, closing, opening, write

PADDING = "x" * 24_000
"""Makes a page larger than all buffers between two sockets of one machine."""
BUFFERED_BYTES = 9_000_000
"""What those may hold at most: Linux's largest send and receive buffers, 4 and 6 MB, as they come."""


def wanted(query: str) -> bytes:
    """A request for the file."""
    return request_wire("GET", f"/admin/ledger?{query}", ("Host", "g"), ("Authorization", f"Bearer {ADMIN_KEY}"))


@pytest.mark.parametrize(
    ("form", "kind"), [("csv", "text/csv; charset=utf-8; header=present"), ("jsonl", "application/jsonl")]
)
async def test_the_file_has_every_row_of_the_time(house: House, form: str, kind: str) -> None:
    """Of one tenant or of all; named as a file, in chunks."""
    rows = [opening(tenant_id=tenant, opened_at_us=NOW_US + n) for n, tenant in enumerate(("acme", "other", "acme"))]
    await write(house.database, *map(closing, rows))
    answer = await house.get(f"/admin/ledger?format={form}&tenant=acme&from=2023-01-01&to=2024-01-01")
    assert (answer.status, answer.head.get("content-type")) == (200, kind)
    assert answer.head.get("content-disposition") == f'attachment; filename="ledger.{form}"'
    assert answer.chunks is not None
    text = answer.body.decode()
    found = list(csv.DictReader(io.StringIO(text))) if form == "csv" else [*map(json.loads, text.splitlines())]
    assert [row["exchange_id"] for row in found] == [rows[0].exchange_id, rows[2].exchange_id]
    assert [int(row["cost_nanousd"]) for row in found] == [12_345, 12_345]


@pytest.mark.parametrize(("form", "lines"), [("csv", 1), ("jsonl", 0)])
async def test_a_ledger_without_rows_is_a_file_all_the_same(house: House, form: str, lines: int) -> None:
    """CSV has its header."""
    answer = await house.get(f"/admin/ledger?format={form}")
    assert (answer.status, len(answer.body.splitlines())) == (200, lines)


@pytest.mark.parametrize(
    ("query", "param"),
    [("format=xml", "format"), ("from=2026-01-02&to=2026-01-01", "from"), ("to=soon", "to"), ("limit=1", "limit")],
)
async def test_what_cannot_be_asked_is_refused(house: House, query: str, param: str) -> None:
    """Before anything is sent."""
    answer = await house.get(f"/admin/ledger?{query}")
    assert (answer.status, error_of(answer)["param"]) == (400, param)


async def test_pages_are_read_as_they_are_taken(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads slowly holds up the reading of rows, not the memory: one page and what the sockets hold."""
    count = 2 * PAGE_ROWS + 1
    tags = tags_text({"padding": PADDING})
    await write(house.database, *(closing(opening(tags=tags)) for _ in range(count)))
    taken_bytes: list[int] = []
    await house.directory.aclose()
    async with await RawClient.connect(house.url) as client:
        read = type(house.database).read

        async def noted(database: Any, work: Callable[[Any], Any]) -> Any:
            taken_bytes.append(sum(client.read_sizes))
            return await read(database, work)

        monkeypatch.setattr(type(house.database), "read", noted)
        await client.send(wanted("format=jsonl"))
        head = await client.answer_head()
        assert (head.status, len(taken_bytes)) == (200, 1)
        body = b"".join(chunk.payload for chunk in await client.chunks())
    page_bytes = len(body) * PAGE_ROWS // count
    assert page_bytes > BUFFERED_BYTES
    assert len(taken_bytes) == 3
    for page, bytes_ in enumerate(taken_bytes):
        assert bytes_ >= page * page_bytes - BUFFERED_BYTES
    assert len({json.loads(line)["exchange_id"] for line in body.splitlines()}) == count


def pieces_of(monkeypatch: pytest.MonkeyPatch, *pieces: bytes, then: Exception | None = None) -> asyncio.Event:
    """Puts these in the place of the rows, over and over unless they end; returns what is set when nobody reads on."""
    ended = asyncio.Event()

    async def export(*_: object) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                for piece in pieces:
                    yield piece
                if then is not None:
                    raise then
        finally:
            ended.set()

    monkeypatch.setattr("gateway.admin.ledger.export", export)
    return ended


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_a_client_that_leaves_ends_the_export(house: House, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Nothing is read from the database any more."""
    ended = pieces_of(monkeypatch, b"x" * 100_000)
    async with await RawClient.connect(house.url) as client:
        await client.send(wanted(f"format={form}"))
        assert (await client.answer_head()).status == 200
        await client.chunk()
        await client.reset()
        async with asyncio.timeout(10):
            await ended.wait()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("trouble", "said"), [(DatabaseDown("gone"), "gone"), (ValueError("of a row"), "ValueError")], ids=["down", "bug"]
)
async def test_what_goes_wrong_in_the_middle_breaks_the_file(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    form: str,
    trouble: Exception,
    said: str,
) -> None:
    """No last chunk, so no client takes the part for the whole."""
    ended = pieces_of(monkeypatch, b"a\r\n", b"b\r\n", then=trouble)
    async with await RawClient.connect(house.url) as client:
        await client.send(wanted(f"format={form}"))
        assert (await client.answer_head()).status == 200
        with pytest.raises((EndedEarly, ConnectionResetError)):
            await client.chunks()
    assert ended.is_set()
    assert f"an export broke off: {said} (req_" in caplog.text
    assert "of a row" not in caplog.text


@pytest.mark.parametrize(("form", "before"), [("csv", [b"head\r\n"]), ("jsonl", [])])
async def test_a_database_that_is_away_is_told_before_anything_is_sent(
    house: House, monkeypatch: pytest.MonkeyPatch, form: str, before: list[bytes]
) -> None:
    """503, also where the header line could be written."""
    pieces_of(monkeypatch, *before, then=DatabaseDown("gone"))
    answer = await house.get(f"/admin/ledger?format={form}")
    assert (answer.status, error_of(answer)["code"]) == (503, "database_down")
