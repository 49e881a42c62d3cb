"""What comes from the database into memory: what cannot be read is left out and told, and never stops the rest."""

import logging

from gateway.stores.sql.directory import Changes, KeyRow, TenantRow
from gateway.tenancy.drafts import KeyTerms, TenantDraft
from gateway.tenancy.records import Unreadable, read_key, read_tenant
from gateway.tenancy.roll import HeldKey
from gateway.tenancy.tenants import Tenants

log = logging.getLogger("gateway")


def take_in(tenants: Tenants, changes: Changes) -> None:
    """Bring memory to what the database has."""
    drafts = {row.tenant_id: _tenant(row) for row in changes.tenants}
    keys = [_key(row) for row in changes.keys]
    if changes.whole:
        tenants.replace_database({name: draft for name, draft in drafts.items() if draft is not None}, keys)
    else:
        tenants.change_database(drafts, keys)


def _tenant(row: TenantRow) -> TenantDraft | None:
    if row.deleted_at_us is not None:
        return None
    try:
        return read_tenant(row)
    except Unreadable as error:
        _left_out("tenant", row.tenant_id, error)
        return None


def _key(row: KeyRow) -> HeldKey:
    try:
        return read_key(row)
    except Unreadable as error:
        _left_out("key", f"{row.tenant_id}/{row.key_id}", error)
        return HeldKey(row.tenant_id, row.key_id, (), KeyTerms())


def _left_out(kind: str, name: str, error: Unreadable) -> None:
    # Whoever could write such settings could write such a name, too.
    log.error("the %s %s is left out, as its stored settings are not valid: %s", kind, ascii(name)[1:-1], error)
