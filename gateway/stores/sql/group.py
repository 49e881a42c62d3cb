"""What one transaction of the ledger holds, and who writes it."""

from dataclasses import dataclass, field
from typing import Protocol

Values = tuple[object, ...]
"""The values of one row, in the order of its statement's columns."""


class DatabaseDown(Exception):
    """The database does not write now: locked, full, gone. What was to be written may be, later; nothing is lost.

    After a connection broke in a commit it may have been written already; a repeat changes nothing.
    """


class ValuesRefused(Exception):
    """The database works and takes the group not: at least one of its rows has values that no column holds."""


@dataclass(slots=True)
class Group:
    """Rows that are written in one transaction: openings first, then progress, closings, attempts."""

    openings: list[Values] = field(default_factory=list)
    progress: list[Values] = field(default_factory=list)
    closings: list[Values] = field(default_factory=list)
    attempts: list[Values] = field(default_factory=list)


class GroupWriter(Protocol):
    """Writes groups, one after another. It connects by itself, at the first group and after a loss."""

    async def write(self, group: Group) -> None:
        """Commit a group, all or nothing.

        Raises:
            DatabaseDown: try again later.
            ValuesRefused: try the rows one by one.
        """

    async def aclose(self) -> None:
        """Let go of the connection. Nothing may be under way."""
