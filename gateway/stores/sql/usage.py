"""Usage and cost of settled exchanges, by tenant, key, model, provider, day or tag."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import SETTLED, exchanges

DAY_US: Final = 86_400_000_000
MAX_LINES: Final = 10_000
TAG: Final = "tag:"

_TAG_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_COLUMNS: Final = {
    "tenant": exchanges.c.tenant_id,
    "key": exchanges.c.key_id,
    "model": exchanges.c.model_asked,
    "provider": exchanges.c.provider,
    "day": exchanges.c.opened_at_us // DAY_US,
}

_SUMS = (
    exchanges.c.input_tokens,
    exchanges.c.cached_input_tokens,
    exchanges.c.cache_write_tokens,
    exchanges.c.cache_write_1h_tokens,
    exchanges.c.output_tokens,
    exchanges.c.reasoning_tokens,
    exchanges.c.cost_nanousd,
)


@dataclass(frozen=True, slots=True)
class UsageLine:
    """The sums of one group.

    Attributes:
        by: what its exchanges have in common, in the order that was asked for; a day is an ISO date, None is no tag or
            no provider.
        input_tokens: those that no cache served; the kinds are disjoint, but reasoning is part of the output.
    """

    by: tuple[str | None, ...]
    exchanges: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nanousd: int


async def usage(
    database: Database,
    by: Sequence[str],
    from_us: int,
    to_us: int,
    tenant_id: str | None = None,
    key_id: str | None = None,
    limit: int = MAX_LINES,
) -> list[UsageLine]:
    """Sum settled exchanges in groups, the dearest first.

    Args:
        by: any of ``tenant``, ``key`` (within its tenant: ask for both), ``model`` (as asked for), ``provider``,
            ``day`` (of UTC), ``tag:NAME``; empty: one line for everything.
        from_us, to_us: opened from the one, before the other.
        tenant_id, key_id: only theirs.
        limit: most lines.

    Raises:
        ValueError: a word in ``by`` that is none of these, with a sentence for who wrote it.
        DatabaseDown: nobody knows now.
    """
    groups = [_group(word).label(f"by_{i}") for i, word in enumerate(by)]
    query = (
        select(*groups, func.count(), *(func.sum(column) for column in _SUMS))
        .where(exchanges.c.state == SETTLED, exchanges.c.opened_at_us >= from_us, exchanges.c.opened_at_us < to_us)
        # By their names: PostgreSQL does not see that two expressions with parameters are the same.
        .group_by(*(group.name for group in groups))
        .order_by(func.sum(exchanges.c.cost_nanousd).desc(), *(group.name for group in groups))
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(exchanges.c.tenant_id == tenant_id)
    if key_id is not None:
        query = query.where(exchanges.c.key_id == key_id)

    def work(connection: Connection) -> list[UsageLine]:
        # Without groups there is a row even where nothing is in it.
        return [_line(by, tuple(row)) for row in connection.execute(query) if row[len(by)]]

    return await database.read(work)


def _group(word: str) -> ColumnElement[Any]:
    if word in _COLUMNS:
        return _COLUMNS[word]
    name = word.removeprefix(TAG)
    if word.startswith(TAG) and _TAG_NAME.fullmatch(name):
        tag: ColumnElement[Any] = exchanges.c.tags[name].as_string()
        return tag
    raise ValueError(f"usage cannot be grouped by {word[:100]!r}: write {', '.join(_COLUMNS)} or {TAG}NAME")


def _line(by: Sequence[str], row: tuple[Any, ...]) -> UsageLine:
    values = [
        datetime.fromtimestamp(value * DAY_US // 1_000_000, UTC).date().isoformat() if word == "day" else value
        for word, value in zip(by, row, strict=False)
    ]
    return UsageLine(tuple(values), *map(int, row[len(by) :]))
