"""Streams read on after their clients: which ones, for how long, and that each is settled once, whatever ends it."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.core.outcome import Outcome
from gateway.core.tokens import Source
from gateway.upstream.settings import UnfinishedSettings
from gateway.upstream.tap import TappedStream
from tests.proxy.leaving import ENDING, LATER_S, SAID_ALL, WORD, Left, Stream
from tests.raw_connection import read_boundary
from tests.upstream.passing import LIMITS
from tests.upstream_script import event


async def test_the_provider_s_figures_are_waited_for() -> None:
    """Nothing is settled while it talks; at the end what it reported is, and the connection is free."""
    left = Left()
    stream = left.left()
    for _ in range(3):
        stream.says(WORD)
        await left.sweep(LATER_S)
    assert (len(left.live), len(left.unfinished), left.settled) == (1, 1, [])
    assert left.live.streaming("one") == 1
    stream.says(ENDING)
    await read_boundary()
    assert left.booked() == [(Source.REPORTED, 30)]
    assert stream.splice.calls == ["given back"]


def without_stream(stream: Stream) -> None:
    stream.exchange.stream = None


def without_attempt(stream: Stream) -> None:
    stream.exchange.attempts.clear()


def stalled(stream: Stream) -> None:
    stream.stream.fail(Outcome.STALLED)


def whole(stream: Stream) -> None:
    stream.says(ENDING)


def broken(stream: Stream) -> None:
    stream.stream.connection_lost(None)


@pytest.mark.parametrize("happened", [without_stream, without_attempt, stalled, whole, broken])
async def test_what_cannot_be_read_on(happened: Callable[[Stream], None]) -> None:
    """Nothing streams, or the stream has ended: the caller settles."""
    left = Left()
    stream = left.stream()
    happened(stream)
    assert not left.unfinished.take(stream.exchange, left.settle)
    assert (len(left.unfinished), left.tasks) == (0, [])


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.CLIENT_CLOSED])
async def test_only_what_a_client_left_is_read_on(outcome: Outcome) -> None:
    """Every other ending is an ending."""
    left = Left()
    stream = left.stream()
    stream.exchange.outcome = outcome
    assert not left.unfinished.take(stream.exchange, left.settle)
    assert stream.splice.calls == []


async def test_the_provider_s_policy_decides() -> None:
    """`cancel` leaves everything to the caller, and the stream as it was."""
    left = Left(settle="cancel")
    stream = left.stream()
    assert not left.unfinished.take(stream.exchange, left.settle)
    assert (stream.stream.outcome, stream.splice.calls, left.tasks) == (None, [], [])
    assert UnfinishedSettings().settle == "cancel"


async def test_a_client_that_took_nothing_has_left_too() -> None:
    """It was given up after the write timeout; its stream runs on."""
    left = Left()
    stream = left.stream()
    stream.stream.outcome = Outcome.CLIENT_CLOSED
    assert left.unfinished.take(stream.exchange, left.settle)
    stream.says(ENDING)
    await read_boundary()
    assert left.booked() == [(Source.REPORTED, 30)]


async def test_so_many_seconds() -> None:
    """`max_s` after the client left the next sweep ends it, however much it talks; what came is an estimate."""
    left = Left(max_s=20.0)
    stream = left.left()
    for _ in range(2):
        await left.sweep(LATER_S)
        stream.says(WORD)
    await left.sweep(1.9)
    assert left.settled == []
    await left.sweep(0.2)
    assert left.booked() == [(Source.ESTIMATED, 4)]
    assert stream.splice.calls == ["aborted"]


async def test_so_many_tokens() -> None:
    """More than `max_tokens` behind the client end it at once; what came is an estimate."""
    left = Left(max_tokens=3)
    stream = left.left()
    for _ in range(3):
        stream.says(WORD)
    await read_boundary()
    assert left.settled == []
    stream.says(WORD)
    await read_boundary()
    assert left.booked() == [(Source.ESTIMATED, 6)]
    assert stream.splice.calls == ["aborted"]


async def test_silence() -> None:
    """The provider's stall limit holds without a client too."""
    left = Left()
    stream = left.left()
    await left.sweep(LIMITS.stall_s - 0.1)
    assert left.settled == []
    await left.sweep(0.2)
    assert left.booked() == [(Source.ESTIMATED, 2)]
    assert stream.splice.calls == ["aborted"]


@pytest.mark.parametrize("finished", [True, False])
async def test_a_provider_that_breaks_off(finished: bool) -> None:
    """With its figures said they count; without, an estimate."""
    left = Left()
    stream = left.left()
    stream.says(SAID_ALL.removesuffix(event("[DONE]").wire) if finished else WORD)
    stream.stream.connection_lost(ConnectionResetError())
    await read_boundary()
    assert left.booked() == [(Source.REPORTED, 30) if finished else (Source.ESTIMATED, 3)]


async def test_the_terminal_chunk_never_comes() -> None:
    """The figures are here; the end of the body is waited for shortly, then the connection goes."""
    left = Left()
    stream = left.left()
    stream.says(SAID_ALL)
    await asyncio.wait(left.tasks)
    assert left.booked() == [(Source.REPORTED, 30)]
    assert stream.splice.calls == ["aborted"]


def it_says_all(left: Left, stream: Stream) -> None:
    stream.says(ENDING)


def it_says_too_much(left: Left, stream: Stream) -> None:
    stream.says(WORD * 200)


def it_breaks(left: Left, stream: Stream) -> None:
    stream.stream.connection_lost(None)


def it_is_overdue(left: Left, stream: Stream) -> None:
    left.clock.now += 1e6
    left.live.sweep()


def the_gateway_stops(left: Left, stream: Stream) -> None:
    left.unfinished.close()


def its_task_is_cancelled(left: Left, stream: Stream) -> None:
    left.tasks[0].cancel()


def the_gateway_drains(left: Left, stream: Stream) -> None:
    left.live.drain()


ENDINGS = (
    it_says_all,
    it_says_too_much,
    it_breaks,
    it_is_overdue,
    the_gateway_stops,
    its_task_is_cancelled,
    the_gateway_drains,
)


@pytest.mark.parametrize("turn_between", [True, False])
@pytest.mark.parametrize("second", ENDINGS)
@pytest.mark.parametrize("first", ENDINGS)
async def test_settled_once(
    first: Callable[[Left, Stream], None], second: Callable[[Left, Stream], None], turn_between: bool
) -> None:
    """Two ends, in one turn or one after the other."""
    left = Left(max_tokens=100)
    stream = left.left()
    await read_boundary()
    for ends in (first, second):
        if not stream.splice.calls or ends not in (it_says_all, it_says_too_much, it_breaks):
            ends(left, stream)
        if turn_between:
            await read_boundary()
    await asyncio.wait(left.tasks)
    assert len(left.booked()) == 1
    assert len(stream.splice.calls) == 1


async def test_the_gateway_stops_in_the_middle() -> None:
    """All are settled before `close` returns, with what there is: one that talks, one whose task has not begun yet, one
    that has said all and has not ended.
    """
    left = Left()
    talking, ending = left.left(), left.left()
    ending.says(SAID_ALL)
    await read_boundary()
    fresh = left.left()
    left.unfinished.close()
    assert [(exchange.stream, source, tokens) for exchange, source, tokens in left.settled] == [
        (talking.stream, Source.ESTIMATED, 2),
        (ending.stream, Source.REPORTED, 30),
        (fresh.stream, Source.ESTIMATED, 2),
    ]
    assert talking.splice.calls == ending.splice.calls == fresh.splice.calls == ["aborted"]
    late = left.stream()
    assert not left.unfinished.take(late.exchange, left.settle)
    left.live.discard(late.exchange)
    await asyncio.wait(left.tasks)
    assert len(left.booked()) == 3


async def test_a_stop_that_cancels_what_has_not_begun() -> None:
    """A task that is cancelled before its first step does nothing at all; the exchange is settled all the same."""
    left = Left()
    left.left()
    left.tasks[0].cancel()
    await read_boundary()
    assert left.settled == []
    left.unfinished.close()
    assert left.booked() == [(Source.ESTIMATED, 2)]


async def test_a_mistake_of_ours_is_settled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And logged, under the request's id."""

    async def fails(_: TappedStream) -> None:
        raise KeyError("a bug")

    left = Left()
    stream = left.left()
    monkeypatch.setattr(TappedStream, "finish", fails)
    stream.says(ENDING)
    await read_boundary()
    assert left.booked() == [(Source.REPORTED, 30)]
    assert stream.exchange.id in caplog.text
