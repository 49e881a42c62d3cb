"""A process that keeps a ledger until it is killed, and says what was promised to it.

Run as ``python -m tests.stores.sql.writing_process VERB URL``. Verbs: ``open`` opens the database and ends; ``write``
writes exchanges for ever; ``fill`` writes until its file may not grow, goes on in vain, gets room, and ends well.
"""

import asyncio
import os
import resource
import signal
import sys
import time
from pathlib import Path

from gateway.core.ledger import LedgerUnavailable
from gateway.stores.settings import LedgerSettings
from gateway.stores.sql.address import SqliteAddress, read_address
from gateway.stores.sql.database import Database, open_database
from gateway.stores.sql.ledger import Ledger
from tests.stores.sql.rows import accepts, closing, opening

WRITERS = 8
ROOM_BYTES = 64 * 1024


def say(*words: object) -> None:
    """Write a line at once: what was said is known to have happened, whatever comes next."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def write_for_ever(ledger: Ledger, instance_id: str) -> None:
    """Open, progress, close; each is said when it is committed, and progress when it is asked for."""
    while True:
        row = opening(instance_id=instance_id, opened_at_us=time.time_ns() // 1000)
        await ledger.open(row)
        say("opened", row.exchange_id)
        ledger.progress(row.exchange_id, 5)
        whole = closing(row, cost_nanousd=int(row.exchange_id[-4:], 16))
        await ledger.close(whole)
        say("closed", row.exchange_id, whole.cost_nanousd)


async def fill(ledger: Ledger, path: Path) -> None:
    """Come to the end of the disk, and past it. A limit of the process stands for the disk's."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(file.stat().st_size for file in path.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + ROOM_BYTES, most))
    running = []
    while True:
        row = opening()
        try:
            await ledger.open(row)
        except LedgerUnavailable:
            running.append(row)
            break
        running.append(row)
    assert not accepts(ledger)
    say("refused", ledger.open(opening()).done)
    commits = [ledger.close(closing(row, cost_nanousd=1)) for row in running]
    say("late", not await ledger.in_time(commits[-1]), ledger.late)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    for commit in commits:
        await commit
    await ledger.flushed()
    assert accepts(ledger)
    ledger.open(opening())
    await ledger.flushed()
    say("settled", len(commits), ledger.refused)


async def main(verb: str, url: str) -> None:
    address = read_address(url)
    database: Database = await open_database(address)
    say("ready")
    if verb != "open":
        patience = LedgerSettings(open_wait_s=1 if verb == "fill" else 60, end_wait_s=0.1)
        ledger = Ledger(database.ledger_writer(), patience)
        ledger.start()
        if verb == "write":
            await asyncio.gather(*(write_for_ever(ledger, f"process-{os.getpid()}") for _ in range(WRITERS)))
        elif isinstance(address, SqliteAddress):
            await fill(ledger, address.path)
        await ledger.aclose(5)
    await database.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
