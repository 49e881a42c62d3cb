"""Tenants over HTTP: list, make, look at, replace, delete. Those of ``gateway.yaml`` can only be looked at."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from gateway.admin.access import Role
from gateway.admin.figures import Iso, iso_or_none
from gateway.admin.operation import Call, Nothing, Operation
from gateway.core.settings import Settings
from gateway.tenancy.directory import Directory
from gateway.tenancy.drafts import TenantDraft
from gateway.tenancy.records import TenantRecord

PATH = "/admin/tenants"


class PageQuery(Settings):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most entries."""
    after: Annotated[str, Field(max_length=200)] | None = None
    """Only entries behind this id, in the order of ids."""


class TenantAnswer(Settings):
    """One tenant."""

    id: str
    """Its id."""
    source: Literal["config", "database"]
    """Where it is kept: those of gateway.yaml (config) are changed there."""
    settings: TenantDraft | None
    """What was said of it: what PUT takes. Null where it cannot be read."""
    created_at: Iso | None
    """When it was made; null of the configuration's."""
    updated_at: Iso | None
    """When it was last changed; null of the configuration's."""
    conflict: str | None
    """What of it is left out because gateway.yaml has the same."""
    unreadable: str | None
    """Why its settings are not taken, so that nobody gets in."""


class TenantsAnswer(Settings):
    """Tenants, in the order of their ids."""

    tenants: tuple[TenantAnswer, ...]
    """Tenants."""
    next_after: str | None
    """What to send as `after` to go on; null: there are no more."""


class TenantPages:
    """Shows and changes tenants."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        one = PATH + "/{tenant_id}"
        return (
            Operation(
                "list_tenants",
                "GET",
                PATH,
                "Tenants of gateway.yaml and of the database",
                Role.VIEWER,
                self.list,
                PageQuery,
                Nothing,
                TenantsAnswer,
            ),
            Operation(
                "create_tenant",
                "POST",
                PATH,
                "Make a tenant",
                Role.ADMIN,
                self.create,
                Nothing,
                TenantDraft,
                TenantAnswer,
                status=201,
                fails=("conflict",),
            ),
            Operation(
                "get_tenant",
                "GET",
                one,
                "One tenant",
                Role.VIEWER,
                self.get,
                Nothing,
                Nothing,
                TenantAnswer,
            ),
            Operation(
                "replace_tenant",
                "PUT",
                one,
                "Give a tenant other settings; what is left out is as if it had never been said",
                Role.ADMIN,
                self.replace,
                Nothing,
                TenantDraft,
                TenantAnswer,
                fails=("conflict",),
                named_by="tenant_id",
            ),
            Operation(
                "delete_tenant",
                "DELETE",
                one,
                "Delete a tenant and revoke its keys; what it has spent stays in the ledger",
                Role.ADMIN,
                self.delete,
                Nothing,
                Nothing,
                None,
                status=204,
                fails=("conflict",),
            ),
        )

    async def list(self, call: Call[PageQuery, Nothing]) -> TenantsAnswer:
        """List a part of them."""
        limit, after = call.query.limit, call.query.after
        found = await self._directory.tenants(after, limit + 1)
        more = len(found) > limit
        return TenantsAnswer(tenants=tuple(map(_told, found[:limit])), next_after=found[limit - 1].id if more else None)

    async def create(self, call: Call[Nothing, TenantDraft]) -> TenantAnswer:
        """Make one."""
        record = await self._directory.create_tenant(call.caller.name, call.body)
        call.headers["Location"] = f"{PATH}/{quote(record.id, safe='')}"
        return _told(record)

    async def get(self, call: Call[Nothing, Nothing]) -> TenantAnswer:
        """Look at one."""
        return _told(await self._directory.tenant(call.path["tenant_id"]))

    async def replace(self, call: Call[Nothing, TenantDraft]) -> TenantAnswer:
        """Change one."""
        return _told(await self._directory.replace_tenant(call.caller.name, call.path["tenant_id"], call.body))

    async def delete(self, call: Call[Nothing, Nothing]) -> None:
        """Delete one."""
        await self._directory.delete_tenant(call.caller.name, call.path["tenant_id"])


def _told(record: TenantRecord) -> TenantAnswer:
    return TenantAnswer(
        id=record.id,
        source=record.source,
        settings=record.settings,
        created_at=iso_or_none(record.created_at_us),
        updated_at=iso_or_none(record.updated_at_us),
        conflict=record.conflict,
        unreadable=record.unreadable,
    )
