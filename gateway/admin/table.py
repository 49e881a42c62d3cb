"""All that the admin API does, put together; its last operation documents the others and itself."""

from functools import cache
from typing import Any

from gateway.admin.access import Role
from gateway.admin.audit import Audit
from gateway.admin.configuration import ConfigPages, Configuration
from gateway.admin.keys import KeyPages
from gateway.admin.ledger import LedgerFile
from gateway.admin.openapi import OpenApiAnswer, document
from gateway.admin.operation import Call, Nothing, Operation, Table
from gateway.admin.providers import ProviderPages, Providers
from gateway.admin.spending import Spending, Standings
from gateway.admin.tenants import TenantPages
from gateway.admin.usage import Usage
from gateway.core.clock import WallClock
from gateway.stores.sql.database import Database
from gateway.tenancy.directory import Directory
from gateway.tenancy.tenants import Tenants


def table_of(
    directory: Directory,
    database: Database,
    tenants: Tenants,
    standings: Standings,
    providers: Providers,
    configuration: Configuration,
    wall_clock: WallClock,
) -> Table:
    """Return the operations on these collaborators."""
    operations: list[Operation[Any, Any]] = [
        *TenantPages(directory).operations,
        *KeyPages(directory).operations,
        *Spending(tenants, standings).operations,
        *Usage(database, wall_clock).operations,
        *LedgerFile(database).operations,
        *Audit(directory).operations,
        *ProviderPages(providers, directory).operations,
        *ConfigPages(configuration, directory).operations,
    ]

    @cache
    def told() -> OpenApiAnswer:
        # Made when it is first asked for: it takes longer than all else at the start.
        return OpenApiAnswer(document(operations))

    async def show(call: Call[Nothing, Nothing]) -> OpenApiAnswer:
        return told()

    operations.append(
        Operation(
            "get_openapi",
            "GET",
            "/admin/openapi.json",
            "This document",
            Role.VIEWER,
            show,
            Nothing,
            Nothing,
            OpenApiAnswer,
        )
    )
    return Table(operations)
