"""Targets under orders: drained, asked again, reset; and what goes on when the configuration is another one."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.core.breaker import State
from gateway.core.outcome import Outcome, Verdict
from gateway.core.routing import Target
from gateway.upstream.targets import DRAINED_RETRY_AFTER_S, NotNow, Targets, Turn
from tests.quick_loop import QuickLoop
from tests.surface.exchanges import hand_provider
from tests.upstream.range import SMALL, Range, cut_off

DRAINED = NotNow(Outcome.CIRCUIT_OPEN, DRAINED_RETRY_AFTER_S)


@pytest.fixture
def field() -> Iterator[Range]:
    loop = QuickLoop(100.0)
    yield Range(loop)
    loop.close()


def test_a_drained_provider_gives_no_turn(field: Range) -> None:
    """At none of its targets, by none of the ways to one; what runs there goes on, and others are not concerned."""
    running = field.turn()
    field.targets.drain("a")
    for state in (field.state(), field.state(circuit="two-*")):
        assert state.take_turn(60) == state.take_last_resort(60) == DRAINED
    assert (field.targets.standing("a").drained, field.targets.standing("b").drained) == (True, False)
    field.turn("b").end(Verdict.SUCCESS)
    running.end(Verdict.SUCCESS)
    assert (field.state().in_flight, field.state().gate.in_use) == (0, 0)
    field.targets.undrain("a")
    field.turn().end(Verdict.SUCCESS)


def test_who_stands_in_line_when_a_provider_is_drained_gets_no_turn(field: Range) -> None:
    """The place that comes free is given back."""
    turns = [field.turn(), field.turn()]

    async def story() -> Turn | NotNow:
        waiting = asyncio.create_task(field.state().queue_for_turn(60, 60))
        await asyncio.sleep(0.5)  # timed: by a loop that never waits
        field.targets.drain("a")
        turns.pop().end(Verdict.NEUTRAL)
        return await waiting

    assert field.loop.tell(story()) == DRAINED
    turns.pop().end(Verdict.NEUTRAL)
    assert (field.state().in_flight, field.state().gate.in_use) == (0, 0)


def test_a_reset_forgets_what_speaks_against_a_provider(field: Range) -> None:
    """Open circuits, resting targets and keys, those in use for a target and those that no target led to."""
    cut_off(field)
    field.state(circuit="two-*").rest(100)
    keys = field.state().provider.keys
    keys.throttled(0, 50)
    keys.throttled(1, 50)
    field.turn("b").end(Verdict.FAILURE)
    field.targets.reset("a")
    assert field.changes[-1] == ("a", "one", "closed")
    assert (keys.rests_for(), field.targets.worst("a"), field.targets.worst("b")) == (0, State.CLOSED, State.OPEN)
    for circuit in ("one", "two-*"):
        field.turn(circuit=circuit).end(Verdict.SUCCESS)


@pytest.mark.parametrize("order", ["drain", "undrain", "reset"])
def test_orders_about_a_provider_that_there_is_not(field: Range, order: str) -> None:
    """A KeyError, which whoever gives orders makes a sentence of."""
    with pytest.raises(KeyError, match="c"):
        getattr(field.targets, order)("c")
    assert not field.targets.standing("c").drained


def test_targets_after_a_reload_go_on_with_those_before(field: Range) -> None:
    """With circuit, load, place and standing where the provider is the same; what is new begins anew."""
    cut_off(field)
    running = field.turn(circuit="two-*")
    field.targets.drain("a")
    providers = {"a": field.state().provider, "c": hand_provider("c", field.loop.time, pool=SMALL)}
    circuits = [("a", "one"), ("a", "two-*"), ("a", "new"), ("c", "one")]
    after = Targets(providers, circuits, field.loop.time, lambda: 0.0, field._changed, field.targets)
    assert list(after.providers()) == ["a", "c"]
    told = {(provider, circuit): snapshot.state for provider, circuit, snapshot in after.snapshots()}
    assert told == {
        ("a", "one"): State.OPEN,
        ("a", "two-*"): State.CLOSED,
        ("a", "new"): State.CLOSED,
        ("c", "one"): State.CLOSED,
    }
    two = after.of(Target("a", "m", circuit="two-*"))
    assert (two.in_flight, two.gate.in_use) == (1, 1)
    assert after.of(Target("a", "m", circuit="new")).take_turn(60) == two.take_turn(60) == DRAINED
    after.undrain("a")
    assert field.state(circuit="two-*").take_turn(60) != DRAINED
    running.end(Verdict.SUCCESS)
    assert two.in_flight == field.state(circuit="two-*").in_flight == 1
