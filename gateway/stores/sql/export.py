"""The ledger as a file: CSV or JSON lines, streamed page by page in constant memory."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal

import orjson
from sqlalchemy import Connection, select, tuple_

from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import attempts, exchanges

PAGE_ROWS: Final = 500

Place = tuple[int, str]
"""Where a page ended: the time and the id of its last row."""

_COLUMNS = tuple(str(column.name) for column in exchanges.c)
_OF_ATTEMPT = tuple(str(column.name) for column in attempts.c if column is not attempts.c.exchange_id)


async def export(
    database: Database,
    form: Literal["csv", "jsonl"],
    from_us: int,
    to_us: int,
    tenant_id: str | None = None,
    page_rows: int = PAGE_ROWS,
) -> AsyncGenerator[bytes, None]:
    """Yield the exchanges that were opened in a time, in the order of opening, as the rows have them.

    Each page is a short transaction of its own, however slowly the reader takes it; rows that end meanwhile appear as
    they are when their page is read.

    Args:
        form: ``csv`` (RFC 4180, with a header line; no attempts) or ``jsonl`` (an object a line, its attempts in it).
        from_us, to_us: opened from the one, before the other.
        tenant_id: only its rows.

    Raises:
        DatabaseDown: in the middle, too; what was yielded is then not all.
    """
    if form == "csv":
        yield _csv([_COLUMNS])
    place: Place = (from_us, "")
    while True:
        page = await database.read(partial(_page, place, to_us, tenant_id, page_rows, form == "jsonl"))
        if page and form == "csv":
            yield _csv(_cells(row) for row in page)
        elif page:
            yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in page)
        if len(page) < page_rows:
            return
        place = (page[-1]["opened_at_us"], page[-1]["exchange_id"])


def _page(
    place: Place, to_us: int, tenant_id: str | None, page_rows: int, with_attempts: bool, connection: Connection
) -> list[dict[str, Any]]:
    key = (exchanges.c.opened_at_us, exchanges.c.exchange_id)
    query = select(exchanges).where(tuple_(*key) > place, exchanges.c.opened_at_us < to_us).order_by(*key)
    if tenant_id is not None:
        query = query.where(exchanges.c.tenant_id == tenant_id)
    page = [dict(zip(_COLUMNS, row, strict=True)) for row in connection.execute(query.limit(page_rows))]
    if with_attempts and page:
        of_exchange: dict[str, list[dict[str, Any]]] = {row["exchange_id"]: [] for row in page}
        theirs = select(attempts).where(attempts.c.exchange_id.in_(of_exchange)).order_by(*attempts.primary_key)
        for attempt in connection.execute(theirs).mappings():
            of_exchange[attempt["exchange_id"]].append({name: attempt[name] for name in _OF_ATTEMPT})
        for row in page:
            row["attempts"] = of_exchange[row["exchange_id"]]
    return page


def _cells(row: Mapping[str, Any]) -> list[object]:
    return [orjson.dumps(row[name]).decode() if name == "tags" else row[name] for name in _COLUMNS]


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
