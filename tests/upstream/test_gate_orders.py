"""The gate under every order of coming, going, giving up and time passing: no place is lost or doubled."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.upstream.crowd import LONG_S, QUEUE_S, Crowd


class Gates(RuleBasedStateMachine):
    """Any order of coming, going, giving up and time passing, several of them in one turn of the loop."""

    @initialize(limit=st.integers(1, 3), max_queued=st.integers(0, 4))
    def open(self, limit: int, max_queued: int) -> None:
        self.crowd = Crowd(limit, max_queued)
        self.limit, self.max_queued = limit, max_queued
        self.places = 0
        self.until: dict[int, float] = {}
        self.seen = 0
        self.quiet = True

    def _waiting(self) -> list[int]:
        """Who is not through and has not been told to go, in the order of coming."""
        crowd = self.crowd
        return [number for number in self.until if not crowd.tasks[number].done()]

    @rule(left_s=st.sampled_from([0.0, 0.3, 0.9, LONG_S]))
    def arrive(self, left_s: float) -> None:
        """A request comes; the loop turns once, so that it stands in line or is refused."""
        self.turn()
        full, room = self.crowd.gate.waiting >= self.max_queued, self.crowd.gate.has_room
        number = self.crowd.arrive(left_s)
        self.until[number] = self.crowd.loop.now + min(left_s, QUEUE_S)
        self.turn()
        assert (number in self.crowd.entered) == room
        assert (number in self.crowd.refused) == (not room and (full or not left_s))

    @rule()
    def come_and_not_wait(self) -> None:
        room = self.crowd.gate.has_room
        assert self.crowd.gate.enter_now() == room
        self.places += room

    @precondition(lambda self: self.crowd.gate.in_use and self.places)
    @rule()
    def go(self) -> None:
        self.crowd.gate.leave()
        self.places -= 1
        self.quiet = False

    @precondition(lambda self: self._waiting())
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.crowd.tasks[data.draw(st.sampled_from(self._waiting()))].cancel()
        self.quiet = False

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0]), first=st.sampled_from(["time", "place", "cancel"]))
    def time_passes(self, seconds: float, first: str) -> None:
        """And in the turn in which waits end, behind their timers, somebody may go or give up."""
        loop = self.crowd.loop
        loop.now += seconds
        if first == "place" and self.places:
            self.places -= 1
            loop.call_at(loop.now, self.crowd.gate.leave)
        elif first == "cancel" and (waiting := self._waiting()):
            loop.call_at(loop.now, self.crowd.tasks[waiting[0]].cancel)
        self.quiet = False

    @rule()
    def turn(self) -> None:
        """Everything that can happen happens; who came through holds a place from now on."""
        self.crowd.turn()
        entered = self.crowd.entered[self.seen :]
        assert entered == sorted(entered), "served in the order of coming"
        self.places += len(entered)
        self.seen = len(self.crowd.entered)
        self.quiet = True

    @invariant()
    def no_place_is_lost_or_doubled(self) -> None:
        gate = self.crowd.gate
        assert gate.in_use <= self.limit
        assert not (gate.has_room and any(not waiter.done() for waiter in gate._line)), "a free place, and a line"
        if self.quiet:
            waiting = self._waiting()
            assert (gate.in_use, gate.waiting) == (self.places, len(waiting))
            assert not waiting or gate.in_use == self.limit, "somebody waits for nothing"
            assert all(self.until[number] > self.crowd.loop.now for number in waiting), "somebody waits too long"

    def teardown(self) -> None:
        """Everybody gives up and goes: nothing is taken and nobody waits."""
        if not hasattr(self, "crowd"):
            return
        self.turn()
        for task in self.crowd.tasks.values():
            task.cancel()
        self.turn()
        for _ in range(self.places):
            self.crowd.gate.leave()
        assert (self.crowd.gate.in_use, self.crowd.gate.waiting) == (0, 0)
        self.crowd.close()


TestGates = Gates.TestCase


@pytest.mark.parametrize("limit", [1, 4])
def test_every_short_interleaving(limit: int) -> None:
    """All sequences of four steps on a line of two, all of one turn: the places are right in each."""
    steps: dict[str, Callable[[Crowd], object]] = {
        "leave": lambda crowd: crowd.gate.leave(),
        "cancel first": lambda crowd: crowd.tasks[0].cancel(),
        "cancel second": lambda crowd: crowd.tasks[1].cancel(),
        "time": lambda crowd: setattr(crowd.loop, "now", crowd.loop.now + QUEUE_S / 2),
        "turn": Crowd.turn,
    }
    for played in product(steps, repeat=4):
        crowd = Crowd(limit, 2)
        crowd.queue(2)
        held = limit
        for name in played:
            if name != "leave":
                steps[name](crowd)
            elif held + len(crowd.entered):
                held -= 1
                steps[name](crowd)
        crowd.turn()
        assert crowd.gate.in_use == held + len(crowd.entered), played
        assert crowd.gate.waiting == sum(not task.done() for task in crowd.tasks.values()), played
        crowd.close()
