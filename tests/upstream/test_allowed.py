"""A stream that may relay so many tokens: it stops reading there until it has more, or ends; the same on both ways."""

import gc
import logging
import weakref

import pytest

from gateway.core.outcome import Outcome
from tests.raw_connection import read_boundary
from tests.upstream.ways import BROKEN, ENDING, LONG, WAYS, WORD, Purse, Way, begun, used_up


async def test_what_suffices_is_not_asked_about(way: Way) -> None:
    """Three tokens may come and three come: the answer is whole."""
    purse = Purse()
    relaying = await begun(way, purse)
    for payload in (WORD, WORD, ENDING):
        way.sends(payload)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert (purse.times, way.payload, way.is_closed) == (0, WORD * 3 + ENDING, False)


@pytest.mark.parametrize(
    ("reads", "taken"), [([WORD] * 5, 3), ([WORD * 2] * 5, 2), ([WORD, LONG, WORD], 2), ([WORD[:9], WORD[9:]] * 3, 6)]
)
async def test_nothing_is_read_beyond_it(way: Way, reads: list[bytes], taken: int) -> None:
    """The read that passes it goes out; what comes behind waits at the provider's until there is more."""
    purse = Purse()
    relaying = await begun(way, purse)
    for read in reads:
        way.sends(read)
    await purse.asked()
    await read_boundary()
    assert (way.waiting, way.is_read.is_set()) == (len(reads) - taken, False)
    assert way.payload == WORD + b"".join(reads[:taken])
    assert way.stream.at_event_boundary
    purse.answers(1000)
    way.sends(ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert (purse.times, way.payload) == (1, WORD + b"".join(reads) + ENDING)


@pytest.mark.parametrize("answer", [None, 3, 2, 0])
async def test_a_no_ends_the_stream(way: Way, answer: int | None) -> None:
    """No more than before is a no, too. Upstream is closed, and an event of ours may follow what has gone."""
    purse = Purse()
    relaying = await used_up(way, purse)
    way.sends(WORD + ENDING)
    purse.answers(answer)
    assert await relaying is Outcome.BUDGET_CUT
    assert (purse.times, way.is_closed, way.payload) == (1, True, WORD * 4)
    assert way.stream.at_event_boundary
    assert not way.stream.detach(1000, 60.0)


async def test_a_failure_to_answer_is_a_no(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """And it is not lost."""
    purse = Purse()
    relaying = await used_up(way, purse)
    with caplog.at_level(logging.ERROR, logger="gateway"):
        purse.fails(OSError("the store is away"))
        assert await relaying is Outcome.BUDGET_CUT
    assert way.is_closed
    assert "the store is away" in caplog.text


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (LONG + ENDING, Outcome.SUCCESS),
        (WORD * 9 + ENDING, Outcome.SUCCESS),
        (WORD * 9 + BROKEN, Outcome.STREAM_ERROR),
    ],
)
async def test_an_end_in_the_read_that_passes(way: Way, read: bytes, outcome: Outcome) -> None:
    """All of it is here, so nobody is asked for what it costs."""
    purse = Purse()
    relaying = await begun(way, purse)
    way.sends(read)
    way.ends()
    assert await relaying is outcome
    assert (purse.times, way.payload) == (0, WORD + read)


async def test_an_end_in_the_first_read(way: Way) -> None:
    """The whole answer came with its head, before anybody said how much might come."""
    purse = Purse()
    relaying = await begun(way, purse, first=WORD * 9 + ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert (purse.times, way.payload) == (0, WORD * 9 + ENDING)


async def test_more_at_the_beginning_than_may_come(way: Way) -> None:
    """It has been read, so it goes out; the next read is paid for first."""
    purse = Purse()
    relaying = await begun(way, purse, first=WORD * 9)
    way.sends(WORD)
    await purse.asked()
    await read_boundary()
    assert (way.payload, way.waiting) == (WORD * 9, 1)
    purse.answers(10)
    way.sends(ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert purse.times == 1


async def test_several_steps_for_one_read(way: Way) -> None:
    """Asked as often as it takes, and nothing is read between."""
    purse = Purse(6, 9)
    relaying = await begun(way, purse)
    way.sends(WORD * 10)
    way.sends(WORD + ENDING)
    way.ends()
    await purse.asked()
    assert (purse.times, way.payload) == (3, WORD * 11)
    assert not way.is_read.is_set()
    purse.answers(12)
    assert await relaying is Outcome.SUCCESS
    assert purse.times == 3


async def test_a_long_answer_in_steps(way: Way) -> None:
    """One question for each step, each at the first token behind it."""
    purse = Purse(*range(20, 101, 10))
    relaying = await begun(way, purse, 10)
    for number in range(2, 101):
        way.sends(WORD)
        await read_boundary()
        await way.is_read.wait()
        assert purse.times == (number - 1) // 10
    way.sends(ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert way.payload == WORD * 100 + ENDING


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("is_cut", [True, False])
async def test_nothing_keeps_itself(name: str, is_cut: bool) -> None:
    """Whoever is asked may know the stream; without the garbage collector both go."""

    class Exchange:
        """What the line keeps of it all."""

        def __init__(self) -> None:
            self.way = WAYS[name]()

        async def more(self) -> int | None:
            return None

    exchange = Exchange()
    exchange.way.sends(WORD)
    await exchange.way.stream.first()
    exchange.way.stream.allow(0 if is_cut else 100, exchange.more)
    await exchange.way.begin()
    if is_cut:
        assert await exchange.way.stream.ended() is Outcome.BUDGET_CUT
    exchange.way.stream.abort()
    gone = weakref.ref(exchange)
    gc.disable()
    try:
        del exchange
        assert gone() is None
    finally:
        gc.enable()
