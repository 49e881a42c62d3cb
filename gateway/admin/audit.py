"""Who changed what: the audit as a list, and the note of what is changed outside the database."""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import Field

from gateway.admin.access import Role
from gateway.admin.figures import Iso, iso
from gateway.admin.operation import Call, Nothing, Operation
from gateway.core.settings import Settings
from gateway.tenancy.directory import AuditRecord


class Journal(Protocol):
    """Keeps the audit."""

    async def audit(self, limit: int, before: int | None = None) -> list[AuditRecord]:
        """Return entries, the newest first.

        Raises:
            DatabaseDown: nobody knows now.
        """

    async def note(self, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Write an entry.

        Raises:
            DatabaseDown: it is not written.
        """


class AuditQuery(Settings):
    """Which entries."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    """Most entries."""
    before: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    """Only entries with a lower number."""


class EntryAnswer(Settings):
    """One write through the admin API."""

    number: int
    """Later ones have greater numbers; none is given twice."""
    at: Iso
    """When it was."""
    actor: str
    """Who did it: which key of the admin API."""
    action: str
    """What was done."""
    subject: str
    """To what."""
    details: dict[str, Any]
    """What it was before and is now; never a secret."""


class AuditAnswer(Settings):
    """Entries of the audit, the newest first."""

    entries: tuple[EntryAnswer, ...]
    """Entries."""
    next_before: int | None
    """What to send as `before` to go on; null: there are no older ones."""


class Audit:
    """Shows the audit."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "list_audit",
                "GET",
                "/admin/audit",
                "Who changed what, the newest first",
                Role.VIEWER,
                self.list,
                AuditQuery,
                Nothing,
                AuditAnswer,
            ),
        )

    async def list(self, call: Call[AuditQuery, Nothing]) -> AuditAnswer:
        """List entries."""
        limit = call.query.limit
        found = await self._journal.audit(limit + 1, call.query.before)
        entries = tuple(
            EntryAnswer(
                number=one.number,
                at=iso(one.at_us),
                actor=one.actor,
                action=one.action,
                subject=one.subject,
                details=dict(one.details),
            )
            for one in found[:limit]
        )
        return AuditAnswer(entries=entries, next_before=entries[-1].number if len(found) > limit else None)
