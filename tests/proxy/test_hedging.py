"""Hedging: who is asked beside a slow one, who serves, what becomes of the other, and how often it may happen."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.breaker import State
from gateway.core.outcome import Outcome
from gateway.core.routing import HedgeSettings
from gateway.proxy.relay import head_of
from tests.proxy.conftest import MakeFleet
from tests.proxy.fleet import NEVER_OPEN, RESPONSES, Ending, Fleet, Hang
from tests.surface.exchanges import NOW_S

AFTER_S = 2.0
ALWAYS = HedgeSettings(after_s=AFTER_S, max_share=1)


@pytest.fixture
def fleet(make_fleet: MakeFleet) -> Fleet:
    """Three providers; every request may be hedged, none is repeated."""
    return make_fleet("a", "b", "c", hedge=ALWAYS, breaker=NEVER_OPEN, retries={"share": 0, "floor": 0})


def times(fleet: Fleet) -> list[tuple[str, float]]:
    return [(asked.provider, asked.at_s - NOW_S) for asked in fleet.asked]


@pytest.mark.parametrize("stream", [True, False])
def test_nobody_is_asked_beside_a_quick_one(fleet: Fleet, stream: bool) -> None:
    """Content before `after_s` is all there is to it."""
    fleet.tell("a", Hang(AFTER_S - 0.1))
    assert (fleet.ask(stream=stream), fleet.order()) == ("a", ["a"])
    assert fleet.counted("hedges_total") == {}


@pytest.mark.parametrize("stream", [True, False])
def test_the_second_serves_where_it_is_first(fleet: Fleet, stream: bool) -> None:
    """It starts at `after_s`; the slow one is cancelled, ends as `hedge_lost`, and its circuit hears nothing."""
    slow = Hang(30)
    fleet.tell("a", slow)
    fleet.tell("b", Hang(1))
    exchange = fleet.exchange(stream=stream)
    assert fleet.hear(exchange) == "b"
    assert times(fleet) == [("a", 0), ("b", AFTER_S)]
    assert (slow.left, fleet.loop.now) == (True, NOW_S + AFTER_S + 1)
    assert [attempt.outcome for attempt in exchange.attempts] == ["hedge_lost", "success"]
    heard = fleet.state("a").breaker.snapshot()
    assert (heard.successes, heard.failures) == (0, 0)
    assert fleet.counted("hedges_total") == {("b", "won"): 1}
    assert fleet.counted("attempts_total") == {("a", "hedge_lost"): 1, ("b", "success"): 1}
    assert fleet.counted("fallbacks_total") == {}


def test_the_first_may_still_win(fleet: Fleet) -> None:
    """Then it has served, though it is not the last attempt: in the head, in the log and for who asks."""
    beside = Hang()
    fleet.tell("a", Hang(AFTER_S + 1))
    fleet.tell("b", beside)
    exchange = fleet.exchange()
    assert fleet.hear(exchange) == "a"
    assert beside.left
    assert exchange.served is exchange.attempts[0]
    assert exchange.target is not None and exchange.target.provider == "a"
    head = head_of(exchange)
    assert (head["x-gateway-provider"], head["x-gateway-attempts"]) == ("a", "2")
    (line,) = fleet.lines()
    assert (line["provider"], line["attempts"]) == ("a", 2)
    assert [(tried["provider"], tried["outcome"], tried["ms"]) for tried in line["tried"]] == [
        ("a", "success", 3000.0),
        ("b", "hedge_lost", 1000.0),
    ]
    assert fleet.counted("hedges_total") == {("b", "lost"): 1}


def test_both_in_the_same_moment(fleet: Fleet) -> None:
    """The first serves; the other's answer is closed, and it has lost all the same."""
    fleet.tell("a", Hang(AFTER_S + 1))
    fleet.tell("b", Hang(1))
    exchange = fleet.exchange()
    assert fleet.hear(exchange) == "a"
    assert [attempt.outcome for attempt in exchange.attempts] == ["success", "hedge_lost"]
    assert len(fleet.providers["b"].streams) == 1
    assert fleet.counted("hedges_total") == {("b", "lost"): 1}


@pytest.mark.parametrize("second_s", [0.5, 1.0, 2.0])
def test_both_fail(fleet: Fleet, second_s: float) -> None:
    """Whoever is last; then it is the next one's turn."""
    fleet.tell("a", Hang(AFTER_S + 1, "provider_error"))
    fleet.tell("b", Hang(second_s, "connect_failed"))
    exchange = fleet.exchange()
    assert fleet.hear(exchange) == "c"
    assert [attempt.outcome for attempt in exchange.attempts] == ["provider_error", "connect_failed", "success"]
    assert fleet.counted("hedges_total") == {("b", "failed"): 1}
    assert sum(fleet.counted("fallbacks_total").values()) == 1


@pytest.mark.parametrize("failing", ["a", "b"])
def test_one_failure_leaves_the_other_running(fleet: Fleet, failing: str) -> None:
    """What another could mend, the other may mend already: nobody else is asked."""
    for name in "ab":
        fleet.tell(name, Hang(AFTER_S + 1 if name == "a" else 1, "provider_error" if name == failing else None))
    left = "b" if failing == "a" else "a"
    fleet.providers[left].endings[0] = Hang(10)
    assert (fleet.ask(), fleet.order()) == (left, ["a", "b"])
    assert fleet.counted("hedges_total") == {("b", "won" if left == "b" else "lost"): 1}


@pytest.mark.parametrize("refusing", ["a", "b"])
def test_what_nobody_could_mend_ends_it(fleet: Fleet, refusing: str) -> None:
    """The request itself is wrong: the other is let go, without a verdict."""
    running = Hang()
    refusal = Hang(AFTER_S + 1 if refusing == "a" else 1, "invalid_request")
    fleet.tell("a", refusal if refusing == "a" else running)
    fleet.tell("b", refusal if refusing == "b" else running)
    exchange = fleet.exchange()
    assert fleet.hear(exchange) == "invalid_request"
    assert running.left
    assert {attempt.outcome for attempt in exchange.attempts} == {"invalid_request", "hedge_lost"}
    assert fleet.counted("hedges_total") == {("b", "failed"): 1}


def test_who_fails_before_is_no_race(fleet: Fleet) -> None:
    """The next one is asked at once, and is the one that may be hedged from then on."""
    fleet.tell("a", Hang(1, "provider_error"))
    fleet.tell("b", Hang(30))
    assert fleet.ask() == "c"
    assert times(fleet) == [("a", 0), ("b", 1), ("c", 1 + AFTER_S)]
    assert fleet.counted("hedges_total") == {("c", "won"): 1}
    assert fleet.counted("fallbacks_total") == {("a", "b", "provider_error"): 1}


@pytest.mark.parametrize(("after_s", "asked", "hedges"), [(1.0, ["a"], {}), (3.0, ["a", "b"], {("b", "abandoned"): 1})])
def test_a_client_that_leaves_the_race(
    fleet: Fleet, after_s: float, asked: list[str], hedges: dict[tuple[str, ...], int]
) -> None:
    """Whoever runs is cancelled, and ends as the request does."""
    fleet.tell("a", Hang())
    fleet.tell("b", Hang())
    exchange = fleet.ask_and_leave(after_s)
    assert fleet.order() == asked
    assert [attempt.outcome for attempt in exchange.attempts] == ["client_closed"] * len(asked)
    assert fleet.counted("hedges_total") == hedges


class Stubborn(Hang):
    """Takes half a second to close its connection, however often it is told to."""

    async def answer(self) -> Ending:
        try:
            return await super().answer()
        except asyncio.CancelledError:
            closing = asyncio.create_task(asyncio.sleep(0.5))  # timed: by a loop that never waits
            while not closing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(closing)
            raise


def test_a_client_that_leaves_while_the_loser_closes(fleet: Fleet) -> None:
    """The winner's answer is nobody's yet, and is closed as well."""
    fleet.tell("a", Stubborn())
    fleet.tell("b", Hang(1))
    exchange = fleet.ask_and_leave(AFTER_S + 1.25)
    assert len(fleet.providers["b"].streams) == 1
    assert [attempt.outcome for attempt in exchange.attempts] == ["client_closed", "client_closed"]
    assert fleet.counted("hedges_total") == {("b", "abandoned"): 1}


def test_a_request_that_is_cancelled_twice(fleet: Fleet) -> None:
    """As a server does that has waited long enough: what has ended by then is closed."""
    fleet.tell("a", Stubborn())
    fleet.tell("b", Hang(1))
    exchange = fleet.exchange()

    async def story() -> None:
        task = asyncio.create_task(fleet.serve(exchange))
        for pause_s in (AFTER_S + 1.125, 0.125):
            await asyncio.sleep(pause_s)  # timed: by a loop that never waits
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not fleet.providers["b"].streams[0].is_open
        await asyncio.sleep(1)  # timed: by a loop that never waits

    fleet.loop.tell(story())
    fleet.is_at_rest()


@pytest.mark.parametrize("mistaken", ["a", "b"])
def test_our_own_mistake_leaves_nobody_running(fleet: Fleet, mistaken: str) -> None:
    """Whatever ends one of the two, the other is not forgotten."""
    running = Hang()
    mistake = Hang(AFTER_S + 1 if mistaken == "a" else 1, ValueError("a mistake"))
    fleet.tell("a", mistake if mistaken == "a" else running)
    fleet.tell("b", mistake if mistaken == "b" else running)
    with pytest.raises(ValueError, match="a mistake"):
        fleet.ask()
    fleet.is_at_rest()
    assert running.left


def test_nobody_left_to_ask_is_no_hedge(make_fleet: MakeFleet) -> None:
    """The slow one goes on alone, and the share is kept for later."""
    fleet = make_fleet("a", "b", hedge=HedgeSettings(after_s=AFTER_S, max_share=0.5), breaker=NEVER_OPEN)
    fleet.state("b").rest(100)
    for _ in range(2):
        fleet.tell("a", Hang(5))
        assert (fleet.ask(), fleet.order()) == ("a", ["a"])
    fleet.wait(100)
    fleet.tell("a", Hang(5))
    assert (fleet.ask(), fleet.order()) == ("b", ["a", "b"])
    assert fleet.counted("fallbacks_total") == {}


def test_a_continued_answer_is_not_hedged(fleet: Fleet) -> None:
    """Whoever else was asked could only say that it does not know it, and that would be the answer."""
    fleet.tell("a", Hang(AFTER_S + 10))
    fleet.tell("b", "invalid_request")
    assert fleet.ask(path=RESPONSES, previous_response_id="resp_not_remembered") == "a"
    assert fleet.order() == ["a"]


def test_a_probe_that_loses_frees_its_place(make_fleet: MakeFleet) -> None:
    """It has said nothing about the target, which is probed again with the next request."""
    fleet = make_fleet("a", "b", hedge=ALWAYS, breaker={"consecutive_failures": 1})
    fleet.open_circuit("a")
    fleet.wait(11)
    fleet.tell("a", Hang())
    assert fleet.ask() == "b"
    assert fleet.circuit("a") is State.HALF_OPEN
    assert (fleet.ask(), fleet.circuit("a")) == ("a", State.CLOSED)


@given(
    share=st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0]),
    endings=st.lists(st.tuples(*[st.sampled_from([None, "provider_error", "slow"])] * 3), min_size=1, max_size=60),
)
@settings(max_examples=50)
def test_hedges_are_a_share_of_the_requests(share: float, endings: list[tuple[str | None, ...]]) -> None:
    """Never more, over any stretch, however many candidates a request goes through."""
    hedge = HedgeSettings(after_s=AFTER_S, max_share=share)
    fleet = Fleet("a", "b", "c", hedge=hedge, breaker=NEVER_OPEN, retries={"share": 0, "floor": 0})
    try:
        for requests, told in enumerate(endings, 1):
            for name, ending in zip("abc", told, strict=True):
                fleet.providers[name].endings.clear()
                fleet.tell(name, Hang(AFTER_S * 2) if ending == "slow" else ending)
            fleet.ask()
            hedges = sum(cell.value for cell in fleet.metrics.declared.hedges.cells().values())
            assert hedges <= share * requests
    finally:
        fleet.close()


def test_a_share_is_used(make_fleet: MakeFleet) -> None:
    """Where all are slow, exactly so many are hedged."""
    fleet = make_fleet("a", "b", hedge=HedgeSettings(after_s=AFTER_S, max_share=0.05), breaker=NEVER_OPEN)
    fleet.always(Hang(AFTER_S * 2), "a")
    said = [fleet.ask() for _ in range(100)]
    assert (said.count("b"), said.count("a")) == (5, 95)
    assert fleet.counted("hedges_total") == {("b", "won"): 5}


@pytest.mark.parametrize("ending", [Outcome.TRUNCATED, Outcome.CLIENT_CLOSED])
def test_the_winner_ends_as_the_request_does(fleet: Fleet, ending: Outcome) -> None:
    """What happens after the first content is its own."""
    fleet.tell("a", Hang(30))
    exchange = fleet.exchange()
    assert fleet.hear(exchange, ending) == "b"
    assert [attempt.outcome for attempt in exchange.attempts] == ["hedge_lost", ending]
