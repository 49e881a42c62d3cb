"""An admin API for every test of it; see :mod:`tests.admin.house`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.admin.house import House, open_house
from tests.databases import sqlite_file

__all__ = ["house", "migrated", "sqlite_file"]


@pytest.fixture
def migrated(tmp_path: Path, sqlite_file: bytes) -> Path:
    """A file of SQLite with all tables and no row."""
    path = tmp_path / "gateway.db"
    path.write_bytes(sqlite_file)
    return path


@pytest.fixture
async def house(migrated: Path) -> AsyncIterator[House]:
    """An API with an admin key and a viewer key, the tenant ``acme`` in its configuration."""
    async with open_house(migrated) as opened:
        yield opened
