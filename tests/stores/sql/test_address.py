"""Where the database is: what an address may look like, and that its password is never shown."""

from pathlib import Path

import pytest

from gateway.stores.sql.address import PostgresAddress, SqliteAddress, read_address


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/gateway.db", "data/gateway.db"),
        ("sqlite:////var/lib/gateway.db", "/var/lib/gateway.db"),
        ("sqlite:///with%20space.db", "with space.db"),
        ("sqlite:///50%25.db", "50%.db"),
    ],
)
def test_a_file_has_three_slashes_before_its_path(url: str, path: str) -> None:
    """As SQLAlchemy has it: relative, or absolute with a fourth."""
    address = read_address(url)
    assert address == SqliteAddress(Path(path))
    assert str(address) == f"SQLite at {path}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@db.internal:5433/ledger", "PostgreSQL at db.internal, database ledger"),
        ("postgres://db/ledger?sslmode=require", "PostgreSQL at db, database ledger"),
        ("postgresql:///ledger?host=/run/postgresql", "PostgreSQL at a local socket, database ledger"),
        ("postgresql://me:secret@db", "PostgreSQL at db, database of the user"),
    ],
)
def test_a_server_is_shown_without_its_password(url: str, shown: str) -> None:
    """In messages and in the debugger alike; the driver gets the whole."""
    address = read_address(url)
    assert isinstance(address, PostgresAddress)
    assert address.dsn == url
    assert str(address) == shown
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "must begin with"),
        ("data/gateway.db", "must begin with"),
        ("mysql://me:secret@db/x", "must begin with"),
        ("postgresql+psycopg://me:secret@db/x", "must begin with"),
        ("sqlite://", "must be a file"),
        ("sqlite://data/gateway.db", "must be a file"),
        ("sqlite:///x.db?mode=ro", "must be a file"),
        ("sqlite:///", "would forget everything"),
        ("sqlite:///:memory:", "would forget everything"),
        ("sqlite:///data/", "must end with the name of a file"),
        ("sqlite:///a%00b", "must end with the name of a file"),
        ("postgresql://me:secret@db:port/x", "percent-encoded"),
        ("postgresql://me:secret@[db/x", "percent-encoded"),
        ("postgresql://me:sec#ret@db:99999/x", "percent-encoded"),
    ],
)
def test_what_is_no_address_is_refused(url: str, sentence: str) -> None:
    """With what to write instead, and without the password."""
    with pytest.raises(ValueError, match=sentence) as refused:
        read_address(url)
    assert "secret" not in str(refused.value)
