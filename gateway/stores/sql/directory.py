"""The rows of tenants, keys and the audit: what is there, and what has changed since a look.

Plain functions of a connection, to be put together to transactions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Text, cast, func, select

from gateway.stores.sql.schema import audit, key_secrets, keys, revisions, tenants

SUBJECT: Final = "keys"
"""The revision that every change of a tenant or a key raises."""


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant; ``settings`` is JSON as it was found, which may be none."""

    tenant_id: str
    settings: str
    created_at_us: int
    updated_at_us: int
    deleted_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One secret of a key, by the SHA-256 of it in hex; ``ends_at_us`` None: it does not end by itself."""

    digest: str
    created_at_us: int
    ends_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with its secrets, the newest first; ``settings`` is JSON as it was found, which may be none."""

    tenant_id: str
    key_id: str
    label: str | None
    settings: str
    created_at_us: int
    updated_at_us: int
    expires_at_us: int | None = None
    revoked_at_us: int | None = None
    secrets: tuple[SecretRow, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One write of an operator: who did what to what; ``details`` say how it was before and after."""

    number: int
    at_us: int
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new since a look; ``whole``: what is not in it is not there at all."""

    number: int
    whole: bool
    tenants: Sequence[TenantRow]
    keys: Sequence[KeyRow]


# As text: a value that is no JSON would otherwise fail the whole query, in whatever row it stands.
_TENANT = (
    tenants.c.tenant_id,
    cast(tenants.c.settings, Text),
    tenants.c.created_at_us,
    tenants.c.updated_at_us,
    tenants.c.deleted_at_us,
)
_KEY = (
    keys.c.tenant_id,
    keys.c.key_id,
    keys.c.label,
    cast(keys.c.settings, Text),
    keys.c.created_at_us,
    keys.c.updated_at_us,
    keys.c.expires_at_us,
    keys.c.revoked_at_us,
)
_SECRET = (key_secrets.c.digest, key_secrets.c.created_at_us, key_secrets.c.ends_at_us)
_OF_KEY = (key_secrets.c.tenant_id == keys.c.tenant_id) & (key_secrets.c.key_id == keys.c.key_id)


def changes_since(connection: Connection, seen: int | None) -> Changes | None:
    """Read what has changed since a revision.

    What is read may be newer than its number says, never older: then it comes again at the next look.

    Args:
        connection: in any transaction.
        seen: the number of the last look; None: everything is new. So it is where the number has fallen, which only
            a restored backup can bring about.

    Returns:
        None where nothing has changed.
    """
    number = connection.scalar(select(revisions.c.number).where(revisions.c.subject == SUBJECT)) or 0
    if number == seen:
        return None
    whole = seen is None or number < seen
    wanted = tenants.c.deleted_at_us.is_(None) if whole else tenants.c.revision > seen
    found = [TenantRow(*row) for row in connection.execute(select(*_TENANT).where(wanted))]
    return Changes(
        number, whole, found, _keys(connection, keys.c.revoked_at_us.is_(None) if whole else keys.c.revision > seen)
    )


def tenant_rows(connection: Connection) -> list[TenantRow]:
    """Read every tenant that is not deleted."""
    return [TenantRow(*row) for row in connection.execute(select(*_TENANT).where(tenants.c.deleted_at_us.is_(None)))]


def tenant_row(connection: Connection, tenant_id: str) -> TenantRow | None:
    """Read one tenant, if it is there and not deleted."""
    query = select(*_TENANT).where(tenants.c.tenant_id == tenant_id, tenants.c.deleted_at_us.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else TenantRow(*row)


def key_rows(
    connection: Connection, tenant_id: str, after: str | None = None, limit: int | None = None
) -> list[KeyRow]:
    """Read a tenant's keys, revoked ones too, in the database's order of their ids.

    Args:
        connection: in any transaction.
        tenant_id: whose.
        after: only those behind this id.
        limit: so many at most.
    """
    ids = select(keys.c.key_id).where(keys.c.tenant_id == tenant_id).order_by(keys.c.key_id).limit(limit)
    if after is not None:
        ids = ids.where(keys.c.key_id > after)
    return _keys(connection, keys.c.tenant_id == tenant_id, keys.c.key_id.in_(ids))


def key_row(connection: Connection, tenant_id: str, key_id: str) -> KeyRow | None:
    """Read one key, a revoked one too."""
    return next(iter(_keys(connection, keys.c.tenant_id == tenant_id, keys.c.key_id == key_id)), None)


def count_tenants(connection: Connection) -> int:
    """Count tenants that are not deleted."""
    return connection.scalar(select(func.count()).where(tenants.c.deleted_at_us.is_(None))) or 0


def count_secrets(connection: Connection) -> int:
    """Count the secrets of all keys, those too that have ended and are still there."""
    return connection.scalar(select(func.count()).select_from(key_secrets)) or 0


def audit_records(connection: Connection, limit: int, before: int | None = None) -> list[AuditRecord]:
    """Read what operators did, the newest first.

    Args:
        connection: in any transaction.
        limit: so many at most.
        before: only what is older than the record of this number.
    """
    query = select(audit).order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.number < before)
    return [AuditRecord(**row) for row in connection.execute(query).mappings()]


def _keys(connection: Connection, *where: ColumnElement[bool]) -> list[KeyRow]:
    query = (
        select(*_KEY, *_SECRET)
        .select_from(keys.outerjoin(key_secrets, _OF_KEY))
        .where(*where)
        .order_by(keys.c.tenant_id, keys.c.key_id, key_secrets.c.created_at_us.desc(), key_secrets.c.digest)
    )
    found: defaultdict[tuple[Any, ...], list[SecretRow]] = defaultdict(list)
    for row in connection.execute(query):
        secrets = found[tuple(row[: len(_KEY)])]
        if row.digest is not None:
            secrets.append(SecretRow(*row[len(_KEY) :]))
    return [KeyRow(*(*key, tuple(secrets))) for key, secrets in found.items()]
