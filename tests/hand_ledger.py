"""A ledger in memory, whose commits a test holds in its hands."""

from gateway.core.ledger import Closing, LedgerUnavailable, Opening
from gateway.stores.sql.commit import Commit
from gateway.stores.sql.ledger import Ledger


class HandLedger(Ledger):
    """Keeps rows in lists; commits them at once, unless told to wait.

    Attributes:
        openings, closings, progressed: what it was told, in order.
        prompt: commits are decided as they are asked for.
    """

    def __init__(self) -> None:
        self.openings: list[Opening] = []
        self.closings: list[Closing] = []
        self.progressed: dict[str, int] = {}
        self.prompt = True
        self.accepting = True
        self.late = 0
        self._waiting: list[Commit] = []

    def open(self, row: Opening) -> Commit:
        self.openings.append(row)
        return self._commit(opens=True)

    def progress(self, exchange_id: str, output_so_far_tokens: int) -> None:
        self.progressed[exchange_id] = output_so_far_tokens

    def close(self, row: Closing) -> Commit:
        self.closings.append(row)
        return self._commit(opens=False)

    async def in_time(self, commit: Commit) -> bool:
        await commit
        return True

    def commit_all(self) -> None:
        """All that waits is written."""
        for commit in self._waiting:
            commit.decide()
        self._waiting.clear()

    def fail_all(self) -> None:
        """Nothing that waits can be written."""
        for commit in self._waiting:
            commit.decide(LedgerUnavailable("no"))
        self._waiting.clear()

    def _commit(self, *, opens: bool) -> Commit:
        commit = Commit(opens, (), (), 0.0)
        if self.prompt:
            commit.decide()
        else:
            self._waiting.append(commit)
        return commit
