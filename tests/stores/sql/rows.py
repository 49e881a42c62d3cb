"""Rows of the ledger for tests, and what a database has of them."""

import itertools
import json
import os
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from gateway.core.ledger import AttemptRow, Closing, Opening, new_exchange_id
from gateway.core.outcome import Outcome
from gateway.core.tokens import Source, Usage
from gateway.stores.sql.database import Database
from gateway.stores.sql.group import Group
from gateway.stores.sql.ledger import Ledger
from gateway.stores.sql.schema import attempts, exchanges
from gateway.stores.sql.statements import attempt_values, closing_values, opening_values

NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
PRICE = '{"input":"1","output":"2"}'
"""A thousand nano-dollars a token of input, two thousand one of output."""

_numbers = itertools.count()


def opening(**changes: Any) -> Opening:
    """An opening of its own, a microsecond after the one before."""
    opened_at_us = changes.get("opened_at_us", NOW_US + next(_numbers))
    row = Opening(
        exchange_id=new_exchange_id(opened_at_us, os.urandom(10)),
        request_id="req-1",
        tenant_id="acme",
        key_id="web",
        operation="chat",
        stream=True,
        model_asked="gpt",
        instance_id="this",
        opened_at_us=opened_at_us,
        input_estimate_tokens=100,
        hold_nanousd=900_000,
        price=PRICE,
    )
    return replace(row, **changes)


def closing(row: Opening, cost_nanousd: int = 12_345, **changes: Any) -> Closing:
    """How an exchange ended well, at its second attempt."""
    began_us = row.opened_at_us
    tried = AttemptRow(
        row.exchange_id, 1, "near", "gpt-1", Outcome.PROVIDER_ERROR, began_us, began_us + 5, 0, Source.NONE
    )
    answered = replace(
        tried, number=2, provider="far", outcome=Outcome.SUCCESS, cost_nanousd=cost_nanousd, source=Source.REPORTED
    )
    whole = Closing(
        opening=row,
        outcome=Outcome.SUCCESS,
        status=200,
        ended_at_us=row.opened_at_us + SECOND_US,
        provider="far",
        model_served="gpt-1",
        usage=Usage(10, 20, 30, 40, 50, 6, Source.REPORTED),
        cost_nanousd=cost_nanousd,
        ttft_ms=312.5,
        attempts=(tried, answered),
    )
    return replace(whole, **changes)


def accepts(ledger: Ledger) -> bool:
    """Whether openings are taken, asked anew."""
    return ledger.accepting


async def exchanges_in(database: Database) -> dict[str, dict[str, Any]]:
    """Every exchange by its id."""
    rows = await database.read(lambda connection: connection.execute(select(exchanges)).mappings().all())
    return {row["exchange_id"]: dict(row) for row in rows}


async def attempts_in(database: Database) -> list[tuple[Any, ...]]:
    """Every attempt, in order."""
    query = select(attempts).order_by(*attempts.primary_key)
    return [tuple(row) for row in await database.read(lambda connection: connection.execute(query).all())]


async def write(database: Database, *rows: Opening | Closing) -> None:
    """Write rows without a ledger."""
    writer = database.ledger_writer()
    group = Group(
        openings=[opening_values(row) for row in rows if isinstance(row, Opening)],
        closings=[closing_values(row) for row in rows if isinstance(row, Closing)],
        attempts=[attempt_values(one) for row in rows if isinstance(row, Closing) for one in row.attempts],
    )
    await writer.write(group)
    await writer.aclose()


def as_found(row: Opening | Closing) -> dict[str, Any]:
    """What the database should have of a row."""
    whole = row if isinstance(row, Closing) else Closing(row, Outcome.INTERNAL, 0, 0)
    usage, first, settled = whole.usage, whole.opening, isinstance(row, Closing)
    return {
        **{name: getattr(first, name) for name in Opening.__slots__},
        "tags": json.loads(first.tags),
        "output_so_far_tokens": 0,
        "model_served": whole.model_served,
        "provider": whole.provider,
        "input_tokens": usage.input,
        "cached_input_tokens": usage.cached_input,
        "cache_write_tokens": usage.cache_write,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
        "source": usage.source,
        "cost_nanousd": whole.cost_nanousd,
        "outcome": whole.outcome if settled else None,
        "status": whole.status,
        "ended_at_us": whole.ended_at_us if settled else None,
        "ttft_ms": whole.ttft_ms,
        "state": "settled" if settled else "open",
    }
