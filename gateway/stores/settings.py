"""Settings of what outlives a request: which databases there are, and how the ledger is kept."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from gateway.core.quantity import NotSwitch, Seconds
from gateway.core.settings import Settings
from gateway.stores.sql.address import read_address

MOST_TAGS = 16

LEAST_RETENTION_DAYS = 32
"""The longest period of a budget but ``total`` is a month; what it has spent is read from the rows themselves."""

# No example with an @: whoever prints mistakes takes what stands before it for a secret.
_WRITE_REDIS = "write redis://host:6379/0, with rediss:// for TLS, and a password as :password@ before the host"


def _check_database(url: SecretStr) -> SecretStr:
    read_address(url.get_secret_value())
    return url


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _check_redis(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"has no valid host and port: {_WRITE_REDIS}") from None
    if parts.scheme not in {"redis", "rediss"} or not host:
        raise ValueError(f"must be a whole address: {_WRITE_REDIS}")
    return url


class StoresSettings(Settings):
    """Where state lives."""

    database_url: Annotated[SecretStr, AfterValidator(_check_database)] = SecretStr("sqlite:///data/gateway.db")
    """Ledger, tenants and keys: sqlite:///path (four slashes for an absolute one) or postgresql://user@host/name."""
    redis_url: Annotated[Annotated[SecretStr, AfterValidator(_check_redis)] | None, BeforeValidator(_empty_is_none)] = (
        None
    )
    """Limits and holds that replicas share: redis://host:6379/0; null or empty: each process keeps its own."""
    on_outage: Literal["local", "deny", "allow"] = "local"
    """Without Redis: local counts in this process (its share of each limit), deny refuses, allow limits nothing."""


_TAG_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _check_tag(name: str) -> str:
    if _TAG_NAME.fullmatch(name) is None:
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes and underscores: feature, say")
    return name


TagName = Annotated[str, AfterValidator(_check_tag)]


class LedgerSettings(Settings):
    """How spending is written down."""

    tags: Annotated[tuple[TagName, ...], Field(max_length=MOST_TAGS)] = ()
    """Names that clients may tag their requests with: x-gateway-tags: feature=search; others are refused."""

    open_wait_s: Seconds = 2.0
    """How long a request may wait for its opening row; then it is refused, and so are others until writing works."""
    end_wait_s: Seconds = 2.0
    """How long the end of an answer waits for its closing row; then it goes out, and the row follows."""
    retention_days: Annotated[int | None, Field(ge=LEAST_RETENTION_DAYS, le=36_500), NotSwitch] = None
    """Days that rows are kept, at least 32 (monthly budgets are read from them); null: for ever."""
