"""The ledger's statements: their values in the order of their columns, and rows made plain for any database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect

from gateway.core.outcome import Outcome
from gateway.core.tokens import Source
from gateway.stores.sql.statements import (
    MAX_PLAIN_CHARS,
    attempt_values,
    closing_values,
    ledger_sql,
    opening_values,
    plain_values,
    progress_values,
)
from tests.stores.sql.rows import closing, opening

SQLITE = ledger_sql(sqlite_dialect(paramstyle="qmark"))
POSTGRES = ledger_sql(PGDialect_asyncpg())  # type: ignore[no-untyped-call]
ROW = closing(opening())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("opening", opening_values(ROW.opening)),
        ("progress", progress_values("id", 5)),
        ("closing", closing_values(ROW)),
        ("attempt", attempt_values(ROW.attempts[0])),
    ],
)
def test_there_is_a_value_for_each_place(kind: str, values: tuple[object, ...]) -> None:
    """In either database's syntax."""
    assert getattr(SQLITE, kind).count("?") == len(values)
    assert f"${len(values)}::" in getattr(POSTGRES, kind)
    assert f"${len(values) + 1}" not in getattr(POSTGRES, kind)


def test_values_are_what_drivers_know_best() -> None:
    """Plain texts, not members of an enumeration: sqlite3 searches long for an adapter of those."""
    for values in (closing_values(ROW), *map(attempt_values, ROW.attempts)):
        assert {type(value) for value in values} <= {str, int, float, bool, type(None)}
    assert Outcome.SUCCESS.value in closing_values(ROW)
    assert Source.REPORTED.value in closing_values(ROW)


def test_open_rows_are_told_by_a_literal() -> None:
    """A parameter would keep the partial index from being used."""
    for sql in (SQLITE, POSTGRES):
        assert "state = 'open'" in sql.closing
        assert "state = 'open'" in sql.progress


def test_a_syntax_with_another_order_is_refused() -> None:
    """At the start, not with figures in the wrong columns."""
    with pytest.raises(AssertionError, match="sqlite wants"):
        ledger_sql(sqlite_dialect(paramstyle="named"))


@given(st.tuples(st.text(st.characters()), st.integers(), st.floats(), st.booleans(), st.none()))
def test_plain_values_fit_everywhere(values: tuple[object, ...]) -> None:
    """Printable ASCII, 64 bits; what is neither text nor number stays."""
    text, number, *rest = plain_values(values)
    assert isinstance(text, str)
    assert text.isascii()
    assert text == "" or text.isprintable()
    assert len(text) <= MAX_PLAIN_CHARS
    assert isinstance(number, int)
    assert -(2**63) <= number < 2**63
    assert list(map(repr, rest)) == list(map(repr, values[2:]))


def test_plain_values_keep_what_was_plain() -> None:
    """A document that is not wholly so is dropped: half of one is none."""
    kept = ("a'b\"; --", '{"k":"v"}', 7, True, -(2**63))
    assert plain_values(kept) == kept
    assert plain_values(("é\0", '{"k":"é"}', "{no document", "{" + " " * MAX_PLAIN_CHARS + "}", 2**70)) == (
        "??",
        "{}",
        "{}",
        "{}",
        2**63 - 1,
    )
