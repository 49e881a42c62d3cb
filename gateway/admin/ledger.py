"""The ledger as a file: every row of a time, streamed as fast as it is taken and no faster."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from gateway.admin.access import Role
from gateway.admin.figures import FIRST_US, LAST_US, Moment
from gateway.admin.operation import Call, Nothing, Operation
from gateway.admin.refusals import AdminError
from gateway.core.settings import Settings
from gateway.stores.sql.database import Database
from gateway.stores.sql.export import export
from gateway.stores.sql.group import DatabaseDown

log = logging.getLogger("gateway")

KINDS: Final = {"csv": "text/csv; charset=utf-8; header=present", "jsonl": "application/jsonl"}
"""RFC 4180, section 3; JSON lines have no registered type yet (https://jsonlines.org)."""


class LedgerQuery(Settings):
    """Which rows, and how they are written."""

    format: Literal["csv", "jsonl"] = "jsonl"
    """csv: a line with the names of the columns, then one for each exchange; jsonl: an object for each exchange, with
    its attempts."""
    from_us: Moment | None = Field(default=None, alias="from")
    """Exchanges that began at this moment or later; left out: from the first one on."""
    to_us: Moment | None = Field(default=None, alias="to")
    """Exchanges that began before this moment; left out: to the last one."""
    tenant: Annotated[str, Field(max_length=200)] | None = None
    """Only those of this tenant."""


class LedgerFile:
    """Exports the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "export_ledger",
                "GET",
                "/admin/ledger",
                "Every exchange of a time, as a file",
                Role.VIEWER,
                self.get,
                LedgerQuery,
                Nothing,
                tuple(kind.partition(";")[0] for kind in KINDS.values()),
            ),
        )

    async def get(self, call: Call[LedgerQuery, Nothing]) -> web.StreamResponse:
        """Stream the rows, page by page; a client that leaves ends it.

        Raises:
            AdminError: ``invalid_request``: the time ends before it begins.
            DatabaseDown: at the first page; later the connection is broken, so that nobody takes a part for all.
        """
        query = call.query
        from_us = query.from_us if query.from_us is not None else FIRST_US
        to_us = query.to_us if query.to_us is not None else LAST_US
        if from_us >= to_us:
            raise AdminError("invalid_request", "from must be before to.", param="from")
        headers = {
            **call.headers,
            "Content-Type": KINDS[query.format],
            "Content-Disposition": f'attachment; filename="ledger.{query.format}"',
        }
        response = web.StreamResponse(headers=headers)
        if call.request.method == "HEAD":
            return response
        rows = export(self._database, query.format, from_us, to_us, query.tenant)
        async with aclosing(rows):
            # The names of the columns are there even where the database is not.
            first = [piece async for piece in _some(rows, 2 if query.format == "csv" else 1)]
            try:
                await response.prepare(call.request)
                for piece in first:
                    await response.write(piece)
                async for piece in rows:
                    await response.write(piece)
            except ConnectionError:
                raise
            except Exception as trouble:
                # A part has gone, and no other answer can follow it.
                why = trouble if isinstance(trouble, DatabaseDown) else type(trouble).__name__
                log.warning("admin: an export broke off: %s (%s)", why, call.headers["x-request-id"])
                if call.request.transport is not None:
                    call.request.transport.abort()
        return response


async def _some(pieces: AsyncGenerator[bytes, None], count: int) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece
