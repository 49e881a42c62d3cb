"""Targets: who may be asked now, what a turn holds and gives back, and what is heard of how it ended."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.core.breaker import State
from gateway.core.outcome import Outcome, Verdict
from gateway.core.routing import Target
from gateway.upstream.targets import NotNow, Targets, Turn
from tests.quick_loop import QuickLoop
from tests.surface.exchanges import hand_provider
from tests.upstream.range import Range, cut_off


@pytest.fixture
def field() -> Iterator[Range]:
    loop = QuickLoop(100.0)
    yield Range(loop)
    loop.close()


def test_a_turn_holds_a_place_until_its_end(field: Range) -> None:
    """At its target, and at the provider's gate, which all its targets share; given back once."""
    turn, other = field.turn(), field.turn(circuit="two-*")
    assert (field.state().in_flight, field.state(circuit="two-*").in_flight) == (1, 1)
    assert field.state().gate is field.state(circuit="two-*").gate is not field.state("b").gate
    assert field.state().gate.in_use == 2
    assert field.refusal() == ("overloaded", 1.0)
    for _ in range(2):
        turn.end(Verdict.SUCCESS)
    assert (field.state().in_flight, field.state().gate.in_use) == (0, 1)
    other.end(Verdict.NEUTRAL)
    assert field.targets.in_flight(Target("a", "m", circuit="two-*")) == 0


@pytest.mark.parametrize(
    ("verdict", "heard"),
    [
        (Verdict.SUCCESS, (1, 0)),
        (Verdict.FAILURE, (0, 1)),
        (Verdict.NEUTRAL, (0, 0)),
        (Verdict.NONE, (0, 0)),
    ],
)
def test_the_circuit_hears_the_verdict_once(field: Range, verdict: Verdict, heard: tuple[int, int]) -> None:
    """The first one; content that came before it is none, where the circuit is closed."""
    turn = field.turn()
    turn.content_came(slowly=False)
    turn.end(verdict)
    for later in Verdict:
        turn.end(later)
    snapshot = field.state().breaker.snapshot()
    assert (snapshot.successes, snapshot.failures) == heard


@pytest.mark.parametrize("verdict", Verdict)
def test_slow_content_is_a_failure_whatever_follows(field: Range, verdict: Verdict) -> None:
    """Said once."""
    turn = field.turn()
    turn.content_came(slowly=True)
    turn.end(verdict)
    snapshot = field.state().breaker.snapshot()
    assert (snapshot.successes, snapshot.failures) == (0, 1)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_probe_succeeds_with_content(field: Range, verdict: Verdict) -> None:
    """A break after it is a new failure; before it, the verdict decides and neutral frees the place."""
    cut_off(field)
    field.loop.now += 10
    probe = field.turn()
    assert field.refusal() == ("circuit_open", 1.0)
    probe.content_came(slowly=False)
    assert field.state().breaker.state is State.CLOSED
    field.loop.now += 1
    probe.end(verdict)
    assert field.state().breaker.state is (State.OPEN if verdict is Verdict.FAILURE else State.CLOSED)
    assert field.changes[:3] == [("a", "one", "open"), ("a", "one", "half_open"), ("a", "one", "closed")]


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.SUCCESS, State.CLOSED),
        (Verdict.FAILURE, State.OPEN),
        (Verdict.NEUTRAL, State.HALF_OPEN),
        (Verdict.NONE, State.HALF_OPEN),
    ],
)
def test_a_probe_without_content(field: Range, verdict: Verdict, state: State) -> None:
    """Its end is its verdict, and its place is free in any case."""
    cut_off(field)
    field.loop.now += 10
    field.turn().end(verdict)
    snapshot = field.state().breaker.snapshot()
    assert (snapshot.state, snapshot.probes_out) == (state, 0)


def test_circuits_are_apart(field: Range) -> None:
    """One model's failure cuts off no other, at the same provider or elsewhere."""
    cut_off(field)
    for turn in (field.turn(circuit="two-*"), field.turn("b")):
        turn.end(Verdict.SUCCESS)
    assert [field.targets.worst(name) for name in "ab"] == [State.OPEN, State.CLOSED]
    assert [field.targets.next_probe_s(name) for name in "ab"] == [10, 0]
    told = {(provider, circuit): snapshot.state for provider, circuit, snapshot in field.targets.snapshots()}
    assert told == {("a", "one"): State.OPEN, ("a", "two-*"): State.CLOSED, ("b", "one"): State.CLOSED}


def test_the_next_probe_is_that_of_the_circuit_that_is_first(field: Range) -> None:
    """Of several open ones of a provider."""
    cut_off(field)
    field.loop.now += 4
    field.turn(circuit="two-*").end(Verdict.FAILURE)
    assert field.targets.next_probe_s("a") == 6
    field.loop.now += 7
    assert (field.targets.next_probe_s("a"), field.targets.worst("a")) == (3, State.OPEN)


def test_a_target_rests_as_long_as_it_was_told_longest(field: Range) -> None:
    """A shorter time said later shortens nothing; another target of the provider does not rest."""
    state = field.state()
    state.rest(5)
    state.rest(2)
    field.loop.now += 1
    assert field.refusal() == ("provider_throttled", 4)
    assert field.state(circuit="two-*").rests_for() == 0
    field.loop.now += 4
    assert state.rests_for() == 0
    assert isinstance(state.take_turn(60), Turn)


def test_a_target_rests_while_all_keys_do(field: Range) -> None:
    """Keys are the provider's: with the last one every target of it rests, until the first is back."""
    keys = field.state().provider.keys
    keys.throttled(0, 5)
    assert field.state().rests_for() == 0
    keys.throttled(1, 3)
    field.state().rest(1)
    assert field.refusal() == field.refusal(circuit="two-*") == ("provider_throttled", 3)
    assert field.state("b").rests_for() == 0


def test_what_is_against_a_turn_is_said_in_order(field: Range) -> None:
    """Rest, then room, then the circuit, of which no probe is taken before there is room for it."""
    cut_off(field)
    field.loop.now += 10
    turns = [field.turn(circuit="two-*") for _ in range(2)]
    field.state().rest(5)
    assert field.refusal()[0] == "provider_throttled"
    field.loop.now += 5
    assert field.refusal()[0] == "overloaded"
    assert field.state().breaker.snapshot().probes_out == 0
    assert field.state().take_last_resort(60) == NotNow(Outcome.OVERLOADED, 1.0)
    for turn in turns:
        turn.end(Verdict.NEUTRAL)
    field.turn()


def test_a_last_resort_probes_before_the_time(field: Range) -> None:
    """One; the next is told when to come back, and it holds a place as any turn does."""
    cut_off(field)
    probe = field.state().take_last_resort(60)
    assert isinstance(probe, Turn)
    assert (field.state().in_flight, field.state().gate.in_use) == (1, 1)
    assert field.state().take_last_resort(60) == NotNow(Outcome.CIRCUIT_OPEN, 1.0)
    probe.end(Verdict.SUCCESS)
    assert field.state().breaker.state is State.CLOSED


def queued(field: Range, turns: list[Turn], verdict: Verdict = Verdict.NEUTRAL) -> Turn | NotNow:
    """Who stands in line while one of these ends half a second later."""

    async def story() -> Turn | NotNow:
        waiting = asyncio.create_task(field.state().queue_for_turn(60, 60))
        await asyncio.sleep(0.5)  # timed: by a loop that never waits
        turns.pop().end(verdict)
        return await waiting

    return field.loop.tell(story())


def test_a_place_in_line_becomes_a_turn(field: Range) -> None:
    """As soon as another one ends."""
    turns = [field.turn(), field.turn()]
    turn = queued(field, turns)
    assert isinstance(turn, Turn)
    assert (field.state().in_flight, field.state().gate.in_use, field.loop.now) == (2, 2, 100.5)
    turn.end(Verdict.SUCCESS)
    turns.pop().end(Verdict.SUCCESS)
    assert (field.state().in_flight, field.state().gate.in_use) == (0, 0)


def test_a_place_in_line_is_no_turn_where_the_target_is_gone(field: Range) -> None:
    """It rests or is cut off by then: the place is given back."""
    turns = [field.turn(), field.turn()]
    field.state().rest(60)
    assert queued(field, turns) == NotNow(Outcome.PROVIDER_THROTTLED, 59.5)
    field.loop.now += 60
    turns.append(field.turn())
    assert queued(field, turns, Verdict.FAILURE) == NotNow(Outcome.CIRCUIT_OPEN, 10)
    turns.pop().end(Verdict.NEUTRAL)
    assert (field.state().in_flight, field.state().gate.in_use, field.state().gate.waiting) == (0, 0, 0)


@pytest.mark.parametrize(("left_s", "waited_s"), [(60.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_a_line_that_does_not_move_is_left(field: Range, left_s: float, waited_s: float) -> None:
    """After `queue_s`, or what the request has left; who comes when it is full is told at once."""
    turns = [field.turn(), field.turn()]

    async def story() -> list[Turn | NotNow]:
        return list(await asyncio.gather(*(field.state().queue_for_turn(left_s, 60) for _ in range(2))))

    assert field.loop.tell(story()) == [NotNow(Outcome.OVERLOADED, 1.0)] * 2
    assert field.loop.now == 100 + waited_s
    for turn in turns:
        turn.end(Verdict.NEUTRAL)
    assert field.state().gate.in_use == 0


def test_retries_are_as_the_provider_s_settings_say() -> None:
    """So many at first, and a share of the traffic."""
    loop = QuickLoop(0.0)
    provider = hand_provider("a", loop.time, retries={"share": 0.5, "floor": 1})
    retries = (
        Targets({"a": provider}, [("a", "m")], loop.time, lambda: 0.0, lambda *_: None)
        .of(Target("a", "m", circuit="m"))
        .retries
    )
    assert [retries.withdraw(), retries.withdraw()] == [True, False]
    retries.deposit()
    assert not retries.withdraw()
    retries.deposit()
    assert retries.withdraw()
    loop.close()
