"""What any writer of groups promises, on SQLite and on PostgreSQL: all or nothing, in order, and twice is once."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.stores.sql.database import Database
from gateway.stores.sql.group import Group, GroupWriter, ValuesRefused
from gateway.stores.sql.statements import attempt_values, closing_values, opening_values, progress_values
from tests.stores.sql.rows import as_found, attempts_in, closing, exchanges_in, opening


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[GroupWriter]:
    """A writer of the test's database."""
    made = database.ledger_writer()
    yield made
    await made.aclose()


async def test_writes_every_kind_of_row(database: Database, writer: GroupWriter) -> None:
    """One that begins, one that has got so far, one that ends, with its attempts."""
    begun, streaming = opening(), opening(tags='{"team":"red"}')
    ended = closing(opening())
    await writer.write(
        Group(
            openings=[opening_values(begun), opening_values(streaming)],
            progress=[progress_values(streaming.exchange_id, 77)],
            closings=[closing_values(ended)],
            attempts=[attempt_values(one) for one in ended.attempts],
        )
    )
    assert await exchanges_in(database) == {
        begun.exchange_id: as_found(begun),
        streaming.exchange_id: as_found(streaming) | {"output_so_far_tokens": 77},
        ended.opening.exchange_id: as_found(ended),
    }
    near, far = await attempts_in(database)
    first = ended.opening
    assert near == (first.exchange_id, 1, "near", "gpt-1", "provider_error", first.opened_at_us, near[6], 0, "none")
    assert far == (first.exchange_id, 2, "far", "gpt-1", "success", first.opened_at_us, far[6], 12_345, "reported")


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_closing_makes_an_open_row_whole(database: Database, writer: GroupWriter, at_once: bool) -> None:
    """In the transaction of its opening or in a later one."""
    first = opening(tags='{"team":"red"}')
    whole = closing(first)
    group = Group(openings=[opening_values(first)], closings=[closing_values(whole)])
    if not at_once:
        await writer.write(Group(openings=group.openings))
        group = Group(closings=group.closings)
    await writer.write(group)
    assert await exchanges_in(database) == {first.exchange_id: as_found(whole)}


async def test_a_repeat_changes_nothing(database: Database, writer: GroupWriter) -> None:
    """An opening after its closing, a second closing, progress of what has ended, attempts once more."""
    first = opening()
    whole = closing(first)
    group = Group(
        openings=[opening_values(first)],
        closings=[closing_values(whole)],
        attempts=[attempt_values(one) for one in whole.attempts],
    )
    await writer.write(group)
    before = await exchanges_in(database), await attempts_in(database)
    dearer = closing(first, cost_nanousd=99)
    await writer.write(
        Group(
            openings=[opening_values(first), opening_values(first)],
            progress=[progress_values(first.exchange_id, 77)],
            closings=[closing_values(dearer), closing_values(whole), closing_values(dearer)],
            attempts=[attempt_values(one) for one in dearer.attempts],
        )
    )
    assert (await exchanges_in(database), await attempts_in(database)) == before


@pytest.mark.parametrize("bad", ["openings", "closings", "attempts"])
async def test_writes_all_of_a_group_or_nothing(database: Database, writer: GroupWriter, bad: str) -> None:
    """One row that no column holds, and the others wait for a better group."""
    good, whole = opening(), closing(opening())
    rows = {
        "openings": [opening_values(good)],
        "closings": [closing_values(whole)],
        "attempts": [attempt_values(one) for one in whole.attempts],
    }
    worse = {
        "openings": opening_values(opening(hold_nanousd=2**70)),
        "closings": closing_values(closing(opening(), cost_nanousd=2**70)),
        "attempts": attempt_values(replace(whole.attempts[0], cost_nanousd=2**70)),
    }
    with pytest.raises(ValuesRefused):
        await writer.write(Group(**{**rows, bad: [*rows[bad], worse[bad]]}))
    assert (await exchanges_in(database), await attempts_in(database)) == ({}, [])
    await writer.write(Group(**rows))
    assert set(await exchanges_in(database)) == {good.exchange_id, whole.opening.exchange_id}
    assert len(await attempts_in(database)) == 2


@pytest.mark.parametrize(
    "change",
    [{"tenant_id": None}, {"hold_nanousd": 2**63}, {"request_id": "\ud800"}, {"price": object()}],
    ids=["missing", "too large", "half a character", "no value at all"],
)
async def test_tells_bad_values_from_a_bad_database(writer: GroupWriter, change: dict[str, object]) -> None:
    """The rows are to be tried one by one, not again and again."""
    with pytest.raises(ValuesRefused):
        await writer.write(Group(openings=[opening_values(opening(**change))]))


async def test_ends_without_having_begun(database: Database) -> None:
    """A gateway that served nobody."""
    await database.ledger_writer().aclose()


async def test_writes_again_after_its_end(writer: GroupWriter, database: Database) -> None:
    """It connects anew."""
    await writer.aclose()
    await writer.write(Group(openings=[opening_values(opening())]))
    await writer.aclose()
    await writer.aclose()
    assert len(await exchanges_in(database)) == 1
