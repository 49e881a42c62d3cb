"""Where the database is: a file of SQLite or a PostgreSQL server, read from one URL."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A file on this machine; WAL needs shared memory, so never on a network file system."""

    path: Path

    def __str__(self) -> str:
        return f"SQLite at {self.path}"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A server; ``dsn`` is what libpq would take, and may hold a password: it is in no repr and no message."""

    dsn: str

    def __str__(self) -> str:
        parts = urlsplit(self.dsn)
        return f"PostgreSQL at {parts.hostname or 'a local socket'}, database {parts.path.strip('/') or 'of the user'}"

    def __repr__(self) -> str:
        return f"PostgresAddress({self})"


Address = SqliteAddress | PostgresAddress


def read_address(url: str) -> Address:
    """Read ``stores.database_url``.

    SQLite's form is SQLAlchemy's (https://docs.sqlalchemy.org/en/21/core/engines.html): three slashes and a path.
    PostgreSQL's is libpq's (its manual, section 34.1.1.2), with all parameters that asyncpg understands.

    Raises:
        ValueError: a sentence that says what to write, never with the password in it.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        path = unquote(rest[1:])
        if not rest.startswith("/") or "?" in rest:
            raise ValueError("must be a file: write sqlite:///data/gateway.db, or sqlite:////var/lib/gateway.db")
        if path in {"", ":memory:"}:
            raise ValueError("would forget everything at the end: write sqlite:/// and the path of a file")
        if "\0" in path or path.endswith("/"):
            raise ValueError("must end with the name of a file: write sqlite:///data/gateway.db")
        return SqliteAddress(Path(path))
    if scheme in {"postgresql", "postgres"}:
        try:
            urlsplit(url).port  # noqa: B018 (reading it checks it)
        except ValueError:
            raise ValueError(
                "has no valid host and port: write postgresql://host:5432/name, with user:password@ before the host, "
                "and / ? # @ : in the password percent-encoded"
            ) from None
        return PostgresAddress(url)
    raise ValueError("must begin with sqlite:/// or postgresql://")
