"""Databases for every test of the SQL store; see :mod:`tests.databases`."""

from tests.databases import address, database, postgres_server, replicas, sqlite_file
from tests.stores.sql.ledger_scene import ledger, scene

__all__ = ["address", "database", "ledger", "postgres_server", "replicas", "scene", "sqlite_file"]
