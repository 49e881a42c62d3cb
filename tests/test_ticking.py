"""The timer: what recurs when, how late it was, and that it ends."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.metrics import Metrics
from gateway.ticking import TICK_S, Ticker
from tests.quick_loop import QuickLoop


@pytest.fixture
def loop() -> Iterator[QuickLoop]:
    """A loop whose clock moves when nothing else can happen."""
    loop = QuickLoop(1000.0)
    yield loop
    loop.close()


def test_each_recurs_in_its_own_time(loop: QuickLoop) -> None:
    """At once, and then as often as it is to; after the end never."""
    lag = Metrics("i", "1").declared.event_loop_lag.labels()
    called: list[tuple[str, float]] = []

    async def story() -> None:
        ticker = Ticker(
            lag,
            (1.0, lambda: called.append(("sweep", loop.now))),
            (2.5, lambda: called.append(("renew", loop.now))),
        )
        ticker.start()
        await asyncio.sleep(3.05)  # timed: by a loop that never waits
        ticker.stop()
        ticks = lag.count
        await asyncio.sleep(10)  # timed: by a loop that never waits
        assert (lag.count, ticks) == (31, 31)

    loop.tell(story())
    sweeps, renewals = ([at for what, at in called if what == word] for word in ("sweep", "renew"))
    assert sweeps == pytest.approx([1000, 1001, 1002, 1003], abs=TICK_S)
    assert renewals == pytest.approx([1000, 1002.5], abs=TICK_S)
    assert lag.sum == pytest.approx(0, abs=1e-6)


def test_lag_is_how_late_a_tick_is(loop: QuickLoop) -> None:
    """A callback that takes three tenths of a second makes the next tick two tenths late."""
    lag = Metrics("i", "1").declared.event_loop_lag.labels()

    def dawdle() -> None:
        loop.now += 0.3

    async def story() -> None:
        ticker = Ticker(lag)
        ticker.start()
        loop.call_soon(dawdle)
        await asyncio.sleep(0.35)  # timed: by a loop that never waits
        ticker.stop()

    loop.tell(story())
    assert lag.sum == pytest.approx(0.2)


def test_what_never_began_can_be_stopped() -> None:
    """A gateway that could not listen is closed too."""
    Ticker(Metrics("i", "1").declared.event_loop_lag.labels()).stop()
