"""Ledgers for tests: in front of a writer that does as the test says, and on a real database."""

from collections.abc import AsyncIterator

import pytest

from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.commit import Commit
from gateway.stores.sql.database import Database
from gateway.stores.sql.ledger import Ledger
from tests.stores.sql.rows import opening
from tests.stores.sql.scripted_writer import ScriptedWriter

PATIENT = LedgerSettings(open_wait_s=60, end_wait_s=60)
SOON_S = 0.05
"""How long what is to fail is waited for. What is to succeed has no such bound: a machine may be slow."""

HASTY = LedgerSettings(open_wait_s=SOON_S, end_wait_s=SOON_S)


class LedgerScene:
    """A ledger and its writer."""

    def __init__(self, settings: LedgerSettings) -> None:
        self.writer = ScriptedWriter()
        self.seen: list[tuple[float, int]] = []
        self.ledger = Ledger(self.writer, settings, lambda seconds, rows: self.seen.append((seconds, rows)))

    async def begin_writing(self) -> None:
        """Have the writer hold a transaction, so that what is asked for next waits together."""
        self.writer.open.clear()
        self.ledger.open(opening())
        await self.writer.began.wait()


@pytest.fixture
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[LedgerScene]:
    """A ledger that writes; patient, unless the test says otherwise."""
    made = LedgerScene(getattr(request, "param", PATIENT))
    made.ledger.start()
    yield made
    made.writer.open.set()
    made.writer.trouble = None
    await made.ledger.aclose(5)


@pytest.fixture
async def ledger(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Ledger]:
    """A ledger on the test's database; patient, unless the test says otherwise."""
    made = Ledger(database.ledger_writer(), getattr(request, "param", PATIENT))
    made.start()
    yield made
    await made.aclose(5)


async def waited(commit: Commit) -> None:
    """Await a commit, as a coroutine."""
    await commit
