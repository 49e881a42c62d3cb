"""How the rows of tenants, keys and the audit are written.

Plain functions of a connection, to be put together to transactions. Whoever changes a tenant or a key calls
:func:`next_revision` first: the lock that it takes puts the writers in line, so what they read after it holds until
they commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from gateway.stores.sql.directory import SUBJECT
from gateway.stores.sql.schema import audit, key_secrets, keys, revisions, tenants


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What can be changed of a key; ``settings`` are its limits and budget."""

    label: str | None
    settings: Mapping[str, Any]
    expires_at_us: int | None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a change happens: its number among all, and the time for people."""

    revision: int
    now_us: int


def next_revision(connection: Connection) -> int:
    """Raise the revision, and keep others from it until the transaction ends; then everybody learns of the change."""
    raised = (
        upsert(revisions)
        .values(subject=SUBJECT, number=1)
        .on_conflict_do_update(index_elements=[revisions.c.subject], set_={"number": revisions.c.number + 1})
        .returning(revisions.c.number)
    )
    return int(connection.execute(raised).scalar_one())


def put_tenant(connection: Connection, at: Moment, tenant_id: str, settings: Mapping[str, Any]) -> None:
    """Write a new tenant, over a deleted one of the same id if there was any."""
    row = {"settings": settings, "revision": at.revision, "created_at_us": at.now_us, "updated_at_us": at.now_us}
    put = upsert(tenants).values(tenant_id=tenant_id, **row)
    again = {**row, "deleted_at_us": None}
    connection.execute(put.on_conflict_do_update(index_elements=[tenants.c.tenant_id], set_=again))


def change_tenant(connection: Connection, at: Moment, tenant_id: str, settings: Mapping[str, Any]) -> None:
    """Give a tenant other settings."""
    values = {"settings": settings, "revision": at.revision, "updated_at_us": at.now_us}
    connection.execute(update(tenants).where(tenants.c.tenant_id == tenant_id).values(values))


def delete_tenant(connection: Connection, at: Moment, tenant_id: str) -> int:
    """Delete a tenant and revoke its keys, and return how many; what is in the ledger stays."""
    gone = {"settings": {}, "revision": at.revision, "updated_at_us": at.now_us, "deleted_at_us": at.now_us}
    connection.execute(update(tenants).where(tenants.c.tenant_id == tenant_id).values(gone))
    return revoke_keys(connection, at, tenant_id)


def put_key(connection: Connection, at: Moment, tenant_id: str, key_id: str, terms: KeyTerms) -> None:
    """Write a new key, which has no secret yet."""
    row = {"tenant_id": tenant_id, "key_id": key_id, "created_at_us": at.now_us, **_values(at, terms)}
    connection.execute(insert(keys), row)


def change_key(connection: Connection, at: Moment, tenant_id: str, key_id: str, terms: KeyTerms) -> None:
    """Give a key other terms; its secrets stay."""
    mine = keys.c.tenant_id == tenant_id, keys.c.key_id == key_id
    connection.execute(update(keys).where(*mine).values(_values(at, terms)))


def revoke_keys(connection: Connection, at: Moment, tenant_id: str, key_id: str | None = None) -> int:
    """Revoke a key, or all keys of a tenant, take their secrets away, and return how many were revoked by it."""
    mine, its = [keys.c.tenant_id == tenant_id], [key_secrets.c.tenant_id == tenant_id]
    if key_id is not None:
        mine.append(keys.c.key_id == key_id)
        its.append(key_secrets.c.key_id == key_id)
    connection.execute(delete(key_secrets).where(*its))
    values = {"revoked_at_us": at.now_us, "revision": at.revision, "updated_at_us": at.now_us}
    return connection.execute(update(keys).where(*mine, keys.c.revoked_at_us.is_(None)).values(values)).rowcount


def touch_key(connection: Connection, at: Moment, tenant_id: str, key_id: str) -> None:
    """Let everybody read a key again."""
    mine = keys.c.tenant_id == tenant_id, keys.c.key_id == key_id
    connection.execute(update(keys).where(*mine).values(revision=at.revision, updated_at_us=at.now_us))


def put_secret(connection: Connection, at: Moment, tenant_id: str, key_id: str, digest: str) -> None:
    """Write a new secret of a key."""
    row = {"digest": digest, "tenant_id": tenant_id, "key_id": key_id, "created_at_us": at.now_us}
    connection.execute(insert(key_secrets), row)


def end_secrets(connection: Connection, tenant_id: str, key_id: str, end_at_us: int) -> None:
    """Let every secret of a key end at a moment, unless it ends before."""
    its = key_secrets.c.tenant_id == tenant_id, key_secrets.c.key_id == key_id
    later = or_(key_secrets.c.ends_at_us.is_(None), key_secrets.c.ends_at_us > end_at_us)
    connection.execute(update(key_secrets).where(*its, later).values(ends_at_us=end_at_us))


def delete_ended(connection: Connection, at: Moment) -> None:
    """Delete secrets that have ended, of whatever key, and let everybody forget them."""
    ended = key_secrets.c.ends_at_us <= at.now_us
    theirs = select(key_secrets.c.tenant_id, key_secrets.c.key_id).where(ended)
    connection.execute(
        update(keys).where(tuple_(keys.c.tenant_id, keys.c.key_id).in_(theirs)).values(revision=at.revision)
    )
    connection.execute(delete(key_secrets).where(ended))


def put_audit(
    connection: Connection, now_us: int, actor: str, action: str, subject: str, details: Mapping[str, Any]
) -> None:
    """Write down what an operator did."""
    row = {"at_us": now_us, "actor": actor, "action": action, "subject": subject, "details": details}
    connection.execute(insert(audit), row)


def _values(at: Moment, terms: KeyTerms) -> dict[str, Any]:
    return {
        "label": terms.label,
        "settings": terms.settings,
        "expires_at_us": terms.expires_at_us,
        "revision": at.revision,
        "updated_at_us": at.now_us,
    }
