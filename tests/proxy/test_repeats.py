"""Asking the same target again: only where it may help, as late as was asked, and never more than was earned."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.breaker import State
from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.proxy.answers import ProviderFailure, ProviderRefusal, Rests
from gateway.proxy.exchange import Exchange
from gateway.proxy.repeats import FIRST_WAIT_S, MAX_REPEATS, SHORT_WAIT_S, WAKES_EARLY_S
from tests.proxy.conftest import MakeFleet
from tests.proxy.fleet import NEVER_OPEN, Ending, Fleet, Hang
from tests.surface.exchanges import NOW_S

SLACK_S = FIRST_WAIT_S + 2 * WAKES_EARLY_S


def throttled(rests: Rests, wait_s: float) -> ProviderFailure:
    return ProviderFailure("provider_throttled", "Later.", rests, wait_s)


REFUSED_KEY = ProviderFailure("provider_auth", "No.", Rests.KEY_REFUSED)
SPENT_KEY = ProviderFailure("provider_auth", "No.", Rests.KEY_EXHAUSTED)
SPENT_QUOTA = throttled(Rests.KEY_EXHAUSTED, 1.0)
FORBIDDEN = ProviderFailure("provider_auth", "No.", Rests.NOTHING)


@pytest.mark.parametrize("early_s", [0.0, 0.0009])
@pytest.mark.parametrize("wait_s", [0.5, SHORT_WAIT_S])
@pytest.mark.parametrize("rests", [Rests.KEY, Rests.TARGET])
def test_a_short_rest_is_waited_for(make_fleet: MakeFleet, rests: Rests, wait_s: float, early_s: float) -> None:
    """Though there are others: the same target is asked, and not before the time given, whenever timers come."""
    fleet = make_fleet("a", "b", early_s=early_s)
    fleet.tell("a", throttled(rests, wait_s))
    exchange = fleet.exchange()
    assert fleet.hear(exchange) == "a"
    first, second = fleet.asked
    assert (first.provider, second.provider) == ("a", "a")
    assert wait_s <= second.at_s - first.at_s <= wait_s + SLACK_S
    assert [attempt.outcome for attempt in exchange.attempts] == ["provider_throttled", "success"]
    assert fleet.counted("fallbacks_total") == {}


@pytest.mark.parametrize("wait_s", [0.5, SHORT_WAIT_S])
def test_a_rest_is_over_when_its_wait_is(make_fleet: MakeFleet, monkeypatch: pytest.MonkeyPatch, wait_s: float) -> None:
    """Where chance adds nothing and the timer comes early, nobody asks before, nor waits twice."""
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    fleet = make_fleet("a", early_s=0.0009)
    fleet.tell("a", throttled(Rests.TARGET, wait_s))
    assert (fleet.ask(), fleet.order()) == ("a", ["a", "a"])
    assert wait_s <= fleet.loop.now - NOW_S <= wait_s + 2 * WAKES_EARLY_S
    assert fleet.state("a").retries.balance == 2


@pytest.mark.parametrize("rests", [Rests.KEY, Rests.TARGET])
def test_a_long_rest_is_a_reason_to_go(make_fleet: MakeFleet, rests: Rests) -> None:
    """At once; and where there is nobody else, to say so at once, with the time."""
    fleet = make_fleet("a", "b")
    fleet.tell("a", throttled(rests, SHORT_WAIT_S + 0.1))
    assert (fleet.ask(), fleet.order(), fleet.loop.now) == ("b", ["a", "b"], NOW_S)
    alone = make_fleet("a")
    alone.tell("a", throttled(rests, 60))
    exchange = alone.exchange()
    assert (alone.hear(exchange), alone.order(), alone.loop.now) == ("provider_throttled", ["a"], NOW_S)
    assert exchange.error is not None and exchange.error.retry_after_s == 60


@pytest.mark.parametrize("rests", [Rests.KEY, Rests.TARGET])
def test_a_rest_that_is_guessed_is_a_reason_to_go(make_fleet: MakeFleet, rests: Rests) -> None:
    """Nobody waits for what was never said, while there are others; alone it is worth the short wait."""
    failure = ProviderFailure("provider_throttled", "Later.", rests, 1.0, is_guess=True)
    fleet = make_fleet("a", "b")
    fleet.tell("a", failure)
    assert (fleet.ask(), fleet.order(), fleet.loop.now) == ("b", ["a", "b"], NOW_S)
    alone = make_fleet("a")
    alone.tell("a", failure)
    assert (alone.ask(), alone.order()) == ("a", ["a", "a"])
    assert alone.loop.now - NOW_S >= 1.0


@pytest.mark.parametrize("failure", [REFUSED_KEY, SPENT_KEY, SPENT_QUOTA, throttled(Rests.KEY, 60)])
def test_another_key_is_tried_at_once(make_fleet: MakeFleet, failure: ProviderFailure) -> None:
    """The target is fine, so nobody else is asked and nothing is waited for."""
    fleet = make_fleet("a", "b", keys=2)
    fleet.tell("a", failure)
    assert fleet.ask() == "a"
    assert [(asked.provider, asked.key) for asked in fleet.asked] == [("a", "sk-0"), ("a", "sk-1")]
    assert fleet.loop.now == NOW_S


@pytest.mark.parametrize("failure", [REFUSED_KEY, SPENT_KEY, SPENT_QUOTA])
def test_the_last_key_is_not_tried_again(make_fleet: MakeFleet, failure: ProviderFailure) -> None:
    """Two keys refused are two attempts; then it is somebody else's turn, or the end."""
    fleet = make_fleet("a", "b", keys=2)
    fleet.tell("a", failure, failure)
    assert (fleet.ask(), fleet.order()) == ("b", ["a", "a", "b"])
    alone = make_fleet("a")
    alone.always(failure)
    assert (alone.ask(), alone.order()) == (failure.code, ["a"])


def test_a_key_that_wakes_soon_is_waited_for(make_fleet: MakeFleet) -> None:
    """With the others at rest for long, the one that is back first serves: its time counts, not the last one's."""
    fleet = make_fleet("a", keys=2)
    fleet.tell("a", throttled(Rests.KEY, 1.0), throttled(Rests.KEY, 60))
    assert fleet.ask() == "a"
    assert [asked.key for asked in fleet.asked] == ["sk-0", "sk-1", "sk-0"]
    assert 1.0 <= fleet.loop.now - NOW_S <= 1.0 + 2 * SLACK_S


NEVER: dict[str, Ending] = {
    **{code: code for code, outcome in ((str(o), o) for o in Outcome) if not CONSEQUENCES[outcome].may_move_on},
    "provider_misrouted": "provider_misrouted",
    "forbidden": FORBIDDEN,
    **{str(status): ProviderRefusal(status, b"{}", {}) for status in (400, 404, 413, 422)},
}


@pytest.mark.parametrize("name", sorted(NEVER.keys() - {"success", "hedge_lost"}))
def test_some_failures_are_never_repeated(make_fleet: MakeFleet, name: str) -> None:
    """What the request, the account or the model's name is at fault for, and all that may not move on."""
    fleet = make_fleet("a")
    fleet.always(NEVER[name])
    assert fleet.ask() != "a"
    assert (fleet.order(), fleet.loop.now) == (["a"], NOW_S)


REPEATABLE = ["provider_error", "connect_failed", "first_token_timeout", "stalled", "truncated", "stream_error"]


@pytest.mark.parametrize("code", REPEATABLE)
def test_the_last_one_left_is_asked_again(make_fleet: MakeFleet, code: str) -> None:
    """After waits drawn from 0 to a doubling limit, a few times at most; then the failure is said."""
    fleet = make_fleet("a", "b", breaker=NEVER_OPEN, retries={"share": 1, "floor": 100})
    fleet.always(code)
    waits: list[list[float]] = [[] for _ in range(MAX_REPEATS)]
    for _ in range(20):
        fleet.asked.clear()
        assert fleet.ask() == code
        assert [asked.provider for asked in fleet.asked] == ["a", "b", *["b"] * MAX_REPEATS]
        for seen, (before, after) in zip(waits, itertools.pairwise(fleet.asked[1:]), strict=True):
            seen.append(after.at_s - before.at_s)
    for number, seen in enumerate(waits):
        assert 0 <= min(seen) < max(seen) <= FIRST_WAIT_S * 2**number
        assert len(set(seen)) > 10


def test_one_good_answer_ends_it(make_fleet: MakeFleet) -> None:
    """The second attempt serves, and the line says who was tried."""
    fleet = make_fleet("a")
    fleet.tell("a", "connect_failed")
    exchange = fleet.exchange()
    assert (fleet.hear(exchange), fleet.order()) == ("a", ["a", "a"])
    assert exchange.served is exchange.attempts[1]
    assert fleet.counted("attempts_total") == {("a", "connect_failed"): 1, ("a", "success"): 1}


def test_a_failure_that_names_a_time(make_fleet: MakeFleet) -> None:
    """A 500 with Retry-After: a floor for the wait where it is short, else a reason not to ask again."""
    fleet = make_fleet("a")
    fleet.tell("a", GatewayError("provider_error", "No.", retry_after_s=1.5))
    assert fleet.ask() == "a"
    assert 1.5 <= fleet.loop.now - NOW_S <= 1.5 + SLACK_S
    fleet.tell("a", GatewayError("provider_error", "No.", retry_after_s=30))
    assert (fleet.ask(), len(fleet.asked)) == ("provider_error", 3)


@pytest.mark.parametrize("failure", ["provider_error", throttled(Rests.TARGET, 1.0)])
def test_no_wait_reaches_the_deadline(make_fleet: MakeFleet, failure: Ending) -> None:
    """What would end after it is not begun: the client hears the failure while there is time."""
    fleet = make_fleet("a", draw=1.0, timeouts={"first_token_s": 100})
    for after_s in (59.0, 59.95, 59.999, 59.999999):
        fleet.asked.clear()
        fleet.tell("a", Hang(after_s, failure), Hang())
        exchange = fleet.exchange()
        assert fleet.hear(exchange) in ("provider_error", "provider_throttled", "deadline_exceeded")
        assert fleet.loop.now <= exchange.deadline
        assert all(asked.at_s < exchange.deadline for asked in fleet.asked)
        fleet.wait(2)


def test_an_open_circuit_is_not_waited_for(make_fleet: MakeFleet) -> None:
    """The failure that opened it is the answer, at once: asking again would not be allowed."""
    fleet = make_fleet("a", breaker={"consecutive_failures": 1})
    fleet.always("connect_failed")
    assert (fleet.ask(), fleet.order(), fleet.loop.now) == ("connect_failed", ["a"], NOW_S)
    assert fleet.circuit("a") is State.OPEN
    assert fleet.state("a").retries.balance == 3


@pytest.mark.parametrize(("names", "said"), [(("a", "b"), "b"), (("a",), "provider_throttled")])
def test_a_circuit_that_opens_in_the_wait(make_fleet: MakeFleet, names: tuple[str, ...], said: str) -> None:
    """Somebody else has opened it: the request goes on to the next, or ends with what it knows itself."""
    fleet = make_fleet(*names, breaker={"consecutive_failures": 1})
    fleet.tell("a", Hang(0.5, "provider_error"), throttled(Rests.TARGET, 1.5))
    exchange = fleet.exchange()

    async def story() -> list[str]:
        other = fleet.loop.create_task(fleet.serve(fleet.exchange()))
        mine = fleet.loop.create_task(fleet.serve(exchange))
        return [await mine, await other]

    assert fleet.loop.tell(story())[0] == said
    assert fleet.circuit("a") is State.OPEN
    assert [attempt.outcome for attempt in exchange.attempts][:1] == ["provider_throttled"]
    fleet.is_at_rest()


def test_who_has_earned_no_repeat_goes_on(make_fleet: MakeFleet) -> None:
    """Without a token nothing is waited for."""
    fleet = make_fleet("a", "b", retries={"share": 0, "floor": 0})
    fleet.always(throttled(Rests.TARGET, 1.0), "a")
    assert (fleet.ask(), fleet.order(), fleet.loop.now) == ("b", ["a", "b"], NOW_S)


def test_a_client_that_leaves_in_the_wait(make_fleet: MakeFleet) -> None:
    """Nothing is held there, and nobody is asked afterwards."""
    fleet = make_fleet("a")
    fleet.tell("a", throttled(Rests.TARGET, 1.5))
    exchange = fleet.ask_and_leave(1.0)
    fleet.wait(60)
    assert (fleet.order(), [attempt.outcome for attempt in exchange.attempts]) == (["a"], ["provider_throttled"])


FAILURES = st.sampled_from(
    [
        None,
        "provider_error",
        "connect_failed",
        "truncated",
        "provider_misrouted",
        REFUSED_KEY,
        throttled(Rests.KEY, 60.0),
        throttled(Rests.KEY, 0.2),
        throttled(Rests.TARGET, 0.5),
        throttled(Rests.TARGET, 0.0),
        GatewayError("provider_error", "No.", retry_after_s=0.3),
    ]
)


async def all_served(fleet: Fleet, exchanges: list[Exchange]) -> None:
    await asyncio.gather(*(fleet.serve(exchange) for exchange in exchanges))


@given(
    rounds=st.lists(st.tuples(st.integers(1, 12), st.floats(0, 5), FAILURES, FAILURES), min_size=1, max_size=12),
    keys=st.integers(1, 3),
)
@settings(max_examples=40)  # up to 144 requests each
def test_attempts_are_bounded_by_traffic(rounds: list[tuple[int, float, Ending, Ending]], keys: int) -> None:
    """Whatever happens: attempts at a provider <= 1.2 x the requests that came to it + 3, over any stretch."""
    fleet = Fleet("a", "b", keys=keys, breaker=NEVER_OPEN)
    firsts = dict.fromkeys("ab", 0)
    try:
        for count, pause_s, one, other in rounds:
            fleet.always(one, "a")
            fleet.always(other, "b")
            exchanges = [fleet.exchange() for _ in range(count)]
            fleet.loop.tell(all_served(fleet, exchanges))
            fleet.is_at_rest()
            fleet.wait(pause_s)
            for name in firsts:
                firsts[name] += sum(
                    any(attempt.target.provider == name for attempt in exchange.attempts) for exchange in exchanges
                )
                asked = sum(question.provider == name for question in fleet.asked)
                assert asked <= 1.2 * firsts[name] + 3
            assert all(len(exchange.attempts) <= 2 + MAX_REPEATS for exchange in exchanges)
    finally:
        fleet.close()
