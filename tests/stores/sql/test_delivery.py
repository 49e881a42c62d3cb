"""Groups on their way in: one transaction, and where one row is refused, all the others."""

import pytest

from gateway.core.ledger import RowRefused
from gateway.stores.sql.commit import Commit
from gateway.stores.sql.delivery import Delivery
from gateway.stores.sql.group import DatabaseDown
from tests.stores.sql.scripted_writer import ScriptedWriter


class Scene:
    """A delivery to a scripted writer, and what it was observed to do."""

    def __init__(self) -> None:
        self.writer = ScriptedWriter()
        self.seen: list[tuple[float, int]] = []
        self.delivery = Delivery(self.writer, lambda: 10.0, lambda seconds, rows: self.seen.append((seconds, rows)))


@pytest.fixture
async def scene() -> Scene:
    """A delivery whose clock stands at 10 s."""
    return Scene()


def commits(*names: str, opens: bool = True) -> list[Commit]:
    """One for each name, asked for at 9.5 s, each with an attempt."""
    return [Commit(opens, (name,), [(name, 1)], 9.5) for name in names]


async def test_a_group_is_one_transaction(scene: Scene) -> None:
    """It is told how it went, counted, and measured from its oldest row."""
    group = [*commits("a", "b"), *commits("c", opens=False)]
    await scene.delivery.write(group, [(5, "d")])
    (written,) = scene.writer.written
    assert written.openings == [("a",), ("b",)]
    assert written.closings == [("c",)]
    assert written.progress == [(5, "d")]
    assert written.attempts == [("a", 1), ("b", 1), ("c", 1)]
    assert all(commit.done and commit.error is None and not commit.values for commit in group)
    assert (scene.delivery.commits, scene.seen) == (1, [(0.5, 3)])


async def test_progress_alone_is_written_too(scene: Scene) -> None:
    """And measured by nobody: no request waits for it."""
    await scene.delivery.write([], [(5, "d")])
    assert scene.writer.written[0].progress == [(5, "d")]
    assert scene.seen == []


@pytest.mark.parametrize("bad", ["a", "d", "g"])
async def test_a_refused_row_is_alone(scene: Scene, bad: str) -> None:
    """All others are written, in their order, in few transactions."""
    scene.writer.refuses = lambda row: row[0] == bad
    group = commits(*"abcdefg")
    await scene.delivery.write(group)
    assert scene.writer.rows == [(name,) for name in "abcdefg" if name != bad]
    assert [commit.values for commit in group] == [()] * 7
    refused = group["abcdefg".index(bad)]
    with pytest.raises(RowRefused):
        await refused
    assert [commit.error for commit in group if commit is not refused] == [None] * 6
    assert scene.delivery.refused == 1
    assert scene.writer.tried <= 7


async def test_a_refused_row_is_written_plainly(scene: Scene) -> None:
    """Its figures are worth more than its wording."""
    scene.writer.refuses = lambda row: "\0" in str(row[0])
    group = [*commits("a"), Commit(False, ("b\0", 7), [("b\0", 1)], 9.5)]
    await scene.delivery.write(group)
    assert scene.writer.rows == [("a",), ("b?", 7)]
    assert scene.writer.written[-1].attempts == [("b?", 1)]
    assert [commit.error for commit in group] == [None, None]
    assert scene.delivery.refused == 0


async def test_trouble_in_the_middle_loses_nothing(scene: Scene) -> None:
    """What is written has no values any more; what has values is still to be written."""

    def refuses(row: tuple[object, ...]) -> bool:
        if row[0] == "c" and scene.writer.written:
            scene.writer.lock()
        return row[0] == "d"

    scene.writer.refuses = refuses
    group = commits(*"abcd")
    with pytest.raises(DatabaseDown):
        await scene.delivery.write(group)
    assert scene.writer.rows == [("a",), ("b",)]
    assert [commit.done for commit in group] == [True, True, False, False]
    assert [commit.values for commit in group] == [(), (), ("c",), ("d",)]


async def test_a_refused_row_is_logged_without_its_content(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """It may hold anything."""
    scene.writer.refuses = lambda _: True
    await scene.delivery.write(commits("secret"))
    assert "refuses a row" in caplog.text
    assert "secret" not in caplog.text
