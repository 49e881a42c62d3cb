"""Dispatch: who is asked, in which order, and when the next one is: by the one table of consequences."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.breaker import State
from gateway.core.errors import KINDS, GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome, Verdict
from gateway.core.routing import Target
from gateway.proxy.answers import ProviderFailure, ProviderRefusal, Rests
from gateway.proxy.exchange import Attempt
from tests.proxy.conftest import MakeFleet
from tests.proxy.fleet import NEVER_OPEN, RESPONSES, Fleet, Hang
from tests.surface.exchanges import PRICE, attempt, order_of

NO_RETRIES = {"share": 0, "floor": 0}


@pytest.fixture
def fleet(make_fleet: MakeFleet) -> Fleet:
    """Three providers whose circuits never open and that are not asked again."""
    return make_fleet("a", "b", "c", breaker=NEVER_OPEN, retries=NO_RETRIES)


def test_the_first_that_answers_serves(fleet: Fleet) -> None:
    """Targets are asked in order; what failed keeps its outcome, and the request's body is let go."""
    fleet.tell("a", "connect_failed")
    fleet.tell("b", "stream_error")
    exchange = fleet.exchange()
    assert fleet.hear(exchange) == "c"
    assert fleet.order() == ["a", "b", "c"]
    assert [tried.outcome for tried in exchange.attempts] == ["connect_failed", "stream_error", "success"]
    assert exchange.served is exchange.attempts[-1]
    assert (order_of(exchange).body, order_of(exchange).document) == (b"", {})
    assert fleet.counted("fallbacks_total") == {("a", "b", "connect_failed"): 1, ("b", "c", "stream_error"): 1}


@pytest.mark.parametrize("code", sorted(code for code, kind in KINDS.items() if code == kind.outcome))
def test_the_table_says_who_moves_on(fleet: Fleet, code: str) -> None:
    """Every outcome, by its one column; and by another column the circuit hears of it."""
    fleet.tell("a", code)
    exchange = fleet.exchange()
    consequences = CONSEQUENCES[Outcome(code)]
    assert fleet.hear(exchange) == ("b" if consequences.may_move_on else code)
    assert fleet.order() == (["a", "b"] if consequences.may_move_on else ["a"])
    assert fleet.counted("fallbacks_total") == ({("a", "b", code): 1} if consequences.may_move_on else {})
    heard = fleet.state("a").breaker.snapshot()
    # the deadline is a target's fault only where it had its time
    failed = consequences.verdict is Verdict.FAILURE and code != Outcome.DEADLINE_EXCEEDED
    assert (heard.failures, heard.successes) == (failed, consequences.verdict is Verdict.SUCCESS)
    if not consequences.may_move_on:
        assert order_of(exchange).body != b""


def test_a_refusal_of_the_clients_making_ends_it(fleet: Fleet) -> None:
    """A 4xx would be the same anywhere, and shows that the target works."""
    fleet.tell("a", ProviderRefusal(422, b"{}", {}))
    assert fleet.ask() == "invalid_request"
    assert (fleet.order(), fleet.state("a").breaker.snapshot().successes) == (["a"], 1)


def test_the_last_failure_is_the_answer(fleet: Fleet) -> None:
    """Where none answers, the client reads of the last; each was asked once."""
    for name, code in zip("abc", ("connect_failed", "provider_error", "truncated"), strict=True):
        fleet.tell(name, code)
    assert fleet.ask() == "truncated"
    assert fleet.order() == ["a", "b", "c"]


def test_the_deadline_ends_the_tries(fleet: Fleet) -> None:
    """No further target is asked once it has passed: here at the moment in which the first fails."""
    fleet.tell("a", Hang(45, "provider_error"))
    fleet.tell("b", Hang(15, "provider_error"))
    assert fleet.ask() == "deadline_exceeded"
    assert (fleet.order(), fleet.loop.now) == (["a", "b"], 1060)


def test_nobody_is_asked_after_the_deadline(fleet: Fleet) -> None:
    """A failure in its very moment is the answer."""
    fleet.tell("a", "connect_failed")
    exchange = fleet.exchange()
    exchange.deadline = fleet.loop.now
    assert (fleet.hear(exchange), fleet.order()) == ("connect_failed", ["a"])


def test_a_target_that_had_little_time_is_not_blamed_for_the_deadline(fleet: Fleet) -> None:
    """The one before has used it up; a target that had half of its time and more has failed."""
    fleet.tell("a", Hang(45, "provider_error"))
    fleet.tell("b", Hang())
    assert fleet.ask() == "deadline_exceeded"
    assert fleet.state("b").breaker.snapshot().failures == 0
    fleet.tell("a", Hang(10, "provider_error"))
    fleet.tell("b", Hang())
    assert fleet.ask() == "deadline_exceeded"
    assert fleet.state("b").breaker.snapshot().failures == 1


def test_a_target_without_first_token_is_left_for_the_next(make_fleet: MakeFleet) -> None:
    """`first_token_s` is for each attempt, the deadline for all."""
    fleet = make_fleet("a", "b", timeouts={"first_token_s": 5})
    hang = Hang()
    fleet.tell("a", hang)
    assert fleet.ask() == "b"
    assert (hang.left, fleet.loop.now) == (True, 1005)
    assert fleet.counted("fallbacks_total") == {("a", "b", "first_token_timeout"): 1}
    assert fleet.state("a").breaker.snapshot().failures == 1


def test_a_slow_first_token_is_a_failure(make_fleet: MakeFleet) -> None:
    """Where the model says what slow is: served all the same, and heard once, whatever the stream does later."""
    for ending in (Outcome.SUCCESS, Outcome.TRUNCATED, Outcome.CLIENT_CLOSED):
        fleet = make_fleet("a", slow_first_token_s=2.0)
        for after_s, heard in ((1.9, (0, ending is Outcome.TRUNCATED)), (2.1, (0, 1))):
            before = fleet.state("a").breaker.snapshot()
            fleet.tell("a", Hang(after_s))
            assert fleet.ask(ending) == "a"
            after = fleet.state("a").breaker.snapshot()
            successes, failures = after.successes - before.successes, after.failures - before.failures
            expected = heard if after_s > 2 or ending is not Outcome.SUCCESS else (1, 0)
            assert (successes, failures) == expected, (ending, after_s)


def test_a_slow_probe_fails(make_fleet: MakeFleet) -> None:
    """It does not close the circuit."""
    fleet = make_fleet("a", slow_first_token_s=2.0, breaker={"consecutive_failures": 1})
    fleet.open_circuit("a")
    fleet.wait(11)
    fleet.tell("a", Hang(3))
    assert (fleet.ask(), fleet.circuit("a")) == ("a", State.OPEN)


@pytest.mark.parametrize("ending", [Outcome.SUCCESS, Outcome.CLIENT_CLOSED, Outcome.TRUNCATED, Outcome.STALLED])
def test_a_probe_succeeds_with_its_first_content(make_fleet: MakeFleet, ending: Outcome) -> None:
    """However its stream ends: a break after it is a new failure, in the circuit that it has closed."""
    fleet = make_fleet("a", breaker={"consecutive_failures": 1, "quiet_s": 5})
    fleet.open_circuit("a")
    fleet.wait(11)
    assert fleet.ask(ending) == "a"
    assert fleet.circuit("a") is State.CLOSED
    broke = CONSEQUENCES[ending].verdict is Verdict.FAILURE
    assert fleet.state("a").breaker.snapshot().failures == broke
    assert fleet.counted("circuit_breaker_transitions_total")["a", "closed", "probe_succeeded"] == 1


def test_who_cannot_be_asked_is_passed_over(make_fleet: MakeFleet) -> None:
    """Cut off, at rest or full: no attempt is made, and the way to the next is counted by what was in the way."""
    fleet = make_fleet("a", "b", breaker={"consecutive_failures": 1}, pool={"connections": 1, "warm": 0})
    fleet.tell("a", ProviderFailure("provider_throttled", "Later.", Rests.TARGET, 60))
    assert (fleet.ask(), fleet.ask(), fleet.order()) == ("b", "b", ["a", "b", "b"])
    fleet.wait(60)
    fleet.tell("a", "provider_error")
    assert (fleet.ask(), fleet.ask(), fleet.order()) == ("b", "b", ["a", "b", "b"])
    fleet.state("a").breaker.reset()
    taken = fleet.state("a").take_turn(60)
    assert fleet.loop.tell(fleet.serve(fleet.exchange())) == "b"
    taken.end(Verdict.NEUTRAL)  # type: ignore[union-attr]
    fleet.is_at_rest()
    assert fleet.counted("fallbacks_total") == {
        ("a", "b", "provider_throttled"): 2,
        ("a", "b", "provider_error"): 1,
        ("a", "b", "circuit_open"): 1,
        ("a", "b", "overloaded"): 1,
    }


def test_another_model_of_the_same_provider_is_no_move(fleet: Fleet) -> None:
    """It is tried, and counted as an attempt; the metric is of providers."""
    one, two, _ = fleet.route.targets
    fleet.route = replace(fleet.route, targets=(one, replace(one, weight=2), two))
    fleet.tell("a", "provider_error", "stalled")
    assert (fleet.ask(), fleet.order()) == ("b", ["a", "a", "b"])
    assert fleet.counted("fallbacks_total") == {("a", "b", "stalled"): 1}


def test_the_price_is_judged_for_each_target(fleet: Fleet) -> None:
    """One without is no candidate; what costs nothing by itself may go there."""
    unpriced, priced, _ = fleet.route.targets
    fleet.route = replace(fleet.route, targets=(replace(unpriced, price=None), priced))
    assert (fleet.ask(), fleet.order()) == ("b", ["b"])
    assert (fleet.ask(path="/v1/messages/count_tokens"), fleet.order()) == ("a", ["a"])


def test_the_balance_decides_who_is_first(make_fleet: MakeFleet) -> None:
    """Weighted by chance; the least busy by what runs there now."""
    weighted = make_fleet("a", "b", balance="weighted", draw=0.6)
    assert (weighted.ask(), weighted.order()) == ("b", ["b"])
    idler = make_fleet("a", "b", balance="least_busy")
    taken = idler.state("a").take_turn(60)
    assert idler.loop.tell(idler.serve(idler.exchange())) == "b"
    taken.end(Verdict.NEUTRAL)  # type: ignore[union-attr]
    assert idler.ask() == "a"


def remembered(provider: str, key_index: int = 0) -> Attempt:
    return attempt(Target(provider, "gpt", price=PRICE), key_index=key_index)


def test_continued_answers(make_fleet: MakeFleet) -> None:
    """They go to the target and the key that gave them and nowhere else; an unknown one takes the usual order."""
    fleet = make_fleet("a", "b", keys=4)
    fleet.pins.remember("resp_1", "acme", remembered("b", 3))
    known: dict[str, Any] = {"path": RESPONSES, "previous_response_id": "resp_1"}
    assert fleet.ask(**known) == "b"
    fleet.tell("b", "connect_failed")
    assert fleet.ask(**known) == "connect_failed"
    assert [(asked.provider, asked.key) for asked in fleet.asked] == [("b", "sk-3"), ("b", "sk-3")]
    assert fleet.ask(path=RESPONSES, previous_response_id="resp_2") == "a"


@pytest.mark.parametrize(("provider", "tenant"), [("elsewhere", "acme"), ("b", "somebody-else")])
def test_answers_that_cannot_be_continued(fleet: Fleet, provider: str, tenant: str) -> None:
    """Where the answer's provider does not serve the model, or the answer is another tenant's, nobody is asked."""
    fleet.pins.remember("resp_1", tenant, remembered(provider))
    exchange = fleet.exchange(path=RESPONSES, previous_response_id="resp_1")
    assert fleet.hear(exchange) == "invalid_request"
    assert isinstance(exchange.error, GatewayError)
    assert (exchange.error.status, exchange.error.param) == (400, "previous_response_id")
    assert (fleet.order(), exchange.attempts) == ([], [])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("after_s", [0.0, 1.0, 6.0, 11.0])
def test_a_client_that_leaves_leaves_nothing(make_fleet: MakeFleet, stream: bool, after_s: float) -> None:
    """While the first is asked, while the second is, in a wait to ask again, before a probe's content."""
    fleet = make_fleet("a", "b", draw=0.5, breaker={"consecutive_failures": 2})
    fleet.tell("a", Hang(5, "provider_error"))
    hangs = Hang(5, ProviderFailure("provider_throttled", "Later.", Rests.TARGET, 1.5)), Hang()
    fleet.tell("b", *hangs)
    exchange = fleet.ask_and_leave(after_s, stream=stream)
    assert exchange.attempts[-1].outcome in ("client_closed", "provider_throttled")
    assert exchange.served is None
    assert (fleet.counted("attempts_total").get(("b", "client_closed"), 0)) == (after_s == 6.0)


def test_a_probe_whose_client_leaves_frees_its_place(make_fleet: MakeFleet) -> None:
    """The next request may probe at once."""
    fleet = make_fleet("a", breaker={"consecutive_failures": 1})
    fleet.open_circuit("a")
    fleet.wait(11)
    fleet.tell("a", Hang())
    assert fleet.ask_and_leave(1.0).attempts[-1].outcome == "client_closed"
    assert fleet.circuit("a") is State.HALF_OPEN
    assert (fleet.ask(), fleet.circuit("a")) == ("a", State.CLOSED)


def test_our_own_mistake_blames_nobody(fleet: Fleet) -> None:
    """What is no error of ours ends the request as it is; the attempt ends with it, and the circuit hears nothing."""
    fleet.tell("a", ValueError("a mistake"))
    exchange = fleet.exchange()
    with pytest.raises(ValueError, match="a mistake"):
        fleet.hear(exchange)
    fleet.is_at_rest()
    assert (fleet.order(), exchange.attempts[0].outcome) == (["a"], "internal")
    assert fleet.state("a").breaker.snapshot().failures == 0
