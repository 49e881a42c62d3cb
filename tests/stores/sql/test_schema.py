"""The tables: no secret has a column, money and time are whole numbers, and the queries that matter find an index."""

import pytest
from sqlalchemy import BigInteger, Column, text

from gateway.stores.sql.database import Database
from gateway.stores.sql.schema import metadata
from tests.stores.sql.rows import closing, opening, write

COLUMNS = [column for table in metadata.sorted_tables for column in table.c]


@pytest.mark.parametrize("column", [c for c in COLUMNS if c.name.endswith(("_nanousd", "_us", "_tokens"))], ids=str)
def test_what_is_counted_is_a_whole_number(column: Column[int]) -> None:
    """Of 64 bits: nano-dollars up to 9 billion dollars, microseconds up to the year 294,000."""
    assert isinstance(column.type, BigInteger)


def test_keys_are_kept_as_digests_only() -> None:
    """There is no place where a secret could stand."""
    assert [column.name for column in metadata.tables["keys"].c] == [
        "tenant_id",
        "key_id",
        "label",
        "settings",
        "revision",
        "created_at_us",
        "updated_at_us",
        "expires_at_us",
        "revoked_at_us",
    ]
    assert [column.name for column in metadata.tables["key_secrets"].c] == [
        "digest",
        "tenant_id",
        "key_id",
        "created_at_us",
        "ends_at_us",
    ]


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "SELECT sum(cost_nanousd) FROM exchanges WHERE tenant_id = 'a' AND opened_at_us >= 1 AND key_id = 'k'",
            "COVERING INDEX ix_exchanges_spent",
        ),
        ("SELECT exchange_id FROM exchanges WHERE state = 'open' AND instance_id = 'i'", "INDEX ix_exchanges_open"),
        ("SELECT exchange_id FROM exchanges WHERE opened_at_us < 1 AND state = 'settled'", "INDEX ix_exchanges_opened"),
        ("SELECT * FROM attempts WHERE exchange_id = 'e' ORDER BY number", "PRIMARY KEY"),
        ("SELECT * FROM tenants WHERE revision > 5", "INDEX ix_tenants_revision"),
        ("SELECT * FROM keys WHERE revision > 5", "INDEX ix_keys_revision"),
        ("SELECT * FROM key_secrets WHERE tenant_id = 't' AND key_id = 'k'", "INDEX ix_key_secrets_of_key"),
        ("SELECT * FROM key_secrets WHERE ends_at_us <= 5", "INDEX ix_key_secrets_ends"),
    ],
)
async def test_finds_rows_by_an_index(database: Database, query: str, index: str) -> None:
    """As SQLite plans it."""
    plan = await database.read(lambda connection: connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())
    assert index in str(plan)


async def test_settled_rows_leave_the_index_of_open_ones(database: Database) -> None:
    """It has what runs now, be the ledger as long as it may."""
    await write(database, *(closing(opening()) for _ in range(50)), opening())

    query = text("SELECT count(*) FROM exchanges WHERE state = 'open'")
    assert await database.read(lambda connection: connection.scalar(query)) == 1
