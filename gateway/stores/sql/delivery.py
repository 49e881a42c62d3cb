"""Brings commits into the database in one transaction, and the rest of them where it refuses one."""

import logging
from collections.abc import Callable, Iterable, Sequence

from gateway.core.clock import Clock
from gateway.core.ledger import RowRefused
from gateway.stores.sql.commit import Commit
from gateway.stores.sql.group import Group, GroupWriter, Values, ValuesRefused
from gateway.stores.sql.statements import plain_values

log = logging.getLogger("gateway")


class Delivery:
    """Writes groups of commits and tells each how it went.

    Args:
        observe: told of every transaction: seconds since its oldest row was asked for, and how many rows it had.

    Attributes:
        commits: transactions written.
        refused: rows that the database took in no form.
    """

    def __init__(self, writer: GroupWriter, clock: Clock, observe: Callable[[float, int], None]) -> None:
        self._writer = writer
        self._clock = clock
        self._observe = observe
        self.commits = 0
        self.refused = 0

    async def write(self, commits: Sequence[Commit], progress: Sequence[Values] = ()) -> None:
        """Commit a group; where the database refuses one of its rows, halve it until that one is alone.

        Raises:
            DatabaseDown: those that still have values are not known to be written.
        """
        try:
            await self._writer.write(_group(commits, progress))
        except ValuesRefused as refusal:
            if len(commits) > 1:
                middle = len(commits) // 2
                await self.write(commits[:middle])
                await self.write(commits[middle:])
            elif commits:
                await self._write_plainly(commits[0], refusal)
        else:
            self._done(commits)

    async def _write_plainly(self, commit: Commit, refusal: ValuesRefused) -> None:
        values = plain_values(commit.values)
        attempts = [plain_values(attempt) for attempt in commit.attempts]
        if (values, attempts) != (commit.values, list(commit.attempts)):
            commit.values, commit.attempts = values, attempts
            await self.write([commit])
            return
        self.refused += 1
        log.error("the ledger's database refuses a row: %s", refusal)
        commit.values = commit.attempts = ()
        commit.decide(RowRefused(str(refusal)))

    def _done(self, commits: Sequence[Commit]) -> None:
        self.commits += 1
        for commit in commits:
            commit.values = commit.attempts = ()
            commit.decide()
        if commits:
            self._observe(self._clock() - commits[0].at_s, len(commits))


def _group(commits: Iterable[Commit], progress: Iterable[Values]) -> Group:
    group = Group(progress=list(progress))
    for commit in commits:
        (group.openings if commit.opens else group.closings).append(commit.values)
        group.attempts.extend(commit.attempts)
    return group
