"""The ledger while its database does not write: who is refused, who waits how long, and that nothing is given up."""

import asyncio

import pytest

from gateway.core.ledger import LedgerUnavailable
from gateway.stores.sql.ledger import MAX_GROUP
from gateway.stores.sql.statements import closing_values, opening_values
from tests.stores.sql.ledger_scene import HASTY, SOON_S, LedgerScene, waited
from tests.stores.sql.rows import accepts, closing, opening

hasty = pytest.mark.parametrize("scene", [HASTY], indirect=True)


@hasty
async def test_an_opening_does_not_wait_for_ever(scene: LedgerScene) -> None:
    """It fails after its time, and from then on the next ones fail at once, until writing works again."""
    scene.writer.lock()
    with pytest.raises(LedgerUnavailable):
        await scene.ledger.open(opening())
    assert not accepts(scene.ledger)
    tried = scene.ledger.open(opening())
    assert tried.done
    with pytest.raises(LedgerUnavailable):
        await tried
    assert scene.ledger.pending == 1
    scene.writer.trouble = None
    await scene.ledger.flushed()
    assert accepts(scene.ledger)
    scene.ledger.open(row := opening())
    await scene.ledger.flushed()
    assert scene.writer.rows[-1] == opening_values(row)


@hasty
async def test_a_failed_opening_is_written_before_its_closing_after_all(scene: LedgerScene) -> None:
    """Its request was refused; that it was there is on record."""
    scene.writer.lock()
    first = opening()
    with pytest.raises(LedgerUnavailable):
        await scene.ledger.open(first)
    commit = scene.ledger.close(closing(first, cost_nanousd=0))
    scene.writer.trouble = None
    await commit
    assert scene.writer.rows == [opening_values(first), closing_values(closing(first, cost_nanousd=0))]


@hasty
async def test_an_opening_that_hangs_in_the_database_fails_too(scene: LedgerScene) -> None:
    """The transaction goes on; what it writes is closed by the line as any other."""
    scene.writer.open.clear()
    commits = [scene.ledger.open(opening())]
    await scene.writer.began.wait()
    commits.append(scene.ledger.open(opening()))
    for commit in commits:
        with pytest.raises(LedgerUnavailable):
            await commit
    scene.writer.open.set()
    await scene.ledger.flushed()
    assert len(scene.writer.rows) == 2
    assert accepts(scene.ledger)


@hasty
async def test_it_accepts_again_only_when_what_waited_is_written(scene: LedgerScene) -> None:
    """Behind a long queue an opening would wait in vain."""
    scene.writer.lock()
    first = opening()
    with pytest.raises(LedgerUnavailable):
        await scene.ledger.open(first)
    for _ in range(3 * MAX_GROUP):
        scene.ledger.close(closing(first))
    await asyncio.sleep(SOON_S)  # timed: until the queue is as old as an opening may get
    accepted_early = []

    def looks(_: object) -> bool:
        accepted_early.append(accepts(scene.ledger))
        return False

    scene.writer.refuses = looks
    scene.writer.trouble = None
    await scene.ledger.flushed()
    assert accepts(scene.ledger)
    assert not any(accepted_early)
    assert len(scene.writer.rows) == 1 + 3 * MAX_GROUP


@hasty
async def test_each_opening_has_its_own_time(scene: LedgerScene) -> None:
    """The second is looked for when its own is over."""
    scene.writer.lock()
    first = scene.ledger.open(opening())
    await asyncio.sleep(SOON_S / 2)  # timed: the time between two requests
    second = scene.ledger.open(opening())
    for commit in (first, second):
        with pytest.raises(LedgerUnavailable):
            await commit


@hasty
async def test_nothing_is_begun_while_what_ends_waits_in_vain(scene: LedgerScene) -> None:
    """Though no opening has been tried: the next one need not find out."""
    scene.writer.lock()
    scene.ledger.close(closing(opening()))
    while accepts(scene.ledger):
        scene.writer.began.clear()
        await scene.writer.began.wait()
    assert scene.ledger.open(opening()).done
    scene.writer.trouble = None
    await scene.ledger.flushed()
    assert accepts(scene.ledger)


@pytest.mark.parametrize("trouble", [None, RuntimeError("a bug")])
async def test_closings_are_kept_until_they_can_be_written(
    scene: LedgerScene, trouble: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the trouble, a mistake of ours included; it is told once, and that it is over."""
    scene.writer.lock()
    if trouble is not None:
        scene.writer.trouble = trouble
    rows = [closing(opening()) for _ in range(3)]
    commits = [scene.ledger.close(row) for row in rows]
    while scene.writer.tried < 3:
        scene.writer.began.clear()
        await scene.writer.began.wait()
    assert not any(commit.done for commit in commits)
    scene.writer.trouble = None
    await asyncio.gather(*map(waited, commits))
    assert scene.writer.rows == list(map(closing_values, rows))
    assert caplog.text.count("does not write") == 1
    assert caplog.text.count("writes again") == 1


async def test_a_full_queue_takes_no_openings(scene: LedgerScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be memory without a bound; closings, each of which had one, still find room."""
    monkeypatch.setattr("gateway.stores.sql.ledger.MAX_PENDING", 2)
    await scene.begin_writing()
    assert not scene.ledger.open(opening()).done
    with pytest.raises(LedgerUnavailable):
        await scene.ledger.open(opening())
    assert not scene.ledger.close(closing(opening())).done
    assert scene.ledger.pending == 3


@hasty
async def test_the_end_of_an_answer_waits_no_longer_than_it_may(scene: LedgerScene) -> None:
    """It is counted, and its row follows."""
    scene.writer.lock()
    commit = scene.ledger.close(closing(opening()))
    assert not await scene.ledger.in_time(commit)
    assert scene.ledger.late == 1
    scene.writer.trouble = None
    await commit
    assert await scene.ledger.in_time(commit)
    assert scene.ledger.late == 1
