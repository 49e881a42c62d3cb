"""The first step, by what it makes of an empty database."""

import re

import pytest
from sqlalchemy import Connection, inspect, text

from gateway.stores.sql.database import Database
from gateway.stores.sql.migrations.versions import r0001_first_tables as step


def test_is_the_first() -> None:
    """Nothing comes before it."""
    assert (step.revision, step.down_revision) == ("r0001", None)


async def test_only_open_rows_are_in_their_index(database: Database) -> None:
    """Alembic's comparison does not look at that."""

    def conditions(connection: Connection) -> dict[str | None, str]:
        name = f"{connection.dialect.name}_where"
        return {
            index["name"]: str(index["dialect_options"][name])
            for index in inspect(connection).get_indexes("exchanges")
            if index.get("dialect_options", {}).get(name) is not None
        }

    ((index, condition),) = (await database.read(conditions)).items()
    assert index == "ix_exchanges_open"
    assert re.fullmatch(r"\(?state = 'open'(::text\))?", condition)


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
async def test_attempts_are_one_tree_and_numbers_of_the_audit_are_never_reused(database: Database) -> None:
    """Which only SQLite has words for."""
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    sql = {name: str(made) for name, made in await database.read(lambda connection: connection.execute(query).all())}
    assert "WITHOUT ROWID" in sql["attempts"]
    assert "AUTOINCREMENT" in sql["audit"]
