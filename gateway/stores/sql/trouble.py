"""What a caller is told when work on a database fails: its own mistake as it is, else that the database is down."""

import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from gateway.stores.sql.address import Address
from gateway.stores.sql.group import DatabaseDown

_MISTAKES = ("22", "23")
"""Classes of SQLSTATE for bad data and broken constraints (PostgreSQL manual, appendix A)."""


def translated(error: Exception, address: Address) -> Exception:
    """Return what to raise instead of a driver's or SQLAlchemy's error: the same, or a :class:`DatabaseDown`.

    Only SQLite and the operating system are quoted: PostgreSQL's sentences hold values.
    """
    if isinstance(error, IntegrityError | DataError | ProgrammingError):
        return error
    if isinstance(error, DBAPIError) and (getattr(error.orig, "sqlstate", None) or "").startswith(_MISTAKES):
        return error
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = f": {cause}" if isinstance(cause, sqlite3.Error | OSError) else ""
    return DatabaseDown(f"{address} does not answer ({type(cause).__name__}{said})")
