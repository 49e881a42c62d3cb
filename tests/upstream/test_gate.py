"""The gate: places, the line before them, and every way out of it, in turns of a loop whose time stands still."""

import asyncio
import inspect
from collections.abc import Callable, Iterator

import pytest

from gateway.upstream.gate import Gate
from tests.raw_connection import read_boundary
from tests.upstream.crowd import LONG_S, NAME, QUEUE_S, Crowd


@pytest.fixture
def make_crowd() -> Iterator[Callable[..., Crowd]]:
    crowds: list[Crowd] = []

    def make(*arguments: float) -> Crowd:
        crowds.append(Crowd(*arguments))  # type: ignore[arg-type]
        return crowds[-1]

    yield make
    for crowd in crowds:
        crowd.close()


@pytest.fixture
def crowd(make_crowd: Callable[..., Crowd]) -> Crowd:
    """One place, a line of ten."""
    return make_crowd()


def test_a_free_place_needs_no_loop() -> None:
    """No task, no future, no timer: the coroutine is over at its first step, with no loop that could make any."""
    gate = Gate(2, 1, QUEUE_S, NAME)
    for in_use in (1, 2):
        entering = gate.enter(0.0)
        with pytest.raises(StopIteration) as over:
            entering.send(None)
        assert inspect.getcoroutinestate(entering) == inspect.CORO_CLOSED
        assert (over.value.value, gate.in_use, gate.waiting) == (0.0, in_use, 0)
    assert (gate.has_room, gate.enter_now()) == (False, False)
    gate.leave()
    assert (gate.has_room, gate.enter_now(), gate.in_use) == (True, True, 2)


def test_places_pass_down_the_line(crowd: Crowd) -> None:
    """In the order of coming, from hand to hand: no place is free in between, so nobody can slip in."""
    numbers = crowd.queue(3)
    assert (crowd.entered, crowd.gate.waiting) == ([], 3)
    for count, number in enumerate(numbers, 1):
        crowd.gate.leave()
        assert (crowd.gate.has_room, crowd.gate.enter_now(), crowd.gate.in_use) == (False, False, 1)
        late = crowd.arrive(0.0)
        crowd.turn(0.125)
        assert crowd.entered == numbers[:count]
        assert crowd.waited[number] == 0.125 * count
        assert late in crowd.refused
    crowd.gate.leave()
    assert (crowd.gate.in_use, crowd.gate.waiting) == (0, 0)


def test_what_was_not_taken_cannot_be_given_back(crowd: Crowd) -> None:
    """A place too many would be a request too many for ever."""
    with pytest.raises(ValueError, match="more places were given back than taken"):
        crowd.gate.leave()
    assert crowd.gate.in_use == 0


@pytest.mark.parametrize(
    ("max_queued", "left_s", "after_s", "message"),
    [
        (0, LONG_S, 0.0, f"As many requests run at {NAME} as may at once, and no more may wait."),
        (1, 0.0, 0.0, f"As many requests run at {NAME} as may at once, and no time is left to wait."),
        (1, -1.0, 0.0, f"As many requests run at {NAME} as may at once, and no time is left to wait."),
        (1, 0.25, 0.25, f"As many requests run at {NAME} as may at once, and none was done within 0.25 s."),
        (1, LONG_S, QUEUE_S, f"As many requests run at {NAME} as may at once, and none was done within 1 s."),
    ],
)
def test_refusals(
    make_crowd: Callable[..., Crowd], max_queued: int, left_s: float, after_s: float, message: str
) -> None:
    """At once where nothing can be waited for, else when the wait is over; each says when to come again."""
    crowd = make_crowd(1, max_queued)
    crowd.gate.enter_now()
    number = crowd.arrive(left_s)
    crowd.turn()
    if after_s:
        crowd.turn(after_s * 0.99)
        assert (crowd.refused, crowd.gate.waiting) == ({}, 1)
        crowd.turn(after_s * 0.02)
    refusal = crowd.refused[number]
    assert (refusal.code, refusal.status, refusal.message) == ("overloaded", 503, message)
    assert refusal.retry_after_s == 1.0
    assert (crowd.gate.in_use, crowd.gate.waiting) == (1, 0)


@pytest.mark.parametrize(("queue_s", "retry_after_s"), [(0.01, 1.0), (1.0, 1.0), (7.5, 7.5)])
def test_when_to_come_again(queue_s: float, retry_after_s: float) -> None:
    """When everybody who stands in line now is out of it, and never in less than a second."""
    assert Gate(1, 1, queue_s, NAME).retry_after_s == retry_after_s


def test_the_line_is_bounded(make_crowd: Callable[..., Crowd]) -> None:
    """Who comes behind a full line is refused at once; those in it are not touched."""
    crowd = make_crowd(2, 3)
    numbers = crowd.queue(5)
    assert (list(crowd.refused), crowd.gate.waiting) == (numbers[3:], 3)
    crowd.gate.leave()
    crowd.turn()
    assert (crowd.entered, crowd.gate.waiting) == (numbers[:1], 2)
    crowd.arrive()
    crowd.turn()
    assert (len(crowd.refused), crowd.gate.waiting) == (2, 3)


# The ways out of the line, alone and two in one turn. What is left afterwards: the place is with the second in line.


def cancelled(crowd: Crowd, first: int) -> None:
    crowd.tasks[first].cancel()


def cancelled_in_the_turn_of_the_place(crowd: Crowd, first: int) -> None:
    crowd.gate.leave()
    crowd.tasks[first].cancel()
    assert crowd.gate.in_use == 1, "the place is on its way to a request that will not take it"


def place_in_the_turn_of_the_cancellation(crowd: Crowd, first: int) -> None:
    crowd.tasks[first].cancel()
    crowd.gate.leave()


def expired(crowd: Crowd, first: int) -> None:
    crowd.loop.now += QUEUE_S / 2


def expired_in_the_turn_of_the_place(crowd: Crowd, first: int) -> None:
    crowd.loop.now += QUEUE_S / 2
    crowd.loop.call_at(crowd.loop.now, crowd.gate.leave)


def expired_and_cancelled(crowd: Crowd, first: int) -> None:
    crowd.loop.now += QUEUE_S / 2
    crowd.loop.call_at(crowd.loop.now, crowd.tasks[first].cancel)


def expired_cancelled_and_a_place(crowd: Crowd, first: int) -> None:
    expired_and_cancelled(crowd, first)
    crowd.loop.call_at(crowd.loop.now, crowd.gate.leave)


def every_request_of_the_line_cancelled(crowd: Crowd, first: int) -> None:
    for task in crowd.tasks.values():
        task.cancel()
    crowd.gate.leave()
    assert crowd.gate.in_use == 0


@pytest.mark.parametrize(
    "leaves",
    [
        cancelled,
        cancelled_in_the_turn_of_the_place,
        place_in_the_turn_of_the_cancellation,
        expired,
        expired_in_the_turn_of_the_place,
        expired_and_cancelled,
        expired_cancelled_and_a_place,
        every_request_of_the_line_cancelled,
    ],
)
def test_ways_out_of_the_line(crowd: Crowd, leaves: Callable[[Crowd, int], None]) -> None:
    """However the first in line leaves, and whatever else falls into that turn: one place, and the next one gets it."""
    crowd.gate.enter_now()
    first = crowd.arrive(QUEUE_S / 2)
    crowd.turn()
    second = crowd.arrive()
    crowd.turn()
    leaves(crowd, first)
    crowd.turn()
    assert first not in crowd.entered
    assert first in crowd.refused or crowd.gone(first)
    if crowd.gone(second):
        assert (crowd.gate.in_use, crowd.gate.waiting) == (0, 0)
        return
    if crowd.gate.waiting:
        crowd.gate.leave()
        crowd.turn()
    assert (crowd.entered, crowd.gate.in_use, crowd.gate.waiting) == ([second], 1, 0)


def test_a_place_beats_the_end_of_the_wait(crowd: Crowd) -> None:
    """Both in one turn, the place first: it is taken, and the timer finds nobody."""
    (first,) = crowd.queue(1)
    crowd.loop.now += QUEUE_S
    crowd.gate.leave()
    crowd.turn()
    assert (crowd.entered, crowd.refused, crowd.gate.in_use) == ([first], {}, 1)


def test_cancelled_before_it_asked(crowd: Crowd) -> None:
    """A request that is cancelled before its first step has neither a place nor a number in line."""
    crowd.tasks[crowd.arrive()].cancel()
    crowd.turn()
    assert (crowd.gate.in_use, crowd.gate.waiting) == (0, 0)


def test_nothing_is_left_on_the_loop(crowd: Crowd) -> None:
    """Served, cancelled or refused: only who waits has a timer."""
    first, second, third = crowd.queue(3)
    assert crowd.loop.timers() == 3
    crowd.gate.leave()
    crowd.tasks[second].cancel()
    crowd.turn()
    assert (crowd.entered, crowd.gone(second), crowd.loop.timers()) == ([first], True, 1)
    crowd.turn(QUEUE_S)
    assert (list(crowd.refused), crowd.loop.timers()) == ([third], 0)


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_on_real_loops() -> None:
    """500 requests at a gate of 5, a third of which give up: 5 at once at most, and 5 places at the end."""
    gate, most = Gate(5, 1000, 60.0, NAME), 0
    go = asyncio.Event()

    async def request() -> float:
        nonlocal most
        waited = await gate.enter(60.0)
        most = max(most, gate.in_use)
        try:
            await go.wait()
            await read_boundary()
        finally:
            gate.leave()
        return waited

    tasks = [asyncio.create_task(request()) for _ in range(500)]
    await read_boundary()
    assert (gate.in_use, gate.waiting) == (5, 495)
    for task in tasks[::3]:
        task.cancel()
    go.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ended) == len(tasks[::3])
    assert all(isinstance(end, asyncio.CancelledError) or end >= 0 for end in ended)  # type: ignore[operator]
    assert (most, gate.in_use, gate.waiting) == (5, 0, 0)


def test_a_gate_that_grows_lets_the_first_in_line_in(make_crowd: Callable[..., Crowd]) -> None:
    """At once, as many as have room; who is not among them waits on."""
    crowd = make_crowd()
    numbers = crowd.queue(3)
    crowd.gate.resize(3, 10, QUEUE_S)
    crowd.turn(0.0)
    assert (crowd.entered, crowd.gate.in_use, crowd.gate.waiting) == (numbers[:2], 3, 1)
    assert not crowd.gate.has_room


def test_a_gate_that_shrinks_takes_nobody_s_place(make_crowd: Callable[..., Crowd]) -> None:
    """Places that come free are gone until no more are taken than there are; then the line moves again."""
    crowd = make_crowd(3)
    numbers = crowd.queue(2)
    taken = crowd.gate.in_use
    crowd.gate.resize(1, 10, QUEUE_S)
    for left in range(taken - 1, 0, -1):
        crowd.gate.leave()
        crowd.turn(0.0)
        assert (crowd.gate.in_use, crowd.entered) == (left, [])
    crowd.gate.leave()
    crowd.turn(0.0)
    assert (crowd.gate.in_use, crowd.entered) == (1, numbers[:1])
    crowd.gate.resize(1, 0, 0.5)
    assert crowd.gate.retry_after_s == 1.0
    late = crowd.arrive(60.0)
    crowd.turn(0.0)
    assert late in crowd.refused
