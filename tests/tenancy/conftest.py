"""Databases and replicas for tests of tenants and keys."""

from tests.databases import address, database, postgres_server, sqlite_file
from tests.tenancy.directory_scene import scene

__all__ = ["address", "database", "postgres_server", "scene", "sqlite_file"]
