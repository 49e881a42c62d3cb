"""The ledger over a writer that does as the test says: groups, order, progress, ends of answers and of the process."""

import asyncio

import pytest

from gateway.core.ledger import LedgerUnavailable, RowRefused
from gateway.stores.sql.ledger import MAX_GROUP
from gateway.stores.sql.statements import closing_values, opening_values
from tests.raw_connection import read_boundary
from tests.stores.sql.ledger_scene import PATIENT, LedgerScene, waited
from tests.stores.sql.rows import accepts, closing, opening


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is written soon."""
    monkeypatch.setattr("gateway.stores.sql.ledger.PROGRESS_S", 0.01)


async def test_a_row_waits_for_one_commit(scene: LedgerScene) -> None:
    """Asked for, it is pending; committed, it is done, and costs nothing to ask."""
    first = opening()
    commit = scene.ledger.open(first)
    assert (commit.done, scene.ledger.pending) == (False, 1)
    await commit
    assert (commit.done, scene.ledger.pending, scene.ledger.commits) == (True, 0, 1)
    assert scene.writer.rows == [opening_values(first)]
    ((seconds, rows),) = scene.seen
    assert rows == 1
    assert 0 <= seconds < 60


async def test_whatever_waits_is_one_transaction(scene: LedgerScene) -> None:
    """And what comes meanwhile is the next one."""
    await scene.begin_writing()
    commits = [scene.ledger.open(opening()) for _ in range(20)] + [scene.ledger.close(closing(opening()))]
    assert scene.ledger.pending == 22
    scene.writer.open.set()
    await asyncio.gather(*map(waited, commits))
    first, second = scene.writer.written
    assert len(first.openings) == 1
    assert (len(second.openings), len(second.closings), len(second.attempts)) == (20, 1, 2)


async def test_a_transaction_is_bounded(scene: LedgerScene) -> None:
    """The rest is the next one's, in the order of asking."""
    await scene.begin_writing()
    rows = [opening() for _ in range(MAX_GROUP + 3)]
    commits = [scene.ledger.open(row) for row in rows]
    scene.writer.open.set()
    await asyncio.gather(*map(waited, commits))
    assert [len(group.openings) for group in scene.writer.written] == [1, MAX_GROUP, 3]
    assert scene.writer.rows[1:] == list(map(opening_values, rows))


async def test_a_closing_never_comes_before_its_opening(scene: LedgerScene) -> None:
    """Though the one before the two fails, and they are tried again."""
    scene.writer.lock()
    pairs = [(row, closing(row)) for row in (opening() for _ in range(5))]
    for first, whole in pairs:
        scene.ledger.open(first)
        scene.ledger.close(whole)
    await scene.writer.began.wait()
    late = opening()
    scene.ledger.open(late)
    scene.writer.trouble = None
    await scene.ledger.close(closing(late))
    place = {row: place for place, row in enumerate(scene.writer.rows)}
    for first, whole in [*pairs, (late, closing(late))]:
        assert place[opening_values(first)] < place[closing_values(whole)]
    assert len(place) == 12


async def test_who_stops_waiting_stops_nothing(scene: LedgerScene) -> None:
    """The row of a request that was cancelled is written all the same."""
    scene.writer.open.clear()
    commit = scene.ledger.open(opening())
    task = asyncio.create_task(waited(commit))
    await scene.writer.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    scene.writer.open.set()
    await commit
    assert len(scene.writer.rows) == 1


@pytest.mark.usefixtures("_soon")
async def test_progress_is_written_with_others_and_only_the_last(scene: LedgerScene) -> None:
    """By itself within a second; it is a hint for orphans, no request waits for it."""
    for tokens in range(10):
        scene.ledger.progress("a", tokens)
    scene.ledger.progress("b", 3)
    await scene.writer.began.wait()
    await read_boundary()
    (group,) = scene.writer.written
    assert sorted(group.progress, key=str) == [(3, "b"), (9, "a")]


@pytest.mark.usefixtures("_soon")
async def test_progress_of_what_has_ended_is_forgotten(scene: LedgerScene) -> None:
    """It would change nothing."""
    whole = closing(opening())
    scene.ledger.progress(whole.opening.exchange_id, 10)
    scene.ledger.progress("b", 3)
    await scene.ledger.close(whole)
    while not (written := [one for group in scene.writer.written for one in group.progress]):
        scene.writer.began.clear()
        await scene.writer.began.wait()
    assert written == [(3, "b")]


@pytest.mark.usefixtures("_soon")
async def test_progress_survives_a_failure(scene: LedgerScene) -> None:
    """Unless there is newer, said while it failed."""
    scene.writer.open.clear()
    scene.writer.lock()
    scene.ledger.progress("a", 1)
    scene.ledger.progress("b", 1)
    await scene.writer.began.wait()
    scene.ledger.progress("b", 2)
    tried = scene.writer.tried
    scene.writer.open.set()
    while scene.writer.tried == tried:
        scene.writer.began.clear()
        await scene.writer.began.wait()
    scene.writer.trouble = None
    await scene.ledger.open(opening())
    assert sorted(scene.writer.written[0].progress, key=str) == [(1, "a"), (2, "b")]


async def test_the_end_of_an_answer_waits_for_its_row(scene: LedgerScene) -> None:
    """As long as it takes, if that is not long."""
    scene.writer.open.clear()
    waiting = asyncio.create_task(scene.ledger.in_time(scene.ledger.close(closing(opening()))))
    await scene.writer.began.wait()
    assert not waiting.done()
    scene.writer.open.set()
    assert await waiting
    assert scene.ledger.late == 0


async def test_a_row_that_no_database_takes_keeps_nobody_up(scene: LedgerScene) -> None:
    """Neither the others nor the end of its own answer; and it is no late one."""
    scene.writer.refuses = lambda row: "refused" in row
    bad = scene.ledger.close(closing(opening(), provider="refused"))
    good = scene.ledger.close(closing(opening()))
    assert not await scene.ledger.in_time(bad)
    await good
    with pytest.raises(RowRefused):
        await bad
    assert (scene.ledger.late, scene.ledger.refused) == (0, 1)


async def test_ends_with_everything_written(scene: LedgerScene) -> None:
    """What waits is written first, and the writer goes."""
    commits = [scene.ledger.open(opening()), scene.ledger.close(closing(opening()))]
    assert await scene.ledger.aclose(5) == 0
    assert all(commit.done and commit.error is None for commit in commits)
    assert scene.writer.closed


async def test_takes_closings_but_no_openings_while_it_ends(scene: LedgerScene) -> None:
    """The last answers end then."""
    await scene.begin_writing()
    ending = asyncio.create_task(scene.ledger.aclose(5))
    await read_boundary()
    with pytest.raises(LedgerUnavailable):
        await scene.ledger.open(opening())
    commit = scene.ledger.close(closing(opening()))
    scene.writer.open.set()
    assert await ending == 0
    await commit
    assert not accepts(scene.ledger)


@pytest.mark.parametrize("hangs", [True, False])
async def test_ends_in_time_and_says_how_much_it_could_not_write(scene: LedgerScene, hangs: bool) -> None:
    """Whether the database hangs or fails; whoever still waits is told."""
    scene.writer.lock()
    if hangs:
        scene.writer.open.clear()
    commits = [scene.ledger.open(opening()), scene.ledger.close(closing(opening()))]
    await scene.writer.began.wait()
    commits.append(scene.ledger.close(closing(opening())))
    assert await scene.ledger.aclose(0.05) == 3
    for commit in commits:
        with pytest.raises(LedgerUnavailable):
            await commit
    with pytest.raises(LedgerUnavailable):
        await scene.ledger.close(closing(opening()))


async def test_ends_twice_and_unbegun() -> None:
    """The second time changes nothing; without a beginning what was asked for is not written."""
    scene = LedgerScene(PATIENT)
    commit = scene.ledger.open(opening())
    assert await scene.ledger.aclose(0) == 1
    assert await scene.ledger.aclose(60) == 1
    assert commit.done
