"""The directory of tenants and keys: the database's, all of it in memory, so that asking costs no store.

A process looks every :data:`POLL_S` whether anything has changed, and then reads what has; the one that made a change
looks at once. While the database is away everybody who was known stays known.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from gateway.core.clock import Clock, WallClock
from gateway.core.routing import check_id
from gateway.stores.sql import directory as rows
from gateway.stores.sql import directory_writes as write
from gateway.stores.sql.database import Database
from gateway.stores.sql.directory import AuditRecord
from gateway.stores.sql.group import DatabaseDown
from gateway.tenancy.changes import Change, Refused, existing_tenant
from gateway.tenancy.drafts import KeyDraft, TenantDraft
from gateway.tenancy.intake import take_in
from gateway.tenancy.records import (
    KeyRecord,
    SecretRecord,
    TenantRecord,
    config_key_record,
    config_tenant_record,
    key_record,
    tenant_record,
)
from gateway.tenancy.tenants import KEY_ENTROPY_BYTES, Tenants, digest_of, new_key

__all__ = [
    "AuditRecord",
    "Directory",
    "KeyDraft",
    "KeyRecord",
    "Refused",
    "SecretRecord",
    "TenantDraft",
    "TenantRecord",
]

POLL_S: Final = 0.25
"""How often a process looks whether the directory has changed; a change holds everywhere in well under a second."""

MOST_KEYS: Final = 100_000
"""Secrets in the database; every process has all of them in memory."""

MOST_TENANTS: Final = 10_000
"""Tenants in the database, likewise."""

MOST_GRACE_S: Final = 90 * 86_400.0
"""The longest that an old secret goes on after a rotation."""

MOST_RECORDS: Final = 1000
"""Of the audit, in one answer."""

_INT64: Final = (1 << 63) - 1

T = TypeVar("T")

log = logging.getLogger("gateway")


class Directory:
    """The tenants and keys of one database, as this process knows them and as operators change them.

    Every change is one transaction: the rows, the revision that tells all processes, and one row in the audit. All
    methods that ask the database raise :class:`DatabaseDown`; those that name something raise :class:`Refused`, and
    then nothing has happened.

    Args:
        tenants: gets what the database has.
        wall_clock: Unix time, for what is written down.
        clock: for :attr:`age_s`.
        most_keys, most_tenants: bounds of the memory.

    Attributes:
        on_change: told after every change of the tenants in memory.
    """

    def __init__(
        self,
        database: Database,
        tenants: Tenants,
        wall_clock: WallClock,
        clock: Clock,
        *,
        most_keys: int = MOST_KEYS,
        most_tenants: int = MOST_TENANTS,
    ) -> None:
        self._database = database
        self._tenants = tenants
        self._wall_clock = wall_clock
        self._clock = clock
        self._most_keys = most_keys
        self._most_tenants = most_tenants
        self._seen: int | None = None
        self._looked_at_s = clock()
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.on_change: Callable[[], None] = lambda: None

    @property
    def age_s(self) -> float:
        """How long ago memory was last known to be what the database has, in seconds."""
        return self._clock() - self._looked_at_s

    async def start(self) -> None:
        """Read the whole directory, and keep up with it from now on."""
        await self.refresh()
        self._task = asyncio.create_task(self._poll(), name="directory")

    async def aclose(self) -> None:
        """Stop keeping up; what is in memory stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def refresh(self) -> None:
        """Look now whether anything has changed."""
        # One after another: what was read first must not overwrite what was read after it.
        async with self._looking:
            at_s = self._clock()
            changes = await self._database.read(lambda connection: rows.changes_since(connection, self._seen))
            if changes is not None:
                take_in(self._tenants, changes)
                self._seen = changes.number
                self.on_change()
            self._looked_at_s = at_s

    async def tenants(self, after: str | None = None, limit: int | None = None) -> list[TenantRecord]:
        """List tenants in the order of their ids: the configuration's and the database's.

        Args:
            after: only those behind this id.
            limit: so many at most.
        """
        stored = {row.tenant_id: row for row in await self._database.read(rows.tenant_rows)}
        # Sorted here: databases put the same names into other orders.
        ids = sorted(one for one in {*stored, *self._tenants.config} if after is None or one > after)
        return [self._record(tenant_id, stored.get(tenant_id)) for tenant_id in ids[:limit]]

    async def tenant(self, tenant_id: str) -> TenantRecord:
        """Show one tenant: the configuration's, where both have it."""
        _check_ids(tenant_id)
        if tenant_id in self._tenants.config:
            return self._record(tenant_id, None)
        return self._record(tenant_id, await self._database.read(lambda c: existing_tenant(c, tenant_id)))

    async def create_tenant(self, actor: str, settings: TenantDraft) -> TenantRecord:
        """Make a tenant without keys."""
        row = await self._change(actor, lambda it, c: it.create_tenant(c, settings))
        return self._record(settings.id, row)

    async def replace_tenant(self, actor: str, tenant_id: str, settings: TenantDraft) -> TenantRecord:
        """Give a tenant other settings; what they do not say falls back to its default."""
        _check_ids(tenant_id)
        row = await self._change(actor, lambda it, c: it.replace_tenant(c, tenant_id, settings))
        return self._record(tenant_id, row)

    async def delete_tenant(self, actor: str, tenant_id: str) -> None:
        """Delete a tenant and revoke its keys, for ever; its rows in the ledger stay."""
        _check_ids(tenant_id)
        await self._change(actor, lambda it, c: it.delete_tenant(c, tenant_id))

    async def keys(self, tenant_id: str, after: str | None = None, limit: int | None = None) -> list[KeyRecord]:
        """List a tenant's keys in the order of their ids, revoked ones too; arguments as of :meth:`tenants`."""
        _check_ids(tenant_id)
        config = self._tenants.config.get(tenant_id)
        if config is not None:
            listed = sorted(config.keys, key=lambda key: key.id)
            return [config_key_record(tenant_id, key) for key in listed if after is None or key.id > after][:limit]

        def work(connection: Connection) -> list[rows.KeyRow]:
            existing_tenant(connection, tenant_id)
            return rows.key_rows(connection, tenant_id, after, limit)

        return [key_record(row) for row in await self._database.read(work)]

    async def create_key(self, actor: str, tenant_id: str, draft: KeyDraft) -> tuple[KeyRecord, str]:
        """Make a key, and return it with its secret, which nobody can be told again."""
        _check_ids(tenant_id)
        secret = new_key(os.urandom(KEY_ENTROPY_BYTES))
        row = await self._change(actor, lambda it, c: it.create_key(c, tenant_id, draft, digest_of(secret)))
        return key_record(row), secret

    async def rotate_key(self, actor: str, tenant_id: str, key_id: str, grace_s: float) -> tuple[KeyRecord, str]:
        """Give a key a new secret, and return both; limits, budget and spending of the key go on.

        Args:
            grace_s: every older secret ends after so many seconds, if it does not end before; 0: at once.
        """
        _check_ids(tenant_id, key_id)
        if not 0 <= grace_s <= MOST_GRACE_S:
            raise Refused("invalid_request", f"grace_s: must be a number of seconds from 0 to {MOST_GRACE_S:.0f}")
        secret, grace_us = new_key(os.urandom(KEY_ENTROPY_BYTES)), round(grace_s * 1_000_000)
        row = await self._change(actor, lambda it, c: it.rotate_key(c, tenant_id, key_id, digest_of(secret), grace_us))
        return key_record(row), secret

    async def replace_key(self, actor: str, tenant_id: str, key_id: str, draft: KeyDraft) -> KeyRecord:
        """Give a key another expiry, label, limits and budget; its secrets stay."""
        _check_ids(tenant_id, key_id)
        return key_record(await self._change(actor, lambda it, c: it.replace_key(c, tenant_id, key_id, draft)))

    async def revoke_key(self, actor: str, tenant_id: str, key_id: str) -> None:
        """Revoke a key with all its secrets, at once and for ever; its id is not given again."""
        _check_ids(tenant_id, key_id)
        await self._change(actor, lambda it, c: it.revoke_key(c, tenant_id, key_id))

    async def audit(self, limit: int, before: int | None = None) -> list[AuditRecord]:
        """Read what operators did, the newest first.

        Args:
            limit: so many at most, from 1 to 1000.
            before: only what is older than the record of this number.
        """
        if not 1 <= limit <= MOST_RECORDS:
            raise Refused("invalid_request", f"limit: must be a whole number from 1 to {MOST_RECORDS}")
        bound = None if before is None else max(0, min(before, _INT64))
        return await self._database.read(lambda connection: rows.audit_records(connection, limit, bound))

    async def note(self, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Write down what an operator did to something else than a tenant or a key.

        Args:
            actor: who.
            action: what, such as ``provider.drain``.
            subject: to what, such as ``provider/openai``.
            details: anything that JSON can say, but no secret.
        """
        now_us = self._now_us()
        await self._database.write(lambda c: write.put_audit(c, now_us, actor, action, subject, details))

    async def _change(self, actor: str, work: Callable[[Change, Connection], T]) -> T:
        config = frozenset(self._tenants.config)
        change = Change(actor, self._now_us(), config, self._most_tenants, self._most_keys)
        done = await self._database.write(lambda connection: work(change, connection))
        try:
            await self.refresh()
        except DatabaseDown as trouble:
            # It is done and will be seen, as other processes see it.
            log.warning("a change of the directory is not in memory yet: %s", trouble)
        return done

    def _now_us(self) -> int:
        return int(self._wall_clock() * 1_000_000)

    def _record(self, tenant_id: str, row: rows.TenantRow | None) -> TenantRecord:
        config, conflict = self._tenants.config.get(tenant_id), self._tenants.conflicts.get(tenant_id)
        if config is not None or row is None:
            return config_tenant_record(self._tenants.config[tenant_id], conflict)
        return tenant_record(row, conflict)

    async def _poll(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
                failing = False
            except DatabaseDown as trouble:
                if not failing:
                    log.warning("changes of tenants and keys are not seen: %s", trouble)
                failing = True
            except Exception:
                if not failing:
                    log.exception("changes of tenants and keys are not seen")
                failing = True


def _check_ids(*ids: str) -> None:
    """Refuse what cannot be an id before it reaches a database: not each takes every text."""
    try:
        for one in ids:
            check_id(one)
    except ValueError as error:
        raise Refused("not_found", f"There is nothing of this name: an id {error}.") from None
