"""What operators may change of the database's tenants and keys: each change is one transaction, with its audit row."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from gateway.stores.sql import directory_writes as write
from gateway.stores.sql.directory import KeyRow, TenantRow, count_secrets, count_tenants, key_row, tenant_row
from gateway.stores.sql.directory_writes import Moment
from gateway.tenancy.drafts import KeyDraft, TenantDraft
from gateway.tenancy.quotas import Owner
from gateway.tenancy.records import changed, iso, microseconds, stored_tenant, stored_terms

_Settings: Final = TypeAdapter(dict[str, Any])


class Refused(Exception):
    """A request that is not carried out; the sentence is for who made it.

    Attributes:
        code: ``not_found``; ``conflict`` with what is there; ``invalid_request``.
    """

    def __init__(self, code: Literal["not_found", "conflict", "invalid_request"], sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an operator. Its methods are work for :meth:`~gateway.stores.sql.database.Database.write`.

    All raise :class:`Refused`; then nothing has happened.

    Args:
        actor: who changes, for the audit.
        now_us: when, in microseconds since the epoch.
        config: ids of the tenants in ``gateway.yaml``, which are changed there.
        most_tenants: so many there may be in the database.
        most_keys: so many secrets there may be; every process has all of them in memory.
    """

    actor: str
    now_us: int
    config: Collection[str]
    most_tenants: int
    most_keys: int

    def create_tenant(self, connection: Connection, draft: TenantDraft) -> TenantRow:
        """Make a tenant. One of the id of a deleted one goes on where that ended: its spending still counts."""
        self._not_in_config(draft.id)
        at = self._at(connection)
        if tenant_row(connection, draft.id) is not None:
            raise Refused("conflict", f"There is a tenant {draft.id} already. Change that, or choose another id.")
        if count_tenants(connection) >= self.most_tenants:
            raise Refused("conflict", f"There are {self.most_tenants} tenants, which is the most. Delete some first.")
        settings = stored_tenant(draft)
        write.put_tenant(connection, at, draft.id, settings)
        self._audit(connection, "tenant.create", Owner(draft.id), changed({}, settings))
        return existing_tenant(connection, draft.id)

    def replace_tenant(self, connection: Connection, tenant_id: str, draft: TenantDraft) -> TenantRow:
        """Give a tenant other settings; what the draft does not say falls back to its default."""
        self._not_in_config(tenant_id)
        if draft.id != tenant_id:
            raise Refused("invalid_request", f"id: is {draft.id}, but this is the tenant {tenant_id}, and ids stay.")
        at = self._at(connection)
        before, settings = existing_tenant(connection, tenant_id), stored_tenant(draft)
        write.change_tenant(connection, at, tenant_id, settings)
        self._audit(connection, "tenant.replace", Owner(tenant_id), changed(_parsed(before.settings), settings))
        return existing_tenant(connection, tenant_id)

    def delete_tenant(self, connection: Connection, tenant_id: str) -> None:
        """Delete the database's tenant and revoke its keys, for ever; its rows in the ledger stay.

        Where ``gateway.yaml`` has a tenant of the same id, that one is not touched.
        """
        at = self._at(connection)
        if tenant_row(connection, tenant_id) is None:
            self._not_in_config(tenant_id)
        before = existing_tenant(connection, tenant_id)
        revoked = write.delete_tenant(connection, at, tenant_id)
        details = {**changed(_parsed(before.settings), {}), "keys_revoked": revoked}
        self._audit(connection, "tenant.delete", Owner(tenant_id), details)

    def create_key(self, connection: Connection, tenant_id: str, draft: KeyDraft, digest: bytes) -> KeyRow:
        """Make a key for a secret that nobody has yet."""
        self._not_in_config(tenant_id)
        if draft.expires is not None and (microseconds(draft.expires) or 0) <= self.now_us:
            raise Refused("invalid_request", "expires: is in the past: write a moment that is to come, or leave it out")
        at = self._at(connection)
        existing_tenant(connection, tenant_id)
        before = key_row(connection, tenant_id, draft.id)
        if before is not None:
            if before.revoked_at_us is None:
                raise Refused("conflict", f"There is a key {draft.id} already. Rotate it, or choose another id.")
            raise Refused("conflict", f"There was a key {draft.id}, and ids are not given again. Choose another id.")
        self._room_for_a_secret(connection, at)
        terms = _terms(draft)
        write.put_key(connection, at, tenant_id, draft.id, terms)
        write.put_secret(connection, at, tenant_id, draft.id, digest.hex())
        self._audit(connection, "key.create", Owner(tenant_id, draft.id), changed({}, _fields(terms)))
        return _existing_key(connection, tenant_id, draft.id)

    def rotate_key(self, connection: Connection, tenant_id: str, key_id: str, digest: bytes, grace_us: int) -> KeyRow:
        """Give a key a new secret. Its older ones end after the grace at the latest; its limits and budget go on."""
        self._not_in_config(tenant_id)
        at = self._at(connection)
        before = self._usable_key(connection, tenant_id, key_id)
        if before.expires_at_us is not None and before.expires_at_us <= self.now_us:
            raise Refused(
                "conflict", f"The key {key_id} has expired, so no secret of it is good. Change expires first."
            )
        write.end_secrets(connection, tenant_id, key_id, self.now_us + grace_us)
        self._room_for_a_secret(connection, at)
        write.put_secret(connection, at, tenant_id, key_id, digest.hex())
        write.touch_key(connection, at, tenant_id, key_id)
        self._audit(connection, "key.rotate", Owner(tenant_id, key_id), {"grace_s": grace_us / 1_000_000})
        return _existing_key(connection, tenant_id, key_id)

    def replace_key(self, connection: Connection, tenant_id: str, key_id: str, draft: KeyDraft) -> KeyRow:
        """Give a key other terms; its secrets stay. What the draft does not say falls back to its default."""
        self._not_in_config(tenant_id)
        if draft.id != key_id:
            raise Refused("invalid_request", f"id: is {draft.id}, but this is the key {key_id}, and ids stay.")
        at = self._at(connection)
        before, terms = self._usable_key(connection, tenant_id, key_id), _terms(draft)
        old = write.KeyTerms(before.label, _parsed(before.settings), before.expires_at_us)
        write.change_key(connection, at, tenant_id, key_id, terms)
        self._audit(connection, "key.replace", Owner(tenant_id, key_id), changed(_fields(old), _fields(terms)))
        return _existing_key(connection, tenant_id, key_id)

    def revoke_key(self, connection: Connection, tenant_id: str, key_id: str) -> None:
        """Revoke a key with all its secrets, for ever."""
        self._not_in_config(tenant_id)
        at = self._at(connection)
        self._usable_key(connection, tenant_id, key_id)
        write.revoke_keys(connection, at, tenant_id, key_id)
        self._audit(connection, "key.revoke", Owner(tenant_id, key_id), {})

    def _usable_key(self, connection: Connection, tenant_id: str, key_id: str) -> KeyRow:
        existing_tenant(connection, tenant_id)
        row = _existing_key(connection, tenant_id, key_id)
        if row.revoked_at_us is not None:
            raise Refused("conflict", f"The key {key_id} is revoked, for ever. Make another one.")
        return row

    def _not_in_config(self, tenant_id: str) -> None:
        if tenant_id in self.config:
            raise Refused("conflict", f"The tenant {tenant_id} is in gateway.yaml: change it there.")

    def _room_for_a_secret(self, connection: Connection, at: Moment) -> None:
        write.delete_ended(connection, at)
        if count_secrets(connection) >= self.most_keys:
            raise Refused(
                "conflict",
                f"There are {self.most_keys} keys, old secrets in their grace counted, which is the most. Revoke some "
                "that nobody uses.",
            )

    def _at(self, connection: Connection) -> Moment:
        return Moment(write.next_revision(connection), self.now_us)

    def _audit(self, connection: Connection, action: str, of: Owner, details: Mapping[str, Any]) -> None:
        write.put_audit(connection, self.now_us, self.actor, action, of.scope_key, details)


def existing_tenant(connection: Connection, tenant_id: str) -> TenantRow:
    """Return a tenant that is there.

    Raises:
        Refused: it is not.
    """
    row = tenant_row(connection, tenant_id)
    if row is None:
        raise Refused("not_found", f"There is no tenant {tenant_id}.")
    return row


def _existing_key(connection: Connection, tenant_id: str, key_id: str) -> KeyRow:
    row = key_row(connection, tenant_id, key_id)
    if row is None:
        raise Refused("not_found", f"The tenant {tenant_id} has no key {key_id}.")
    return row


def _terms(draft: KeyDraft) -> write.KeyTerms:
    return write.KeyTerms(draft.label, stored_terms(draft), microseconds(draft.expires))


def _fields(terms: write.KeyTerms) -> dict[str, Any]:
    """Return what the audit says of a key: the fields as an operator writes them."""
    return {"label": terms.label, "expires": iso(terms.expires_at_us), **terms.settings}


def _parsed(settings: str) -> dict[str, Any]:
    try:
        return _Settings.validate_json(settings)
    except ValidationError:
        return {}
