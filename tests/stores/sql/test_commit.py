"""A row on its way: decided once, awaited by any number, and none of them keeps it from being written."""

import asyncio

import pytest

from gateway.core.ledger import LedgerUnavailable
from gateway.stores.sql.commit import Commit
from tests.raw_connection import read_boundary


def commit() -> Commit:
    return Commit(True, ("x",), (), 0.0)


async def waiting(for_what: Commit) -> asyncio.Task[None]:
    """A task that awaits a commit already."""

    async def wait() -> None:
        await for_what

    task = asyncio.create_task(wait())
    await read_boundary()
    return task


async def test_waits_until_it_is_decided() -> None:
    """Everybody who waits goes on then, and who asks later need not wait."""
    row = commit()
    tasks = [await waiting(row), await waiting(row)]
    assert [row.done, *(task.done() for task in tasks)] == [False] * 3
    row.decide()
    assert row.done
    await asyncio.gather(*tasks)
    await row


async def test_raises_what_kept_the_row_out() -> None:
    """To everybody who asks."""
    row = commit()
    task = await waiting(row)
    row.decide(LedgerUnavailable("no"))
    for one in (task, waiting(row)):
        with pytest.raises(LedgerUnavailable, match="no"):
            await (one if isinstance(one, asyncio.Task) else await one)


async def test_the_first_word_counts() -> None:
    """An opening that was refused and is written after all stays refused: its request is gone."""
    row = commit()
    row.decide(LedgerUnavailable("late"))
    row.decide()
    assert isinstance(row.error, LedgerUnavailable)
    row = commit()
    row.decide()
    row.decide(LedgerUnavailable("late"))
    assert row.error is None


async def test_who_is_cancelled_takes_nobody_along() -> None:
    """Neither the commit nor the others who wait for it."""
    row = commit()
    leaver, stayer = await waiting(row), await waiting(row)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert not row.done
    assert not stayer.done()
    row.decide()
    await stayer


async def test_who_is_cancelled_in_the_turn_of_the_decision_breaks_nothing() -> None:
    """Its future is cancelled when the decision comes."""
    row = commit()
    leaver = await waiting(row)
    leaver.cancel()
    row.decide()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert row.error is None


async def test_a_bounded_wait_ends_as_any_other() -> None:
    """At the decision, whatever it is; and at once where that has come already."""
    good, bad = commit(), commit()
    tasks = [asyncio.create_task(row.within(60)) for row in (good, bad)]
    await read_boundary()
    assert not any(task.done() for task in tasks)
    good.decide()
    bad.decide(LedgerUnavailable("no"))
    await tasks[0]
    with pytest.raises(LedgerUnavailable, match="no"):
        await tasks[1]
    await good.within(0)
    with pytest.raises(LedgerUnavailable, match="no"):
        await bad.within(0)


async def test_a_bounded_wait_ends_when_its_time_is_over() -> None:
    """That decides nothing: the row may yet come, and others wait on."""
    row = commit()
    other = await waiting(row)
    with pytest.raises(TimeoutError):
        await row.within(0)
    assert not row.done
    assert not other.done()
    row.decide()
    await other
    await row.within(0)


async def test_a_bounded_wait_that_is_cancelled_takes_nobody_along() -> None:
    """Its timer and its place among those who wait go with it."""
    row = commit()
    leaver, stayer = asyncio.create_task(row.within(60)), await waiting(row)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert not stayer.done()
    row.decide()
    await stayer
