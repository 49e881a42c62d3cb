"""Brings a database to the schema of this version, under a lock, in one transaction."""

import logging
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

LOCK: Final = 0x6169676174657761
"""PostgreSQL's advisory lock for migrations: "aigatewa" in ASCII. SQLite's write lock needs no name."""

SCRIPTS: Final = Path(__file__).parent / "migrations"


class SchemaTooNew(Exception):
    """The database has a schema that this version does not know."""


def revision_of(connection: Connection) -> str | None:
    """Return the revision that a database has; None before its first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def migrate(connection: Connection) -> None:
    """Apply what is missing. Others that migrate at the same time wait, and then find nothing to do.

    Args:
        connection: in a transaction; with SQLite one that has the write lock.

    Raises:
        SchemaTooNew: nothing is changed.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    revision = revision_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaTooNew(
            f"The database has schema {revision}, which this version does not know: a newer gateway has migrated it. "
            "Run that version, or restore a backup from before the migration."
        )
    command.upgrade(config, "head")
