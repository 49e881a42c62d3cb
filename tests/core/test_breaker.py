"""The circuit breaker: its stories, every short sequence of events, long random ones, and the figures it must meet.

Long because stories, exhaustive walk and figures are the evidence for one machine.
"""

import math
import random
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from gateway.core.breaker import (
    LEGAL,
    PROBE_GRACE_S,
    BreakerSettings,
    CircuitBreaker,
    Permit,
    Reason,
    Refused,
    State,
    Transition,
)

CLOSED, HALF_OPEN, OPEN = State.CLOSED, State.HALF_OPEN, State.OPEN
LONGEST_S = 60.0 - PROBE_GRACE_S
"""What the requests of these stories may take, where nothing else is said: as probes they have a minute."""
PAGE = Path(__file__).parent.parent.parent / "docs" / "breaker.md"


class Circuit:
    """One breaker, its clock, its luck (the largest jitter is drawn at ``luck`` 1) and what it told."""

    def __init__(self, luck: float = 0.0, **settings: float) -> None:
        self.now_s = 1000.0
        self.readings = 0
        self.luck = luck
        self.told: list[Transition] = []
        self.settings = BreakerSettings.model_validate(settings)
        self.breaker = CircuitBreaker(self.settings, self._read, lambda: self.luck, self.told.append)

    def _read(self) -> float:
        self.readings += 1
        return self.now_s

    @property
    def state(self) -> State:
        return self.breaker.state

    @property
    def reasons(self) -> list[Reason]:
        return [transition.reason for transition in self.told]

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def ask(self, longest_s: float = LONGEST_S) -> Permit:
        """Ask, and be let through."""
        permit = self.breaker.acquire(longest_s)
        assert isinstance(permit, Permit)
        return permit

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.ask().succeed()

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.ask().fail()

    def refused_for(self) -> float:
        """Ask, and be refused; returns for how long."""
        refused = self.breaker.acquire(LONGEST_S)
        assert isinstance(refused, Refused)
        return refused.retry_after_s

    def force(self, longest_s: float = LONGEST_S) -> Permit:
        """Ask as the last resort, and be let through."""
        permit = self.breaker.force_probe(longest_s)
        assert isinstance(permit, Permit)
        return permit

    def trip(self) -> None:
        """Open a closed circuit by total failure."""
        self.wait(self.settings.quiet_s)
        self.fail(self.settings.consecutive_failures)
        assert self.state is OPEN


@pytest.fixture
def circuit() -> Circuit:
    """A circuit with the default settings and no jitter."""
    return Circuit()


# --- opening


def test_five_failures_in_a_row_open_it(circuit: Circuit) -> None:
    """Where nothing ever went well, and not the fourth."""
    circuit.fail(4)
    assert circuit.state is CLOSED
    circuit.fail()
    assert circuit.state is OPEN
    assert circuit.told == [Transition(CLOSED, OPEN, Reason.CONSECUTIVE_FAILURES, 1000.0)]


def test_a_row_of_failures_within_a_second_of_a_success_is_bad_luck(circuit: Circuit) -> None:
    """It opens with the first failure a second after the last success."""
    circuit.succeed()
    circuit.wait(0.99)
    circuit.fail(9)
    assert circuit.state is CLOSED
    circuit.wait(0.01)
    circuit.fail()
    assert circuit.reasons == [Reason.CONSECUTIVE_FAILURES]


def test_a_success_breaks_the_row(circuit: Circuit) -> None:
    """Four failures, a success and four failures, a minute apart each, are no outage."""
    for _ in range(3):
        circuit.fail(4)
        circuit.wait(60)
        circuit.succeed()
        circuit.wait(60)
    assert circuit.told == []


def test_half_of_twenty_failing_opens_it(circuit: Circuit) -> None:
    """The tenth failure among twenty, with good answers in between."""
    for _ in range(9):
        circuit.succeed()
        circuit.fail()
    circuit.succeed()
    assert circuit.state is CLOSED
    circuit.fail()
    assert circuit.reasons == [Reason.FAILURE_RATIO]


def test_less_than_half_does_not(circuit: Circuit) -> None:
    """Nine failures among twenty, and so on."""
    for _ in range(50):
        circuit.succeed(11)
        circuit.fail(9)
    assert circuit.told == []


def test_failures_that_left_the_window_do_not_count(circuit: Circuit) -> None:
    """Ten failures, half a minute, and ten successes and nine failures: only those of the window are weighed."""
    circuit.succeed()
    circuit.fail(10)
    circuit.wait(30)
    circuit.succeed(10)
    circuit.fail(9)
    assert circuit.told == []
    snapshot = circuit.breaker.snapshot()
    assert (snapshot.successes, snapshot.failures) == (10, 9)


def test_neutral_endings_count_nowhere(circuit: Circuit) -> None:
    """A hundred clients that leave open nothing, and break no row of failures either."""
    circuit.fail(4)
    for _ in range(100):
        circuit.ask().neutral()
    assert circuit.state is CLOSED
    circuit.fail()
    assert circuit.state is OPEN


def test_a_verdict_counts_once(circuit: Circuit) -> None:
    """The first of several, in any order."""
    for first, then in product(("succeed", "fail", "neutral"), repeat=2):
        circuit.breaker.reset()
        permit = circuit.ask()
        getattr(permit, first)()
        getattr(permit, then)()
        snapshot = circuit.breaker.snapshot()
        assert (snapshot.successes, snapshot.failures) == (first == "succeed", first == "fail")


def test_verdicts_of_an_older_generation_are_ignored(circuit: Circuit) -> None:
    """Requests from before the outage say nothing about the target of now, however they end."""
    old = [circuit.ask() for _ in range(30)]
    circuit.trip()
    for permit in old[:10]:
        permit.succeed()
    assert circuit.state is OPEN
    circuit.wait(10)
    probe = circuit.ask()
    for permit in old[10:20]:
        permit.succeed()
    assert circuit.state is HALF_OPEN
    probe.succeed()
    for permit in old[20:]:
        permit.fail()
    assert circuit.breaker.snapshot().failures == 0
    assert circuit.state is CLOSED


def test_a_late_break_is_a_new_failure(circuit: Circuit) -> None:
    """Streams of which only the beginning went well open the circuit like other failures."""
    circuit.trip()
    circuit.wait(10)
    circuit.succeed()
    circuit.wait(1)
    for _ in range(5):
        circuit.breaker.record_failure()
    assert circuit.state is OPEN
    assert circuit.reasons[-2:] == [Reason.PROBE_SUCCEEDED, Reason.CONSECUTIVE_FAILURES]


def test_a_late_break_decides_nothing_while_probes_do(circuit: Circuit) -> None:
    """Open or half-open it changes nothing."""
    circuit.trip()
    circuit.breaker.record_failure()
    assert circuit.breaker.snapshot().failures == 5
    circuit.wait(10)
    circuit.ask()
    circuit.breaker.record_failure()
    assert circuit.state is HALF_OPEN


# --- resting and probing


def test_an_open_circuit_refuses_and_says_for_how_long(circuit: Circuit) -> None:
    """Until the cool-down is over."""
    circuit.trip()
    assert circuit.refused_for() == 10
    circuit.wait(9.5)
    assert circuit.refused_for() == 0.5
    circuit.wait(0.5)
    assert circuit.ask().is_probe


def test_the_first_good_probe_closes_it(circuit: Circuit) -> None:
    """All further requests are let through, and the old failures forgotten."""
    circuit.trip()
    circuit.wait(10)
    circuit.succeed()
    assert circuit.state is CLOSED
    assert circuit.reasons[1:] == [Reason.COOLED_DOWN, Reason.PROBE_SUCCEEDED]
    assert not circuit.ask().is_probe
    circuit.wait(1)
    circuit.fail(4)
    assert circuit.state is CLOSED


def test_a_good_probe_is_a_success_like_others(circuit: Circuit) -> None:
    """Five failures within a second of it are bad luck still."""
    circuit.trip()
    circuit.wait(10)
    circuit.succeed()
    circuit.wait(0.5)
    circuit.fail(9)
    assert circuit.state is CLOSED
    circuit.wait(0.5)
    circuit.fail()
    assert circuit.state is OPEN


@pytest.mark.parametrize("verdict", ["succeed", "fail", "neutral"])
def test_a_verdict_after_the_deadline_is_none(circuit: Circuit, verdict: str) -> None:
    """Though nobody looked meanwhile, and the verdict is the first that the circuit hears again."""
    circuit.trip()
    circuit.wait(10)
    probe = circuit.ask()
    circuit.wait(65)
    getattr(probe, verdict)()
    assert [(t.reason, t.at_s) for t in circuit.told[2:]] == [(Reason.PROBE_TIMED_OUT, 1071.0)]
    assert circuit.refused_for() == 15


def test_one_probe_at_a_time(circuit: Circuit) -> None:
    """Others are refused for a moment, for the verdict may come any time."""
    circuit.trip()
    circuit.wait(10)
    circuit.ask()
    assert circuit.refused_for() == 1
    circuit.wait(59.5)
    assert circuit.refused_for() == 0.5


def test_as_many_probes_as_set_and_the_first_verdict_decides() -> None:
    """Three at once, the fourth is refused; one fails, and what the others say is of yesterday."""
    circuit = Circuit(probes=3)
    circuit.trip()
    circuit.wait(10)
    first, second, third = circuit.ask(), circuit.ask(), circuit.ask()
    circuit.refused_for()
    second.fail()
    assert circuit.state is OPEN
    first.succeed()
    third.neutral()
    assert circuit.state is OPEN
    assert circuit.refused_for() == 20


def test_a_neutral_probe_frees_its_place(circuit: Circuit) -> None:
    """The next request asks the question again."""
    circuit.trip()
    circuit.wait(10)
    probe = circuit.ask()
    circuit.refused_for()
    probe.neutral()
    assert circuit.state is HALF_OPEN
    circuit.succeed()
    assert circuit.state is CLOSED


def test_a_probe_that_is_never_reported_times_out(circuit: Circuit) -> None:
    """By the clock, counted from its own start; what it says later is ignored."""
    circuit.trip()
    circuit.wait(10)
    probe = circuit.ask()
    circuit.wait(59.5)
    assert circuit.state is HALF_OPEN
    circuit.wait(1)
    probe.succeed()
    assert circuit.state is OPEN
    assert circuit.told[-1] == Transition(HALF_OPEN, OPEN, Reason.PROBE_TIMED_OUT, 1000 + 1 + 10 + 60)
    assert circuit.refused_for() == 19.5


@pytest.mark.parametrize(
    ("probe_timeout_s", "longest_s", "patience_s"),
    [
        (None, 60.0, 61.0),
        (None, 600.0, 601.0),
        (None, 0.0, 1.0),
        (None, -5.0, 1.0),
        (30.0, 600.0, 30.0),
        (30.0, 5.0, 6.0),
        (30.0, 30.0, 30.0),
        (0.5, 0.0, 0.5),
    ],
)
@pytest.mark.parametrize("last_resort", [False, True])
def test_a_probe_has_the_time_of_its_request(
    probe_timeout_s: float | None, longest_s: float, patience_s: float, last_resort: bool
) -> None:
    """And a second, so that the request's own deadline reports first; less only where the settings say so."""
    circuit = Circuit() if probe_timeout_s is None else Circuit(probe_timeout_s=probe_timeout_s)
    circuit.trip()
    if not last_resort:
        circuit.wait(10)
    began_s = circuit.now_s
    assert (circuit.force(longest_s) if last_resort else circuit.ask(longest_s)).is_probe
    circuit.wait(patience_s - 0.25)
    assert circuit.state is HALF_OPEN
    circuit.wait(0.25)
    assert circuit.state is OPEN
    assert circuit.told[-1] == Transition(HALF_OPEN, OPEN, Reason.PROBE_TIMED_OUT, began_s + patience_s)


def test_the_shortest_deadline_comes_first() -> None:
    """A short request that probes after a long one: its time is over first, and that decides."""
    circuit = Circuit(probes=2)
    circuit.trip()
    circuit.wait(10)
    circuit.ask(600)
    circuit.wait(1)
    circuit.ask(5)
    circuit.wait(5.5)
    assert circuit.refused_for() == 0.5
    circuit.wait(0.5)
    assert circuit.state is OPEN
    assert circuit.told[-1].at_s == circuit.now_s


def test_a_freed_place_is_no_reason_to_time_out() -> None:
    """The deadlines are those of the probes still out."""
    circuit = Circuit(probes=2)
    circuit.trip()
    circuit.wait(10)
    first = circuit.ask()
    circuit.wait(30)
    circuit.ask()
    first.neutral()
    circuit.wait(59)
    assert circuit.state is HALF_OPEN
    circuit.wait(1)
    assert circuit.state is OPEN


def test_nobody_asks_for_an_hour_after_a_lost_probe(circuit: Circuit) -> None:
    """What was due meanwhile is made up for, dated to when it was due, and the next request is a probe at once."""
    circuit.trip()
    circuit.wait(10)
    circuit.ask()
    circuit.wait(3600)
    assert circuit.ask().is_probe
    assert [(t.reason, t.at_s) for t in circuit.told[2:]] == [
        (Reason.PROBE_TIMED_OUT, 1071.0),
        (Reason.COOLED_DOWN, 1091.0),
    ]


def test_rests_double_up_to_the_cap(circuit: Circuit) -> None:
    """With each probe that fails."""
    circuit.trip()
    rests = []
    for _ in range(7):
        rests.append(circuit.refused_for())
        circuit.wait(rests[-1])
        circuit.fail()
    assert rests == [10, 20, 40, 80, 160, 300, 300]


def test_chance_lengthens_a_rest() -> None:
    """By the share that is set, at most; a share of 0 takes chance away."""
    for luck, share, rest_s in ((0, 0.1, 10), (0.5, 0.1, 10.5), (1, 0.1, 11), (1, 0, 10)):
        circuit = Circuit(luck, jitter=share)
        circuit.trip()
        assert circuit.refused_for() == pytest.approx(rest_s)


@pytest.mark.parametrize(("closed_for_s", "rest_s"), [(29, 20), (30, 10)])
def test_a_window_without_trouble_makes_rests_short_again(circuit: Circuit, closed_for_s: float, rest_s: float) -> None:
    """A target that comes and goes faster than that keeps doubling."""
    circuit.trip()
    circuit.wait(10)
    circuit.succeed()
    circuit.wait(closed_for_s)
    circuit.fail(5)
    assert circuit.refused_for() == rest_s


# --- the last resort


def test_the_last_resort_is_one_probe_before_its_time(circuit: Circuit) -> None:
    """One at a time, at once after the trip; if it goes well the circuit closes."""
    circuit.trip()
    probe = circuit.force()
    assert probe.is_probe
    assert circuit.reasons[-1] is Reason.LAST_RESORT
    assert isinstance(circuit.breaker.force_probe(LONGEST_S), Refused)
    circuit.refused_for()
    probe.succeed()
    assert circuit.state is CLOSED


def test_the_last_resort_is_one_even_where_more_probes_are_allowed() -> None:
    """The cool-down is not over; more would be a way around it."""
    circuit = Circuit(probes=5)
    circuit.trip()
    circuit.force()
    assert isinstance(circuit.breaker.force_probe(LONGEST_S), Refused)
    circuit.refused_for()


def test_a_failed_last_resort_leaves_the_rest_as_it_was(circuit: Circuit) -> None:
    """Neither doubled nor, unless it is almost over, longer; and no other follows within a cool-down."""
    circuit.trip()
    circuit.wait(10)
    circuit.fail()
    circuit.wait(4)
    refused = circuit.breaker.force_probe(LONGEST_S)
    assert refused == Refused(6)
    circuit.wait(6)
    circuit.force().fail()
    assert circuit.refused_for() == 10
    assert circuit.breaker.force_probe(LONGEST_S) == Refused(10)
    circuit.wait(10)
    circuit.fail()
    assert circuit.refused_for() == 40


def test_a_long_rest_survives_a_failed_last_resort(circuit: Circuit) -> None:
    """Desperate requests neither shorten it nor lengthen it."""
    circuit.trip()
    circuit.wait(10)
    circuit.succeed()
    circuit.trip()
    circuit.wait(2)
    circuit.force().fail()
    assert circuit.refused_for() == 18


def test_a_new_trip_has_its_last_resort_at_once(circuit: Circuit) -> None:
    """What failed before an operator's reset delays none."""
    circuit.trip()
    circuit.wait(10)
    circuit.fail()
    circuit.breaker.reset()
    circuit.trip()
    assert circuit.force().is_probe


def test_the_last_resort_is_rare_while_all_fails(circuit: Circuit) -> None:
    """A request each 100 ms for a minute, all of them desperate: a probe in each cool-down, no more."""
    circuit.trip()
    probes = 0
    for _ in range(600):
        permit = circuit.breaker.acquire(LONGEST_S)
        if isinstance(permit, Refused):
            permit = circuit.breaker.force_probe(LONGEST_S)
        if isinstance(permit, Permit):
            probes += 1
            permit.fail()
        circuit.wait(0.1)
    assert probes in (6, 7)


def test_the_last_resort_of_a_circuit_that_is_not_open_is_what_is_there(circuit: Circuit) -> None:
    """A plain permit where it is closed, the free probe where it is half-open."""
    assert not circuit.force().is_probe
    circuit.trip()
    circuit.wait(10)
    assert circuit.force().is_probe
    assert Reason.LAST_RESORT not in circuit.reasons
    assert circuit.breaker.force_probe(LONGEST_S) == Refused(1)


# --- operators, health pages


@pytest.mark.parametrize("state", [CLOSED, OPEN, HALF_OPEN])
def test_an_operator_resets_it(circuit: Circuit, state: State) -> None:
    """It is closed, short of memory, and deaf to what was asked before."""
    old = circuit.ask()
    if state is CLOSED:
        circuit.fail(4)
    else:
        circuit.trip()
    if state is HALF_OPEN:
        circuit.wait(10)
        old = circuit.ask()
    told = len(circuit.told)
    circuit.breaker.reset()
    assert circuit.state is CLOSED
    assert [t.reason for t in circuit.told[told:]] == ([] if state is CLOSED else [Reason.RESET])
    old.fail()
    assert circuit.breaker.snapshot().failures == 0
    circuit.fail(4)
    assert circuit.state is CLOSED
    circuit.fail()
    assert circuit.refused_for() == 10


def test_the_snapshot_tells_what_is_known(circuit: Circuit) -> None:
    """In each state."""
    circuit.succeed(2)
    snapshot = circuit.breaker.snapshot()
    assert (snapshot.state, snapshot.successes, snapshot.failures) == (CLOSED, 2, 0)
    assert (snapshot.open_for_s, snapshot.next_probe_s, snapshot.reason) == (None, None, None)
    circuit.trip()
    circuit.wait(4)
    snapshot = circuit.breaker.snapshot()
    assert (snapshot.state, snapshot.failures_in_a_row, snapshot.failures) == (OPEN, 5, 5)
    assert (snapshot.open_for_s, snapshot.next_probe_s) == (4, 6)
    assert snapshot.reason is Reason.CONSECUTIVE_FAILURES
    circuit.wait(8)
    snapshot = circuit.breaker.snapshot()
    assert (snapshot.state, snapshot.open_for_s, snapshot.next_probe_s) == (HALF_OPEN, 12, 0)
    assert (snapshot.reason, snapshot.probes_out) == (Reason.COOLED_DOWN, 0)
    probe = circuit.ask()
    assert circuit.breaker.snapshot().probes_out == 1
    probe.fail()
    circuit.wait(1)
    snapshot = circuit.breaker.snapshot()
    assert (snapshot.state, snapshot.open_for_s, snapshot.next_probe_s) == (OPEN, 13, 19)
    assert (snapshot.reason, snapshot.probes_out) == (Reason.PROBE_FAILED, 0)


def test_one_line_tells_the_state(circuit: Circuit) -> None:
    """And writing it changes nothing, even where the clock has moved on."""
    circuit.succeed()
    assert repr(circuit.breaker) == "<CircuitBreaker closed: 0 of 1 failed in 30 s, 0 in a row>"
    circuit.trip()
    circuit.wait(2.5)
    assert repr(circuit.breaker) == "<CircuitBreaker open: 5 of 6 failed in 30 s, 5 in a row, next probe in 7.5 s>"
    circuit.wait(100)
    assert repr(circuit.breaker).endswith("next probe in 0.0 s>")
    assert len(circuit.told) == 1
    circuit.ask()
    assert repr(circuit.breaker) == "<CircuitBreaker half_open: 0 of 0 failed in 30 s, 5 in a row, probes out: 1>"


def test_states_are_numbers_and_the_worst_is_the_greatest() -> None:
    """The metric's values; a provider shows the worst of its targets."""
    assert [int(state) for state in (CLOSED, HALF_OPEN, OPEN)] == [0, 1, 2]
    assert max(CLOSED, OPEN, HALF_OPEN) is OPEN
    assert [state.word for state in State] == ["closed", "half_open", "open"]


def test_a_healthy_call_reads_the_clock_once(circuit: Circuit) -> None:
    """The line's cost: nothing else in it takes time worth counting."""
    before = circuit.readings
    circuit.succeed(100)
    assert circuit.readings - before == 100


def test_a_listener_may_look_at_the_circuit() -> None:
    """It hears of each change after it happened and in order, even where looking brings the next one."""
    told: list[State] = []
    seen: list[State] = []
    now_s = [0.0]

    def listen(transition: Transition) -> None:
        told.append(transition.to)
        seen.append(breaker.state)

    breaker = CircuitBreaker(BreakerSettings(consecutive_failures=1), lambda: now_s[0], lambda: 0.0, listen)
    permit = breaker.acquire(LONGEST_S)
    assert isinstance(permit, Permit)
    permit.fail()
    now_s[0] = 10
    breaker.acquire(LONGEST_S)
    now_s[0] = 1000
    assert isinstance(breaker.acquire(LONGEST_S), Permit)
    assert told == [OPEN, HALF_OPEN, OPEN, HALF_OPEN]
    assert seen == [OPEN, HALF_OPEN, HALF_OPEN, HALF_OPEN]


# --- the table, the settings, the page


@pytest.mark.parametrize(("from_", "to", "reason"), list(product(State, State, Reason)))
def test_no_other_transition_can_be_made(from_: State, to: State, reason: Reason) -> None:
    """Nine are legal; the others are a bug, and say so."""
    if (from_, to, reason) in LEGAL:
        assert Transition(from_, to, reason, 0.0).to is to
    else:
        with pytest.raises(AssertionError, match=f"from {from_.word} to {to.word} by {reason}"):
            Transition(from_, to, reason, 0.0)


def test_every_reason_has_its_place() -> None:
    """None is left over, and nothing leads from a state to itself."""
    assert {reason for _, _, reason in LEGAL} == set(Reason)
    assert all(from_ is not to for from_, to, _ in LEGAL)


@pytest.mark.parametrize(
    ("wrong", "key", "sentence"),
    [
        ({"consecutive_failures": 0}, "consecutive_failures", "greater than or equal to 1"),
        ({"consecutive_failures": True}, "consecutive_failures", "must be a number, not true or false"),
        ({"min_requests": 1.5}, "min_requests", "valid integer"),
        ({"failure_ratio": 0}, "failure_ratio", "greater than 0"),
        ({"failure_ratio": 50}, "failure_ratio", "less than or equal to 1"),
        ({"failure_ratio": float("nan")}, "failure_ratio", "finite number"),
        ({"jitter": -0.1}, "jitter", "greater than or equal to 0"),
        ({"jitter": 2}, "jitter", "less than or equal to 1"),
        ({"quiet_s": -1}, "quiet_s", "greater than 0"),
        ({"window_s": 0}, "window_s", "greater than 0"),
        ({"cooldown_s": -10}, "cooldown_s", "greater than 0"),
        ({"cooldown_s": 600}, "max_cooldown_s", "must be at least cooldown_s, 600"),
        ({"cooldown_s": 20, "max_cooldown_s": 10}, "max_cooldown_s", "must be at least cooldown_s, 20"),
        ({"probes": 0}, "probes", "greater than or equal to 1"),
        ({"probe_timeout_s": 1e9}, "probe_timeout_s", "less than or equal to 86400"),
        ({"cool_down_s": 1}, "cool_down_s", "Extra inputs"),
    ],
)
def test_settings_refuse_nonsense(wrong: dict[str, object], key: str, sentence: str) -> None:
    """At the key, in one complaint."""
    with pytest.raises(ValidationError, match=sentence) as refusal:
        BreakerSettings.model_validate(wrong)
    assert [error["loc"] for error in refusal.value.errors()] == [(key,)]


def test_the_page_says_what_the_code_does() -> None:
    """Settings with their defaults, states with their numbers, and the legal transitions, all and no others."""
    text = PAGE.read_text("utf-8")
    values = BreakerSettings().model_dump()
    defaults = {name: "null" if value is None else f"{value:g}" for name, value in values.items()}
    assert dict(re.findall(r"^\| `(\w+)` \| (null|[\d.]+) \|", text, re.MULTILINE)) == defaults
    assert re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", text, re.MULTILINE) == sorted(
        ((from_.word, to.word, reason.value) for from_, to, reason in LEGAL),
        key=lambda row: ([State[row[0].upper()], State[row[1].upper()]], list(Reason).index(Reason(row[2]))),
    )
    assert re.findall(r"(\d) (closed|half-open|open)\b", text)[:3] == [
        (str(int(state)), state.word.replace("_", "-")) for state in State
    ]


# --- every short sequence

ASK, SUCCEED, FAIL, NEUTRAL, WAIT, FORCE = range(6)
UNHURRIED = {"quiet_s": 1, "cooldown_s": 1, "max_cooldown_s": 4, "jitter": 0}
PROBE_S = 2.0
"""How long a probe may stay out."""


class Walk:
    """Plays events against a breaker whose times are all a second or two, and keeps count of the probes."""

    def __init__(self, probes: int) -> None:
        self.probes = probes
        self.settings = BreakerSettings.model_validate(
            {**UNHURRIED, "consecutive_failures": 1, "min_requests": 2, "probes": probes}
        )
        self.visited: set[tuple[State, State, Reason]] = set()
        self.now_s = 0.0
        self.last = CLOSED
        self.allowed = probes
        self.out: set[Permit] = set()

    def _listen(self, transition: Transition) -> None:
        assert transition.from_ is self.last
        self.last = transition.to
        self.out.clear()
        self.allowed = 1 if transition.reason is Reason.LAST_RESORT else self.probes
        self.visited.add((transition.from_, transition.to, transition.reason))

    def _clock(self) -> float:
        return self.now_s

    def play(self, events: tuple[int, ...]) -> None:
        """Play one sequence from the start; after it, time must lead back to being asked."""
        self.now_s, self.last, self.allowed = 0.0, CLOSED, self.probes
        self.out.clear()
        waiting: list[Permit] = []
        breaker = CircuitBreaker(self.settings, self._clock, lambda: 0.0, self._listen)
        for event in events:
            if event == WAIT:
                self.now_s += 1.0
            elif event in (ASK, FORCE):
                longest_s = PROBE_S - PROBE_GRACE_S
                answer = breaker.acquire(longest_s) if event == ASK else breaker.force_probe(longest_s)
                if isinstance(answer, Refused):
                    assert 0 < answer.retry_after_s <= 4.0
                    assert self.last is not CLOSED
                else:
                    waiting.append(answer)
                    if answer.is_probe:
                        self.out.add(answer)
                        assert self.last is HALF_OPEN
                        assert len(self.out) <= self.allowed
            elif waiting:
                permit = waiting.pop(0)
                self.out.discard(permit)
                if event == SUCCEED:
                    permit.succeed()
                elif event == FAIL:
                    permit.fail()
                else:
                    permit.neutral()
        snapshot = breaker.snapshot()
        assert snapshot.successes >= 0 <= snapshot.failures
        assert snapshot.successes + snapshot.failures <= len(events)
        assert snapshot.state is self.last
        self.now_s += PROBE_S + 4.0  # the longest a probe may stay out, and the longest rest after it
        assert isinstance(breaker.acquire(PROBE_S), Permit)


@pytest.mark.parametrize("probes", [1, 2])
def test_every_sequence_of_seven_events(probes: int) -> None:
    """All 279,936: never more probes than allowed, never stuck, no count below 0, every transition legal."""
    walk = Walk(probes)
    for events in product(range(6), repeat=7):
        walk.play(events)
    assert walk.visited == {row for row in LEGAL if row[2] is not Reason.RESET}


# --- long random stories

LONGEST = st.sampled_from([0.0, 0.5, 59.0, 600.0])
TIMES = st.sampled_from([0.0, 0.25, 1.0, 5.0, 10.0, 10.5, 30.0, 60.0, 600.0]) | st.floats(0, 100)


class Twins(RuleBasedStateMachine):
    """Two breakers live the same life; one of them is looked at all the time, which must make no difference."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.told: tuple[list[Transition], list[Transition]] = ([], [])
        self.out: list[tuple[Permit, Permit]] = []
        self.done: list[tuple[Permit, Permit]] = []
        self.deadlines: dict[Permit, tuple[int, float]] = {}  # probe -> changes of state before it, its deadline

    @initialize(
        failures=st.integers(1, 3),
        ratio=st.sampled_from([0.3, 0.5, 1.0]),
        probes=st.integers(1, 3),
        luck=st.sampled_from([0.0, 0.5]),
        cooldown_s=st.sampled_from([0.5, 10.0, 200.0]),
        probe_timeout_s=st.sampled_from([None, 0.5, 30.0]),
    )
    def build(
        self,
        failures: int,
        ratio: float,
        probes: int,
        luck: float,
        cooldown_s: float,
        probe_timeout_s: float | None,
    ) -> None:
        """Any settings."""
        self.settings = BreakerSettings(
            consecutive_failures=failures,
            failure_ratio=ratio,
            probes=probes,
            min_requests=4,
            cooldown_s=cooldown_s,
            probe_timeout_s=probe_timeout_s,
        )
        self.watched, self.unseen = (
            CircuitBreaker(self.settings, lambda: self.now_s, lambda: luck, told.append) for told in self.told
        )

    def _keep(self, a: Permit | Refused, b: Permit | Refused, longest_s: float) -> None:
        if isinstance(a, Permit) and isinstance(b, Permit):
            assert a.is_probe == b.is_probe
            self.out.append((a, b))
            if a.is_probe:
                longest_s = min(longest_s + PROBE_GRACE_S, self.settings.probe_timeout_s or math.inf)
                self.deadlines[a] = (len(self.told[0]), self.now_s + longest_s)
        else:
            assert a == b

    @rule(longest_s=LONGEST)
    def ask(self, longest_s: float) -> None:
        self._keep(self.watched.acquire(longest_s), self.unseen.acquire(longest_s), longest_s)

    @rule(longest_s=LONGEST)
    def force(self, longest_s: float) -> None:
        self._keep(self.watched.force_probe(longest_s), self.unseen.force_probe(longest_s), longest_s)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), verdict=st.sampled_from(["succeed", "fail", "fail", "neutral"]))
    def report(self, data: st.DataObject, verdict: str) -> None:
        twins = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        for permit in twins:
            getattr(permit, verdict)()
        self.deadlines.pop(twins[0], None)
        self.done.append(twins)

    @precondition(lambda self: self.done)
    @rule(data=st.data(), verdict=st.sampled_from(["succeed", "fail", "neutral"]))
    def report_again(self, data: st.DataObject, verdict: str) -> None:
        before = self.watched.snapshot()
        for permit in data.draw(st.sampled_from(self.done)):
            getattr(permit, verdict)()
        assert self.watched.snapshot() == before

    @rule()
    def break_late(self) -> None:
        for breaker in (self.watched, self.unseen):
            breaker.record_failure()

    @rule(seconds=TIMES)
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def wait_as_told(self) -> None:
        """Who is refused by an open circuit, and waits as told, is let through, for nobody else asked."""
        if self.watched.state is OPEN:
            refused = self.watched.acquire(LONGEST_S)
            assert isinstance(refused, Refused)
            self.now_s += refused.retry_after_s + 1e-9
            answers = self.watched.acquire(LONGEST_S), self.unseen.acquire(LONGEST_S)
            assert isinstance(answers[0], Permit)
            self._keep(*answers, LONGEST_S)

    @rule()
    def reset(self) -> None:
        for breaker in (self.watched, self.unseen):
            breaker.reset()
        assert self.watched.state is CLOSED

    @invariant()
    def looking_is_harmless(self) -> None:
        if hasattr(self, "watched"):
            snapshot = self.watched.snapshot()
            longest_s = self.settings.max_cooldown_s * (1 + self.settings.jitter)
            assert snapshot.successes >= 0 <= snapshot.failures
            assert (snapshot.open_for_s is None) == (snapshot.next_probe_s is None) == (snapshot.state is CLOSED)
            assert 0 <= (snapshot.next_probe_s or 0) <= longest_s
            assert repr(self.watched)

    @invariant()
    def no_probe_outlives_its_deadline(self) -> None:
        if hasattr(self, "watched"):
            probes_out = self.watched.snapshot().probes_out
            changes = len(self.told[0])
            running = [deadline_s for since, deadline_s in self.deadlines.values() if since == changes]
            assert probes_out == len(running) <= self.settings.probes
            assert all(deadline_s > self.now_s for deadline_s in running)

    def teardown(self) -> None:
        if hasattr(self, "watched"):
            assert self.watched.snapshot() == self.unseen.snapshot()
            assert self.told[0] == self.told[1]
            for earlier, later in zip(self.told[0], self.told[0][1:], strict=False):
                assert earlier.to is later.from_
                assert earlier.at_s <= later.at_s


TestTwins = Twins.TestCase
TestTwins.settings = hypothesis_settings(max_examples=100, stateful_step_count=60, deadline=None)


# --- figures

RUNS = 200


def first_opening(share: float, seed: int, calls: int, per_second: float) -> int | None:
    """Which of some calls opened the circuit, where a share of them fails at random; None if none did."""
    circuit, chance = Circuit(), random.Random(seed)
    for n in range(1, calls + 1):
        circuit.fail() if chance.random() < share else circuit.succeed()
        if circuit.told:
            return n
        circuit.wait(1 / per_second)
    return None


@pytest.mark.parametrize("per_second", [8, 30, 1000])
def test_thirty_percent_of_failures_seldom_open_it(per_second: float) -> None:
    """In at most a tenth of 200 runs of 1,000 calls, from 8 calls a second on."""
    opened = [first_opening(0.3, seed, 1000, per_second) is not None for seed in range(RUNS)]
    assert sum(opened) <= RUNS / 10


@pytest.mark.parametrize("per_second", [1, 8, 30, 1000])
def test_seventy_percent_of_failures_open_it_soon(per_second: float) -> None:
    """Within 50 calls in every run, whatever the traffic."""
    assert all(first_opening(0.7, seed, 50, per_second) for seed in range(RUNS))


@pytest.mark.parametrize("per_second", [0.01, 1, 5, 30, 1000])
@pytest.mark.parametrize("good_s", [0, 20, 100])
def test_total_failure_opens_it_after_five_failures_or_a_second(per_second: float, good_s: float) -> None:
    """However long all was well before."""
    circuit = Circuit()
    for _ in range(int(good_s * per_second)):
        circuit.succeed()
        circuit.wait(1 / per_second)
    began_s, failures = circuit.now_s, 0
    while not circuit.told:
        circuit.fail()
        failures += 1
        circuit.wait(1 / per_second)
    assert failures <= 5 or circuit.told[0].at_s - began_s <= 1


def test_pinned_closed_it_stays_closed() -> None:
    """The highest counts switch a breaker off."""
    circuit = Circuit(consecutive_failures=1_000_000, min_requests=1_000_000)
    circuit.fail(10_000)
    assert circuit.told == []
