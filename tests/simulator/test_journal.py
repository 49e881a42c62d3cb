"""The journal is bounded, counts each ending once, and wakes whoever waits."""

import asyncio

from gateway.simulator.journal import Ended, Journal


def test_it_keeps_the_last_and_counts_all() -> None:
    """Old entries go, totals stay."""
    now = iter(range(100))
    journal = Journal(2, lambda: next(now))
    for name in "abc":
        entry = journal.begin(name, "/v1/messages")
        entry.tokens = 5
        journal.end(entry, Ended.COMPLETE)
    document = journal.document()
    assert [entry["id"] for entry in document["recent"]] == ["b", "c"]
    assert (document["requests"], document["tokens"], document["open"]) == (3, 15, 0)
    assert document["recent"][-1]["started_s"] == 5
    assert document["recent"][-1]["ended_s"] == 6


def test_only_the_first_ending_counts() -> None:
    """A request cannot end twice."""
    journal = Journal(9, lambda: 0.0)
    entry = journal.begin("a", "/")
    journal.end(entry, Ended.CLIENT_LEFT)
    journal.end(entry, Ended.COMPLETE)
    assert entry.ended is Ended.CLIENT_LEFT
    assert journal.open == 0


class Requests:
    """A condition: so many requests have come. ``asked`` is set each time that the journal asks."""

    def __init__(self, wanted: int) -> None:
        self.asked = asyncio.Event()
        self._wanted = wanted

    def __call__(self, journal: Journal) -> bool:
        self.asked.set()
        return journal.requests == self._wanted


async def test_waiting_for_a_change() -> None:
    """A waiter is asked again at each change until its condition holds, and one that gives up disturbs nobody."""
    journal = Journal(9, lambda: 0.0)
    await journal.until(lambda j: j.requests == 0)
    two, nine = Requests(2), Requests(9)
    waiting = asyncio.ensure_future(journal.until(two))
    impatient = asyncio.ensure_future(journal.until(nine))
    await two.asked.wait()
    await nine.asked.wait()
    impatient.cancel()
    two.asked.clear()
    journal.begin("a", "/")
    await two.asked.wait()
    assert not waiting.done()
    journal.begin("b", "/")
    await waiting
    assert impatient.cancelled()
