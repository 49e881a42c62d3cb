"""While a stream waits for more tokens: whoever leaves, ends, breaks off or falls behind meanwhile, on both ways."""

import asyncio

import pytest

from gateway.core.outcome import Outcome
from gateway.upstream.stream import StreamLimits
from tests.raw_connection import read_boundary
from tests.upstream.ways import ENDING, LIMITS, WAYS, WORD, Purse, SplicedWay, Way, begun, relay, used_up
from tests.upstream_script import chunk


async def test_a_pause_is_nobodys_silence(way: Way) -> None:
    """Neither the provider's, however long it takes, nor the client's."""
    purse = Purse()
    relaying = await used_up(way, purse)
    way.clock.now = 1000.0
    assert not way.stream.is_stalled(way.clock.now)
    purse.answers(1000)
    await way.is_read.wait()
    assert not way.stream.is_stalled(1000.0 + LIMITS.stall_s)
    assert way.stream.is_stalled(1000.1 + LIMITS.stall_s)
    assert way.stream.slow_s == []
    way.sends(WORD + ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert way.stream.gaps.sum == 0.0, "the pause is no gap between two chunks"


async def test_a_client_that_leaves_while_more_is_asked_for(way: Way) -> None:
    """Whoever is being asked learns of it, and is gone when the line is."""
    purse = Purse()
    relaying = await used_up(way, purse)
    relaying.cancel()
    await asyncio.wait([relaying])
    assert relaying.cancelled()
    assert purse.cancelled.is_set()
    assert (way.stream.outcome, way.is_closed) == (None, False), "what becomes of upstream is for the line to say"


@pytest.mark.parametrize("outcome", [Outcome.DRAINING, Outcome.DEADLINE_EXCEEDED])
async def test_an_end_from_our_side_waits_for_no_answer(
    way: Way, outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    """The store may take its time; that it was not waited for is no failure of it."""
    purse = Purse()
    relaying = await used_up(way, purse)
    way.stream.fail(outcome)
    assert await relaying is outcome
    assert purse.cancelled.is_set()
    assert way.is_closed
    assert caplog.text == ""


@pytest.mark.parametrize("granted", [True, False])
async def test_an_end_from_our_side_beside_the_answer(way: Way, granted: bool) -> None:
    """In the same turn of the loop: the end holds, whatever the answer."""
    purse = Purse()
    relaying = await used_up(way, purse)
    purse.answers(1000 if granted else None)
    way.stream.fail(Outcome.DRAINING)
    assert await relaying is Outcome.DRAINING


async def test_a_provider_that_breaks_off_meanwhile(way: Way) -> None:
    """It is the provider's failure, whether it is known at once or once reading goes on."""
    purse = Purse()
    relaying = await used_up(way, purse)
    way.breaks()
    if isinstance(way, SplicedWay):
        assert await relaying is Outcome.TRUNCATED
        assert purse.cancelled.is_set()
    else:
        purse.answers(1000)
        assert await relaying is Outcome.TRUNCATED


async def test_a_provider_that_ends_meanwhile(way: Way) -> None:
    """Its end waits to be read, and is whole."""
    purse = Purse()
    relaying = await used_up(way, purse)
    way.sends(ENDING)
    way.ends()
    purse.answers(1000)
    assert await relaying is Outcome.SUCCESS
    assert (way.payload, way.is_closed) == (WORD * 4 + ENDING, False)


async def test_a_client_that_is_slow_at_the_end_of_its_allowance(way: Way) -> None:
    """It takes what it has first; then there is more to ask for. Reading goes on after both."""
    purse = Purse()
    relaying = await begun(way, purse)
    way.client_stops()
    way.sends(WORD * 3)
    way.sends(WORD)
    await read_boundary()
    assert (purse.times, way.waiting) == (0, 1)
    way.client_reads_on()
    await purse.asked()
    assert (way.waiting, way.is_read.is_set()) == (1, False)
    purse.answers(1000)
    way.sends(ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS
    assert way.payload == WORD * 5 + ENDING


@pytest.mark.parametrize("name", WAYS)
async def test_a_client_that_takes_nothing_costs_nothing_more(name: str) -> None:
    """It is given up, and nobody is asked for its next tokens."""
    way, purse = WAYS[name](StreamLimits(stall_s=10, write_timeout_s=0.02)), Purse()
    relaying = await begun(way, purse)
    way.client_stops()
    way.sends(WORD * 9)
    assert await relaying is Outcome.CLIENT_CLOSED
    assert purse.times == 0
    way.stream.abort()


async def test_a_client_that_falls_behind_while_more_is_asked_for() -> None:
    """By a keep-alive, say: the answer alone does not make upstream be read."""
    way, purse = SplicedWay(), Purse()
    relaying = await used_up(way, purse)
    way.client_stops()
    way.client.write(chunk(b": keep-alive\n\n").wire)
    purse.answers(1000)
    await read_boundary()
    await read_boundary()
    assert not way.is_read.is_set()
    way.client_reads_on()
    await way.is_read.wait()
    way.sends(ENDING)
    way.ends()
    assert await relaying is Outcome.SUCCESS


@pytest.mark.parametrize("closing", [True, False])
async def test_what_comes_in_spite_of_the_pause(closing: bool) -> None:
    """A transport may have it already: it goes out, it counts, and with the end in it nobody needs to answer."""
    way, purse = SplicedWay(), Purse()
    relaying = await used_up(way, purse)
    way.slips_through(chunk(WORD).wire)
    way.slips_through(chunk(WORD * 5).wire)
    assert way.payload == WORD * 10
    if not closing:
        purse.answers(9)
        await purse.asked()
        assert not way.is_read.is_set()
    way.slips_through(chunk(ENDING).wire)
    way.ends()
    way.slips_through(b"0\r\n\r\n")
    assert await relaying is Outcome.SUCCESS
    assert purse.cancelled.is_set()
    assert (way.payload, way.calls) == (WORD * 10 + ENDING, ["given back"])


@pytest.mark.parametrize("waits", [True, False])
async def test_a_client_that_left_has_another_allowance(way: Way, waits: bool) -> None:
    """Its own does not hold any more, used up or not: so many tokens behind its leaving, and nobody is asked."""
    purse = Purse()
    relaying = await (used_up(way, purse) if waits else begun(way, purse))
    relaying.cancel()
    await asyncio.wait([relaying])
    heard, events, asked = way.payload, way.stream.events, purse.times
    way.clock.now = 1000.0
    way.stream.last_at = 1000.0 if not waits else way.stream.last_at
    assert way.stream.detach(20, 60.0)
    assert not way.stream.is_stalled(1000.0 + LIMITS.stall_s)
    reading = asyncio.create_task(relay(way))
    for number in range(1, 22):
        assert way.stream.outcome is None
        way.sends(WORD)
        await read_boundary()
        assert way.stream.events == events + number
    assert await reading is Outcome.CLIENT_CLOSED
    assert (way.is_closed, way.payload, purse.times) == (True, heard, asked)
