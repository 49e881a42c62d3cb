"""What both ways share: limits in seconds, the first cause, and waits for a client that are counted."""

import asyncio

import pytest

from gateway.core.outcome import Outcome
from gateway.upstream.stream import SLOW_S, StreamLimits
from tests.upstream.passing import HandClock, HandSplice, tapped


@pytest.mark.parametrize(
    ("total_s", "now", "stalled", "overdue"),
    [
        (None, 9.9, False, False),
        (None, 10.1, True, False),
        (5, 5.1, False, True),
        (5, 4.9, False, False),
        (None, 1e9, True, False),
    ],
)
async def test_limits(total_s: float | None, now: float, stalled: bool, overdue: bool) -> None:
    """Silence and age have one limit each; no total is no limit."""
    limits = StreamLimits(stall_s=10, write_timeout_s=1, total_s=total_s)
    stream = tapped(HandSplice(), HandClock(), limits)
    assert (stream.is_stalled(now), stream.is_overdue(now)) == (stalled, overdue)


async def test_failing_wakes_who_waits() -> None:
    """Whoever waits for content learns of the end; the first cause stays."""
    stream = tapped(HandSplice(), HandClock())
    waiting = asyncio.ensure_future(stream.first())
    await asyncio.sleep(0)  # timed: one turn, in which the wait begins
    stream.fail(Outcome.STALLED)
    await waiting
    stream.fail(Outcome.CLIENT_CLOSED)
    assert stream.outcome is Outcome.STALLED


@pytest.mark.parametrize(("total_s", "max_s", "overdue_at"), [(None, 10, 15), (100, 10, 15), (12, 10, 12)])
async def test_a_stream_without_a_client_has_less_time(total_s: float | None, max_s: float, overdue_at: float) -> None:
    """So many seconds from the moment the client left, and never more than the stream had."""
    clock = HandClock()
    stream = tapped(HandSplice(), clock, StreamLimits(stall_s=1000, write_timeout_s=1, total_s=total_s))
    clock.now = 5.0
    assert stream.detach(100, max_s)
    assert not stream.is_overdue(overdue_at)
    assert stream.is_overdue(overdue_at + 0.1)


async def test_what_has_ended_is_not_read_on() -> None:
    """Whoever ended it; and who has been let go once, cannot leave again."""
    for outcome in (Outcome.SUCCESS, Outcome.TRUNCATED, Outcome.STALLED):
        stream = tapped(HandSplice(), HandClock())
        stream.fail(outcome)
        assert not stream.detach(100, 60)
        assert stream.outcome is outcome
    stream = tapped(HandSplice(), HandClock())
    assert stream.detach(100, 60)
    stream.fail(Outcome.CLIENT_CLOSED)
    assert not stream.detach(100, 60)


async def test_a_fresh_stream_has_nothing() -> None:
    """No content, no bytes, no pauses; downstream stands at a boundary."""
    stream = tapped(HandSplice(), HandClock())
    assert (stream.events, stream.text_bytes, stream.take(), stream.slow_s) == (0, 0, b"", [])
    assert stream.at_event_boundary
    assert stream.first_at is None
    assert SLOW_S > 0
