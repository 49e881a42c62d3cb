"""The four statements of the ledger, made from the tables: the writers run them as text, straight on their drivers.

Through SQLAlchemy's own execution a row costs several times what the database itself takes for it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from sqlalchemy import Dialect, Table, bindparam, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.sql.dml import UpdateBase

from gateway.core.ledger import NO_TAGS, AttemptRow, Closing, Opening
from gateway.stores.sql.group import Values
from gateway.stores.sql.schema import OPEN, SETTLED, attempts, exchanges

MAX_PLAIN_CHARS: Final = 1000
_INT64: Final = (1 << 63) - 1

_CLOSING: Final[Mapping[str, str]] = {
    "model_served": "model_served",
    "provider": "provider",
    "input_tokens": "usage.input",
    "cached_input_tokens": "usage.cached_input",
    "cache_write_tokens": "usage.cache_write",
    "cache_write_1h_tokens": "usage.cache_write_1h",
    "output_tokens": "usage.output",
    "reasoning_tokens": "usage.reasoning",
    "cost_nanousd": "cost_nanousd",
    "source": "usage.source.value",
    "outcome": "outcome.value",
    "status": "status",
    "ended_at_us": "ended_at_us",
    "ttft_ms": "ttft_ms",
}
"""Column of ``exchanges`` -> where it stands in a :class:`Closing`; the others are those of its opening."""


@dataclass(frozen=True, slots=True)
class LedgerSql:
    """The statements in one database's syntax. The writers give them the values that the functions below make."""

    opening: str
    progress: str
    closing: str
    attempt: str


def ledger_sql(dialect: Dialect) -> LedgerSql:
    """Write the statements for a database.

    An opening that is there already stays as it is; a closing makes the row whole, from whatever there is of it, and
    leaves a settled one alone; so does progress.
    """
    closing = _insert(exchanges, _CLOSING_COLUMNS, state=SETTLED)
    closing = closing.on_conflict_do_update(
        index_elements=[exchanges.c.exchange_id],
        set_={"state": SETTLED} | {name: closing.excluded[name] for name in _CLOSING},
        where=exchanges.c.state == OPEN,
    )
    progress = (
        update(exchanges)
        .where(exchanges.c.exchange_id == bindparam("id"), exchanges.c.state == OPEN)
        .values(output_so_far_tokens=bindparam("tokens"))
    )
    return LedgerSql(
        opening=_text(_insert(exchanges, _OPENING_COLUMNS).on_conflict_do_nothing(), _OPENING_COLUMNS, dialect),
        progress=_text(progress, ("tokens", "id"), dialect),
        closing=_text(closing, _CLOSING_COLUMNS, dialect),
        attempt=_text(_insert(attempts, _ATTEMPT_COLUMNS).on_conflict_do_nothing(), _ATTEMPT_COLUMNS, dialect),
    )


def _insert(table: Table, columns: tuple[str, ...], **constants: object) -> Insert:
    return insert(table).values({name: bindparam(name) for name in columns} | constants)


def _text(clause: UpdateBase, columns: tuple[str, ...], dialect: Dialect) -> str:
    compiled = clause.compile(dialect=dialect)
    order = tuple(getattr(compiled, "positiontup", None) or ())
    if order != columns:
        raise AssertionError(f"{dialect.name} wants {order}, the values come as {columns}")
    return str(compiled)


_OPENING_COLUMNS = tuple(c.name for c in exchanges.c if c.name in Opening.__slots__)
_CLOSING_COLUMNS = tuple(c.name for c in exchanges.c if c.name in Opening.__slots__ or c.name in _CLOSING)
_ATTEMPT_COLUMNS = tuple(c.name for c in attempts.c)

opening_values: Final[Callable[[Opening], Values]] = attrgetter(*_OPENING_COLUMNS)
"""The values of an opening, for :attr:`LedgerSql.opening`."""

closing_values: Final[Callable[[Closing], Values]] = attrgetter(
    *(_CLOSING.get(name, f"opening.{name}") for name in _CLOSING_COLUMNS)
)
"""The values of a closing, for :attr:`LedgerSql.closing`."""

attempt_values: Final[Callable[[AttemptRow], Values]] = attrgetter(
    *({"outcome": "outcome.value", "source": "source.value"}.get(name, name) for name in _ATTEMPT_COLUMNS)
)
"""The values of an attempt, for :attr:`LedgerSql.attempt`."""


def progress_values(exchange_id: str, output_so_far_tokens: int) -> Values:
    """The values of what :attr:`LedgerSql.progress` writes."""
    return output_so_far_tokens, exchange_id


def plain_values(values: Values) -> Values:
    """Return the values of a row so that any database takes them, as near to what they were as can be.

    For a row that was refused: money is worth more than the wording beside it. Texts become printable ASCII of 1,000
    characters at most, a JSON object that is not is dropped, integers fit 64 bits.
    """
    return tuple(_plain(value) for value in values)


def _plain(value: object) -> object:
    if isinstance(value, str):
        text = "".join(c if c.isascii() and c.isprintable() else "?" for c in value[:MAX_PLAIN_CHARS])
        return text if not text.startswith("{") or (text == value and _is_json(text)) else NO_TAGS
    if isinstance(value, int):
        return max(-_INT64 - 1, min(value, _INT64))
    return value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
