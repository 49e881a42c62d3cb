"""The ledger: what the line writes down of every exchange, committed in groups by one writer.

Whatever waits when the writer comes round is one transaction, so a row costs little under load and waits for one
commit when there is none. The queue is one line: a closing never commits before its opening.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import Final

from gateway.core.ledger import Closing, LedgerUnavailable, Opening, RowRefused
from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.commit import Commit
from gateway.stores.sql.delivery import Delivery
from gateway.stores.sql.group import DatabaseDown, GroupWriter
from gateway.stores.sql.statements import attempt_values, closing_values, opening_values, progress_values

MAX_GROUP: Final = 512
"""Rows of one transaction: some milliseconds of the database's time."""

MAX_PENDING: Final = 100_000
"""Rows that wait at most before openings are refused at once. Each closing had an opening, so it bounds them too."""

PACE_S: Final = 0.002
"""Least time from the start of one transaction to that of the next: at 5,000 rows a second, ten share each."""

PROGRESS_S: Final = 1.0
"""How long a stream's progress may wait for a transaction."""

RETRY_S: Final = (0.05, 0.1, 0.2, 0.5)
"""Pauses between attempts while the database does not write; the last one is repeated."""

LEAST_WATCH_S: Final = 0.05

log = logging.getLogger("gateway")


def _ignore(_seconds: float, _rows: int) -> None:
    pass


class Ledger:
    """Writes openings, progress and closings.

    Who opens an exchange must close it, even where its opening failed: the closing stands for both, and a row that is
    left open is charged as an orphan's one day. Closings are kept while the process lives, in memory where need be.

    It is made on the loop that it runs on.

    Args:
        writer: of the database; the ledger closes it.
        settings: how long who waits for what.
        observe: told of every transaction: seconds since its oldest row was asked for, and how many rows it had.

    Attributes:
        accepting: openings are taken. False from when a row has waited ``open_wait_s`` in vain until what waits is
            written again; then an opening fails at once.
        late: closings whose wait ended before their commit.
    """

    def __init__(
        self,
        writer: GroupWriter,
        settings: LedgerSettings,
        observe: Callable[[float, int], None] = _ignore,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._delivery = Delivery(writer, self._loop.time, observe)
        self._settings = settings
        self._queue: deque[Commit] = deque()
        self._writing: list[Commit] = []
        self._progress: dict[str, int] = {}
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._opening_watch: asyncio.TimerHandle | None = None
        self._progress_watch: asyncio.TimerHandle | None = None
        self._progress_due = False
        self._failures = 0
        self._ending = False
        self._closed = False
        self.accepting = True
        self.late = 0

    @property
    def pending(self) -> int:
        """Rows that wait or are being written."""
        return len(self._queue) + len(self._writing)

    @property
    def commits(self) -> int:
        """Transactions written."""
        return self._delivery.commits

    @property
    def refused(self) -> int:
        """Rows that the database took in no form; each is an error in the log."""
        return self._delivery.refused

    def start(self) -> None:
        """Begin to write. What was asked for before is not lost."""
        self._task = self._loop.create_task(self._run(), name="ledger")

    def open(self, row: Opening) -> Commit:
        """Write down that an exchange begins; no byte of content may leave before this is committed.

        Returns:
            The commit. It fails with :class:`LedgerUnavailable`, at once while not :attr:`accepting`, else after
            ``open_wait_s``; or with :class:`RowRefused`.
        """
        commit = Commit(True, opening_values(row), (), self._loop.time())
        if not self.accepting or self.pending >= MAX_PENDING:
            commit.decide(_unavailable())
            return commit
        if self._opening_watch is None:
            self._opening_watch = self._loop.call_later(self._settings.open_wait_s, self._look_at_openings)
        self._put(commit)
        return commit

    def progress(self, exchange_id: str, output_so_far_tokens: int) -> None:
        """Note how much of a stream has been relayed, for when its process dies; written with others, in a second."""
        self._progress[exchange_id] = output_so_far_tokens
        if self._progress_watch is None:
            self._progress_watch = self._loop.call_later(PROGRESS_S, self._progress_is_due)

    def close(self, row: Closing) -> Commit:
        """Write down how an exchange ended. The first closing counts; a repeat changes nothing.

        Returns:
            The commit; see :meth:`in_time`. It fails only with :class:`RowRefused`, or after :meth:`aclose`.
        """
        attempts = [attempt_values(attempt) for attempt in row.attempts]
        commit = Commit(False, closing_values(row), attempts, self._loop.time())
        if self._closed:
            commit.decide(_unavailable())
            return commit
        if self._progress:
            self._progress.pop(row.opening.exchange_id, None)
        self._put(commit)
        return commit

    async def in_time(self, commit: Commit) -> bool:
        """Wait for a closing, ``end_wait_s`` at most.

        Returns:
            Whether it is committed. If not, the wait is counted in :attr:`late`, and the row follows.
        """
        if not commit.done:
            try:
                await commit.within(self._settings.end_wait_s)
            except TimeoutError:
                self.late += 1
            except (LedgerUnavailable, RowRefused):
                pass
        return commit.done and commit.error is None

    async def flushed(self) -> None:
        """Wait until nothing waits to be written."""
        await self._idle.wait()

    async def aclose(self, within_s: float) -> int:
        """Write what waits, take nothing more, let go of the database.

        Returns:
            How many rows are not known to be written after so many seconds.
        """
        self.accepting, self._ending = False, True
        if not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self.flushed()
        self._closed = True
        for timer in (self._opening_watch, self._progress_watch):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._writer.aclose()
        left = [commit for commit in chain(self._writing, self._queue) if commit.values]
        for commit in left:
            commit.decide(_unavailable())
        if left:
            log.error("the ledger ends with %d rows unwritten", len(left))
        return len(left)

    def _put(self, commit: Commit) -> None:
        self._queue.append(commit)
        self._idle.clear()
        self._work.set()

    def _progress_is_due(self) -> None:
        self._progress_watch = None
        self._progress_due = True
        self._work.set()

    def _look_at_openings(self) -> None:
        """Fail the openings that have waited too long; come back when the next one will have."""
        self._opening_watch = None
        patience_s = self._settings.open_wait_s
        now_s = self._loop.time()
        for commit in chain(self._writing, self._queue):
            if not commit.opens or commit.done:
                continue
            left_s = commit.at_s + patience_s - now_s
            if left_s > 0:
                self._opening_watch = self._loop.call_later(max(left_s, LEAST_WATCH_S), self._look_at_openings)
                break
            commit.decide(_unavailable())
            self._stop_accepting()

    async def _run(self) -> None:
        started_s = -PACE_S
        while True:
            if not self._queue and not self._progress_due:
                self._idle.set()
                self._work.clear()
                await self._work.wait()
            await asyncio.sleep(started_s + PACE_S - self._loop.time())
            started_s = self._loop.time()
            self._writing = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
            progress = self._take_progress()
            try:
                await self._delivery.write(self._writing, [progress_values(*one) for one in progress])
            except Exception as trouble:
                # Whatever it was, a mistake of ours included: what is kept may yet be written.
                self._queue.extendleft(reversed([commit for commit in self._writing if commit.values]))
                self._writing = []
                self._put_progress_back(progress)
                self._note_failure(trouble)
                await asyncio.sleep(RETRY_S[min(self._failures, len(RETRY_S)) - 1])
            else:
                self._writing = []
                self._note_success()

    def _take_progress(self) -> list[tuple[str, int]]:
        if not self._progress_due:
            return []
        taken = [self._progress.popitem() for _ in range(min(len(self._progress), MAX_GROUP))]
        self._progress_due = bool(self._progress)
        return taken

    def _put_progress_back(self, progress: Iterable[tuple[str, int]]) -> None:
        for exchange_id, tokens in progress:
            self._progress.setdefault(exchange_id, tokens)
            self._progress_due = True

    def _note_failure(self, trouble: Exception) -> None:
        if not self._failures:
            log.warning(
                "the ledger's database does not write: %s", trouble, exc_info=not isinstance(trouble, DatabaseDown)
            )
        self._failures += 1
        # Who would wait in vain need not be asked to.
        if self._queue and self._loop.time() - self._queue[0].at_s >= self._settings.open_wait_s:
            self._stop_accepting()

    def _stop_accepting(self) -> None:
        if self.accepting:
            self.accepting = False
            log.error("the ledger takes no more openings: a row has waited %g s", self._settings.open_wait_s)

    def _note_success(self) -> None:
        if self._failures:
            log.warning("the ledger's database writes again; %d rows wait", len(self._queue))
            self._failures = 0
        if not self.accepting and not self._ending and self._is_prompt():
            self.accepting = True
            log.warning("the ledger takes openings again")

    def _is_prompt(self) -> bool:
        """Whether nothing has waited so long that an opening behind it would wait in vain."""
        return not self._queue or self._loop.time() - self._queue[0].at_s < self._settings.open_wait_s / 2


def _unavailable() -> LedgerUnavailable:
    return LedgerUnavailable("Spending cannot be written down at the moment, so none is allowed. Try again shortly.")
