"""Where nobody may be asked as things are: a short line, a short rest, one probe; else when to come back."""

import asyncio

import pytest

from gateway.core.breaker import State
from gateway.core.outcome import Verdict
from gateway.proxy.answers import ProviderFailure, Rests
from gateway.proxy.repeats import FIRST_WAIT_S, WAKES_EARLY_S
from gateway.upstream.targets import Turn
from tests.proxy.conftest import MakeFleet
from tests.proxy.fleet import Fleet, Hang
from tests.surface.exchanges import NOW_S

ONE_FAILURE = {"consecutive_failures": 1, "cooldown_s": 10, "jitter": 0}
NO_RETRIES = {"share": 0, "floor": 0}


def throttled(wait_s: float) -> ProviderFailure:
    return ProviderFailure("provider_throttled", "Later.", Rests.TARGET, wait_s)


def small(queued: int = 10, queue_s: float = 1.0) -> dict[str, float]:
    """A pool with one place."""
    return {"connections": 1, "warm": 0, "max_queued": queued, "queue_s": queue_s}


def occupied(fleet: Fleet, *names: str) -> list[Turn]:
    """A request that runs at each of these."""
    turns = [fleet.state(name).take_turn(60) for name in names]
    return [turn for turn in turns if isinstance(turn, Turn)]


def told(fleet: Fleet) -> tuple[str, float | None]:
    """How a request is refused that nobody may serve: at once, and after no attempt."""
    exchange = fleet.exchange()
    before_s, asked = fleet.loop.now, len(fleet.asked)
    code = fleet.loop.tell(fleet.serve(exchange))
    assert (fleet.loop.now, len(fleet.asked), exchange.attempts) == (before_s, asked, [])
    assert exchange.error is not None
    return code, exchange.error.retry_after_s


def test_all_circuits_open_is_one_probe(make_fleet: MakeFleet) -> None:
    """Before its time, and its success closes the circuit; the others are told when to come back, at once."""
    fleet = make_fleet("a", breaker=ONE_FAILURE, retries=NO_RETRIES)
    fleet.open_circuit("a")
    fleet.tell("a", Hang(3))
    said = fleet.ask_together(20)
    assert (sorted(set(said)), said.count("a"), fleet.order()) == (["a", "circuit_open"], 1, ["a"])
    assert fleet.circuit("a") is State.CLOSED
    transitions = fleet.counted("circuit_breaker_transitions_total")
    assert transitions["a", "half_open", "last_resort"] == transitions["a", "closed", "probe_succeeded"] == 1


def test_a_last_resort_that_fails_is_not_tried_again_soon(make_fleet: MakeFleet) -> None:
    """None within the cool-down: an outage is not met by one request after the other."""
    fleet = make_fleet("a", "b", breaker=ONE_FAILURE, retries=NO_RETRIES)
    fleet.open_circuit("a", "b")
    fleet.always("connect_failed")
    assert (fleet.ask(), fleet.order()) == ("connect_failed", ["a"])
    assert (fleet.ask(), fleet.order()) == ("connect_failed", ["b"])
    assert told(fleet) == ("circuit_open", 10)
    fleet.wait(4)
    assert told(fleet) == ("circuit_open", 6)


def test_a_full_provider_is_waited_for_in_line(make_fleet: MakeFleet) -> None:
    """As long as `queue_s`, and the wait is observed; whoever comes back first, gives its place to the first."""
    fleet = make_fleet("a", pool=small())
    fleet.tell("a", Hang(0.5), Hang(0.25))
    assert fleet.ask_together(3) == ["a", "a", "a"]
    assert [asked.at_s - NOW_S for asked in fleet.asked] == [0.0, 0.5, 0.75]
    waits = fleet.metrics.declared.pool_wait.labels("a")
    assert waits.sum == 1.25
    assert fleet.counted("fallbacks_total") == {}


def test_a_line_ends(make_fleet: MakeFleet) -> None:
    """Who finds it full is refused at once, who waits too long then; both with a time."""
    fleet = make_fleet("a", pool=small(queued=1, queue_s=0.5))
    fleet.tell("a", Hang(5))
    first, second, third = (fleet.exchange() for _ in range(3))

    async def story() -> list[str]:
        return await asyncio.gather(*(fleet.serve(exchange) for exchange in (first, second, third)))

    assert fleet.loop.tell(story()) == ["a", "overloaded", "overloaded"]
    for refused in (second, third):
        assert refused.error is not None and refused.error.retry_after_s == 1.0
        assert refused.attempts == []
    assert fleet.metrics.declared.pool_wait.labels("a").sum == 0.5
    fleet.is_at_rest()


def test_another_line_may_have_room(make_fleet: MakeFleet) -> None:
    """Where one may not be waited in, the next is: who serves was turned to because the first was full."""
    fleet = make_fleet("a", "b", pool=small(), only={"a": {"pool": small(queued=0)}})
    turns = occupied(fleet, "a", "b")
    fleet.loop.call_later(0.25, turns[1].end, Verdict.NEUTRAL)
    assert fleet.loop.tell(fleet.serve(fleet.exchange())) == "b"
    assert fleet.loop.now == NOW_S + 0.25
    turns[0].end(Verdict.NEUTRAL)
    fleet.is_at_rest()
    assert fleet.counted("fallbacks_total") == {("a", "b", "overloaded"): 1}


def test_a_place_at_a_target_that_was_lost_meanwhile(make_fleet: MakeFleet) -> None:
    """Who comes out of the line finds the target at rest or cut off: it is not asked, and nothing is kept."""
    for failure, said in ((throttled(60), "provider_throttled"), ("connect_failed", "circuit_open")):
        fleet = make_fleet("a", pool=small(), breaker=ONE_FAILURE, retries=NO_RETRIES)
        fleet.tell("a", Hang(0.5, failure))
        assert fleet.ask_together(2)[1] == said
        assert fleet.order() == ["a"]


@pytest.mark.parametrize("early_s", [0.0, 0.0009])
@pytest.mark.parametrize("draw", [0.0, 0.5])
def test_a_short_rest_is_waited_out(make_fleet: MakeFleet, draw: float, early_s: float) -> None:
    """To its end, however early timers come; not all who wait ask in the same moment."""
    fleet = make_fleet("a", early_s=early_s, draw=draw, retries=NO_RETRIES)
    fleet.state("a").rest(1.5)
    assert fleet.ask() == "a"
    over_s = fleet.loop.now - NOW_S - 1.5
    assert FIRST_WAIT_S * draw <= over_s <= FIRST_WAIT_S * draw + 2 * WAKES_EARLY_S


def test_the_sooner_of_two_rests_is_waited_out(make_fleet: MakeFleet) -> None:
    """And the way there is the reason why the first was left."""
    fleet = make_fleet("a", "b")
    fleet.state("a").rest(1.5)
    fleet.state("b").rest(0.5)
    assert fleet.ask() == "b"
    assert fleet.loop.now - NOW_S < 0.6


def test_a_long_rest_is_said(make_fleet: MakeFleet) -> None:
    """Nobody waits for it: 429 with the time of who is back first."""
    fleet = make_fleet("a", "b")
    fleet.state("a").rest(90)
    fleet.state("b").rest(60)
    assert told(fleet) == ("provider_throttled", 60)


def test_a_rest_beyond_the_deadline_is_said(make_fleet: MakeFleet) -> None:
    """It is short, and still longer than the request has."""
    fleet = make_fleet("a")
    fleet.state("a").rest(1.5)
    exchange = fleet.exchange()
    exchange.deadline = fleet.loop.now + 1
    assert (fleet.hear(exchange), fleet.loop.now) == ("provider_throttled", NOW_S)


def test_what_takes_least_is_tried_first(make_fleet: MakeFleet) -> None:
    """A line before a rest before a probe; and of several refusals the one that is over first is told."""
    fleet = make_fleet("open", "resting", "full", pool=small(queue_s=0.25), breaker=ONE_FAILURE)
    fleet.open_circuit("open")
    fleet.state("resting").rest(1.0)
    turns = occupied(fleet, "full")
    fleet.loop.call_later(0.125, turns[0].end, Verdict.NEUTRAL)
    assert (fleet.loop.tell(fleet.serve(fleet.exchange())), fleet.loop.now) == ("full", NOW_S + 0.125)
    turns = occupied(fleet, "full")
    assert fleet.loop.tell(fleet.serve(fleet.exchange())) == "resting"
    assert NOW_S + 1 <= fleet.loop.now < NOW_S + 1.2
    fleet.state("resting").rest(100)
    assert fleet.loop.tell(fleet.serve(fleet.exchange())) == "open"
    fleet.open_circuit("open")
    fleet.tell("open", "connect_failed")
    fleet.loop.tell(fleet.serve(fleet.exchange()))
    exchange = fleet.exchange()
    assert fleet.loop.tell(fleet.serve(exchange)) == "overloaded"
    assert exchange.error is not None and exchange.error.retry_after_s == 1
    turns[0].end(Verdict.NEUTRAL)
    fleet.is_at_rest()


def test_who_was_passed_over_is_tried_when_all_else_has_failed(make_fleet: MakeFleet) -> None:
    """The last of those that could be asked is asked again first; then one that is cut off is probed."""
    fleet = make_fleet("a", "b", breaker=ONE_FAILURE, only={"b": {"breaker": {"min_requests": 10_000}}})
    fleet.open_circuit("a")
    fleet.always("provider_error", "b")
    exchange = fleet.exchange()
    assert (fleet.hear(exchange), fleet.order()) == ("a", ["b", "b", "b", "a"])
    assert fleet.circuit("a") is State.CLOSED
    assert fleet.counted("fallbacks_total") == {("a", "b", "circuit_open"): 1, ("b", "a", "provider_error"): 1}


def test_the_failure_is_said_where_that_does_not_help(make_fleet: MakeFleet) -> None:
    """What the last attempt met, and not that a circuit is open; each was asked once by itself."""
    fleet = make_fleet("a", "b", breaker=ONE_FAILURE, retries=NO_RETRIES)
    fleet.open_circuit("a")
    fleet.always("truncated")
    assert (fleet.ask(), fleet.order()) == ("truncated", ["b", "a"])
    fleet.wait(5)
    fleet.state("b").breaker.reset()
    assert (fleet.ask(), fleet.order()) == ("truncated", ["b"])


@pytest.mark.parametrize("after_s", [0.1, 0.4])
def test_a_client_that_leaves_a_line_or_a_rest(make_fleet: MakeFleet, after_s: float) -> None:
    """It was nowhere, and keeps nothing."""
    fleet = make_fleet("full", "resting", pool=small(queue_s=0.25))
    turns = occupied(fleet, "full")
    fleet.state("resting").rest(1.0)
    exchange = fleet.exchange()
    fleet.loop.tell(fleet.serve_leaver(exchange, after_s))
    turns[0].end(Verdict.NEUTRAL)
    fleet.is_at_rest()
    assert (exchange.attempts, fleet.order()) == ([], [])
