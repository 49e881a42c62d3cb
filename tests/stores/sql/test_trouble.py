"""Errors of drivers: which are the caller's own, and what is said of the others."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from gateway.stores.sql.address import PostgresAddress, SqliteAddress
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.trouble import translated

FILE = SqliteAddress(Path("gateway.db"))
SERVER = PostgresAddress("postgresql://me:secret@db/ledger")


class ServerError(Exception):
    """What a server says, with the code of its reason."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("DETAIL: Key (request_id)=(secret)")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", {}, ServerError("23505")),
        DataError("INSERT", {}, ServerError(None)),
        ProgrammingError("SELEC", {}, ServerError("42601")),
        DBAPIError("INSERT", {}, ServerError("22021")),
        DBAPIError("INSERT", {}, ServerError("23514")),
    ],
    ids=lambda error: f"{type(error).__name__} {error.orig.sqlstate}",
)
def test_a_mistake_is_the_callers_own(error: DBAPIError) -> None:
    """The database works; trying again helps nobody."""
    assert translated(error, SERVER) is error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT", {}, ServerError("57P01")),
        InterfaceError("SELECT", {}, ServerError(None)),
        DBAPIError("SELECT", {}, ServerError("40P01")),
        ServerError("08006"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_server_that_fails_is_down(error: Exception) -> None:
    """Where it is is said, and what it is called; not what it says, nor the password."""
    down = translated(error, SERVER)
    assert isinstance(down, DatabaseDown)
    assert str(down) == "PostgreSQL at db, database ledger does not answer (ServerError)"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error")),
            "Error: disk I/O error",
        ),
        (sqlite3.DatabaseError("file is not a database"), "DatabaseError: file is not a database"),
        (PermissionError(13, "Permission denied", "gateway.db"), "Permission denied: 'gateway.db'"),
    ],
    ids=["through SQLAlchemy", "of the driver", "of the system"],
)
def test_a_file_that_fails_says_why(error: Exception, said: str) -> None:
    """SQLite and the system quote no values."""
    down = translated(error, FILE)
    assert isinstance(down, DatabaseDown)
    assert str(down).startswith("SQLite at gateway.db does not answer (")
    assert said in str(down)
