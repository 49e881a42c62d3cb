"""The circuit breaker of one target: an enum, counters, two moments in time, and one-shot permits.

Pure: time, randomness and the listener are given to it; there is no lock, because nothing here awaits, and no task:
what is due by the clock happens when somebody asks next, dated to when it was due, so looking changes nothing.
The diagram and the rules are in ``docs/breaker.md``.

Long because the settings, the table of legal transitions and the machine are one contract, read side by side.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator

from gateway.core.clock import Clock
from gateway.core.quantity import NotSwitch, Seconds
from gateway.core.settings import Settings
from gateway.core.window import RollingWindow

VERDICT_SOON_S: Final = 1.0
"""How long the refused are told to wait while a probe is out: its verdict may come any moment, and decides."""

PROBE_GRACE_S: Final = 1.0
"""What a probe may take beyond the time its request has, so that the request's own deadline reports first."""

Count = Annotated[int, Field(ge=1, le=1_000_000), NotSwitch]


class BreakerSettings(Settings):
    """When a circuit opens and how it closes again; the highest counts make a breaker that never opens."""

    consecutive_failures: Count = 5
    """Failures in a row that open the circuit, if quiet_s agrees."""
    quiet_s: Seconds = 1.0
    """They open it only if the last success is at least so long ago: bad luck under load is no outage."""
    failure_ratio: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NotSwitch] = 0.5
    """Share of failures within the window that opens the circuit."""
    window_s: Seconds = 30.0
    """The window of failure_ratio; closed for so long, a circuit begins again with cooldown_s."""
    min_requests: Count = 20
    """Requests that the window must hold before failure_ratio counts."""
    cooldown_s: Seconds = 10.0
    """How long an open circuit rests before it is probed; doubles with each trip."""
    max_cooldown_s: Seconds = 300.0
    """Where the doubling ends (Envoy's outlier detection ends at 300 s too)."""
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NotSwitch] = 0.1
    """Most that chance adds to a rest, as a share of it, so that replicas do not probe in step."""
    probes: Annotated[int, Field(ge=1, le=1000), NotSwitch] = 1
    """Requests let through at the same time to find out whether the target is back; the first verdict decides."""
    probe_timeout_s: Seconds | None = None
    """A probe without verdict for so long has failed; null is as long as its request may take."""

    @field_validator("max_cooldown_s")
    @classmethod
    def _not_below_the_first(cls, value: float, info: ValidationInfo) -> float:
        first = info.data.get("cooldown_s", value)
        if value < first:
            raise ValueError(f"must be at least cooldown_s, {first:g}")
        return value


class State(IntEnum):
    """Of a circuit; the number is the metric's value, and the greatest of several is the worst."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2

    @property
    def word(self) -> str:
        """``closed``, ``half_open`` or ``open``."""
        return self.name.lower()


class Reason(StrEnum):
    """Why a circuit changed its state: a metric label."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    FAILURE_RATIO = "failure_ratio"
    COOLED_DOWN = "cooled_down"
    LAST_RESORT = "last_resort"
    """Every circuit was open, so this one was probed before its time."""
    PROBE_SUCCEEDED = "probe_succeeded"
    PROBE_FAILED = "probe_failed"
    PROBE_TIMED_OUT = "probe_timed_out"
    RESET = "reset"
    """By an operator."""


LEGAL: Final = frozenset(
    {
        (State.CLOSED, State.OPEN, Reason.CONSECUTIVE_FAILURES),
        (State.CLOSED, State.OPEN, Reason.FAILURE_RATIO),
        (State.OPEN, State.HALF_OPEN, Reason.COOLED_DOWN),
        (State.OPEN, State.HALF_OPEN, Reason.LAST_RESORT),
        (State.HALF_OPEN, State.CLOSED, Reason.PROBE_SUCCEEDED),
        (State.HALF_OPEN, State.OPEN, Reason.PROBE_FAILED),
        (State.HALF_OPEN, State.OPEN, Reason.PROBE_TIMED_OUT),
        (State.OPEN, State.CLOSED, Reason.RESET),
        (State.HALF_OPEN, State.CLOSED, Reason.RESET),
    }
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state; ``at_s`` is the reading of the clock at which it was due."""

    from_: State
    to: State
    reason: Reason
    at_s: float

    def __post_init__(self) -> None:
        if (self.from_, self.to, self.reason) not in LEGAL:
            raise AssertionError(f"no circuit goes from {self.from_.word} to {self.to.word} by {self.reason}")


@dataclass(frozen=True, slots=True)
class Refused:
    """The target must not be asked now; it is worth to come back after ``retry_after_s`` seconds."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What health pages tell.

    ``successes`` and ``failures`` are those of the window, ``failures_in_a_row`` of any time. ``open_for_s``: since
    the circuit last left closed; ``next_probe_s``: until a probe is let through, 0 in half-open. Both are None while
    it is closed. ``reason`` is that of the last change, None before the first; ``probes_out`` have no verdict yet.
    """

    state: State
    successes: int
    failures: int
    failures_in_a_row: int
    open_for_s: float | None
    next_probe_s: float | None
    reason: Reason | None
    probes_out: int


class Permit:
    """Leave to ask the target once, and the duty to say how it went.

    The first verdict counts and later ones do nothing; so does every verdict after the circuit has changed its state
    meanwhile. A permit of a closed circuit that is never reported costs nothing; a probe holds its place until its
    deadline.
    """

    __slots__ = ("_breaker", "_generation", "_probe")

    def __init__(self, breaker: "CircuitBreaker", generation: int, probe: int) -> None:
        self._breaker: CircuitBreaker | None = breaker
        self._generation = generation
        self._probe = probe

    @property
    def is_probe(self) -> bool:
        """This request decides about the circuit: report success at its first content, not at its end."""
        return self._probe > 0

    def succeed(self) -> None:
        """The target did what it should."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker._succeeded(self._generation, self._probe)

    def fail(self) -> None:
        """The target failed."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker._failed(self._generation, self._probe)

    def neutral(self) -> None:
        """Nothing was learnt about the target (client gone, throttled, our fault): a probe's place is free again."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None and self._probe:
            breaker._released(self._generation, self._probe)


class CircuitBreaker:
    """Decides whether a target is asked, from how it did lately.

    Args:
        settings: its thresholds and times.
        clock: read at most twice per call.
        jitter: draws from [0, 1), as ``random.random`` does.
        on_transition: told of every change, in order, after it has happened; must not raise.
    """

    __slots__ = (
        "_clock",
        "_cooldown_s",
        "_generation",
        "_in_a_row",
        "_jitter",
        "_last_resort",
        "_last_resort_from_s",
        "_last_success_s",
        "_left_closed_s",
        "_next_probe_s",
        "_on_transition",
        "_probes",
        "_probes_begun",
        "_reason",
        "_settings",
        "_since_s",
        "_state",
        "_window",
    )

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Clock,
        jitter: Callable[[], float],
        on_transition: Callable[[Transition], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._on_transition = on_transition
        self._state = State.CLOSED
        self._reason: Reason | None = None
        self._since_s = clock()
        self._generation = 0
        self._window = RollingWindow(settings.window_s, self._since_s)
        self._in_a_row = 0
        self._last_success_s = -math.inf
        self._cooldown_s = settings.cooldown_s
        self._left_closed_s = self._next_probe_s = self._last_resort_from_s = self._since_s
        self._last_resort = False
        self._probes: dict[int, float] = {}  # number of the probe -> its deadline
        self._probes_begun = 0

    @property
    def state(self) -> State:
        """The state now."""
        self._catch_up(self._clock())
        return self._state

    def acquire(self, longest_s: float) -> Permit | Refused:
        """Ask whether the target may be asked; a permit from a circuit that is not closed is a probe.

        Args:
            longest_s: seconds that this request may take until its verdict, finite: a probe is given so long (and
                ``PROBE_GRACE_S``), or ``probe_timeout_s`` if that is shorter. No one number would fit a stream's
                first content and a whole answer.
        """
        if self._state is State.CLOSED:
            return Permit(self, self._generation, 0)
        now_s = self._clock()
        self._catch_up(now_s)
        return Refused(self._next_probe_s - now_s) if self._state is State.OPEN else self._probe(now_s, longest_s)

    def force_probe(self, longest_s: float) -> Permit | Refused:
        """Ask again although the circuit is open, because all others are too; ``longest_s`` as for :meth:`acquire`.

        One such probe at a time, and none within ``cooldown_s`` of a failed probe: with a single target the last
        resort is the rule, and an outage must not be met by a request after the other. If it fails, the rest that
        was left stays, undoubled, ``cooldown_s`` at least.
        """
        now_s = self._clock()
        self._catch_up(now_s)
        if self._state is State.CLOSED:
            return self.acquire(longest_s)
        if self._state is State.OPEN:
            if now_s < self._last_resort_from_s:
                return Refused(self._last_resort_from_s - now_s)
            self._move(State.HALF_OPEN, Reason.LAST_RESORT, now_s)
        return self._probe(now_s, longest_s)

    def record_failure(self) -> None:
        """Count a break that came after success was reported: of a probe's stream, after its first content.

        In a circuit that is not closed it changes nothing: there the probes decide.
        """
        if self._state is State.CLOSED:
            self._count_failure()

    def reset(self) -> None:
        """Close the circuit and forget what happened, as an operator's order; verdicts still out are ignored."""
        now_s = self._clock()
        self._catch_up(now_s)
        self._cooldown_s = self._settings.cooldown_s
        if self._state is State.CLOSED:
            self._generation += 1
            self._forget(-math.inf)
        else:
            self._close(Reason.RESET, now_s, -math.inf)

    def snapshot(self) -> Snapshot:
        """Return what there is to know, for health pages and metrics."""
        now_s = self._clock()
        self._catch_up(now_s)
        successes, failures = self._window.totals(now_s)
        closed, is_open = self._state is State.CLOSED, self._state is State.OPEN
        return Snapshot(
            state=self._state,
            successes=successes,
            failures=failures,
            failures_in_a_row=self._in_a_row,
            open_for_s=None if closed else now_s - self._left_closed_s,
            next_probe_s=None if closed else self._next_probe_s - now_s if is_open else 0.0,
            reason=self._reason,
            probes_out=len(self._probes),
        )

    def __repr__(self) -> str:
        now_s = self._clock()
        successes, failures = self._window.totals(now_s)
        rest = f", next probe in {max(0.0, self._next_probe_s - now_s):.1f} s" if self._state is State.OPEN else ""
        out = f", probes out: {len(self._probes)}" if self._state is State.HALF_OPEN else ""
        counts = f"{failures} of {failures + successes} failed in {self._settings.window_s:g} s"
        return f"<CircuitBreaker {self._state.word}: {counts}, {self._in_a_row} in a row{rest}{out}>"

    def _catch_up(self, now_s: float) -> None:
        """Do what the clock alone brings: probes time out, a rest ends."""
        if self._probes and (deadline_s := min(self._probes.values())) <= now_s:
            self._open(Reason.PROBE_TIMED_OUT, deadline_s)
        if self._state is State.OPEN and self._next_probe_s <= now_s:
            self._move(State.HALF_OPEN, Reason.COOLED_DOWN, self._next_probe_s)

    def _probe(self, now_s: float, longest_s: float) -> Permit | Refused:
        settings = self._settings
        if len(self._probes) >= (1 if self._last_resort else settings.probes):
            return Refused(min(VERDICT_SOON_S, min(self._probes.values()) - now_s))
        # A request whose time is up already would fail the circuit by the clock, dated before it was asked.
        patience_s = max(longest_s, 0.0) + PROBE_GRACE_S
        if settings.probe_timeout_s is not None:
            patience_s = min(patience_s, settings.probe_timeout_s)
        self._probes_begun += 1
        self._probes[self._probes_begun] = now_s + patience_s
        return Permit(self, self._generation, self._probes_begun)

    def _succeeded(self, generation: int, probe: int) -> None:
        now_s = self._clock()
        if probe:
            self._catch_up(now_s)
        if generation != self._generation:
            return
        if probe:
            self._close(Reason.PROBE_SUCCEEDED, now_s, now_s)
        else:
            self._window.add_success(now_s)
            self._in_a_row = 0
            self._last_success_s = now_s

    def _failed(self, generation: int, probe: int) -> None:
        if probe:
            now_s = self._clock()
            self._catch_up(now_s)
            if generation == self._generation:
                self._open(Reason.PROBE_FAILED, now_s)
        elif generation == self._generation:
            self._count_failure()

    def _released(self, generation: int, probe: int) -> None:
        self._catch_up(self._clock())
        if generation == self._generation:
            del self._probes[probe]

    def _count_failure(self) -> None:
        now_s, settings = self._clock(), self._settings
        self._window.add_failure(now_s)
        self._in_a_row += 1
        # Two rules: under little traffic the window would take minutes to fill, under much a few failures in a row
        # are bad luck. So few decide where nothing else was heard for a while, and the share everywhere else.
        if self._in_a_row >= settings.consecutive_failures and now_s - self._last_success_s >= settings.quiet_s:
            self._open(Reason.CONSECUTIVE_FAILURES, now_s)
            return
        successes, failures = self._window.totals(now_s)
        requests = successes + failures
        if requests >= settings.min_requests and failures / requests >= settings.failure_ratio:
            self._open(Reason.FAILURE_RATIO, now_s)

    def _open(self, reason: Reason, at_s: float) -> None:
        settings = self._settings
        if self._state is State.CLOSED:
            if at_s - self._since_s >= settings.window_s:
                self._cooldown_s = settings.cooldown_s
            self._left_closed_s = self._last_resort_from_s = at_s
        else:
            self._last_resort_from_s = at_s + settings.cooldown_s
        if self._last_resort:
            self._next_probe_s = max(self._next_probe_s, self._last_resort_from_s)
        else:
            self._next_probe_s = at_s + self._cooldown_s * (1 + settings.jitter * self._jitter())
            self._cooldown_s = min(self._cooldown_s * 2, settings.max_cooldown_s)
        self._move(State.OPEN, reason, at_s)

    def _close(self, reason: Reason, at_s: float, last_success_s: float) -> None:
        self._forget(last_success_s)
        self._move(State.CLOSED, reason, at_s)

    def _forget(self, last_success_s: float) -> None:
        self._window.clear()
        self._in_a_row = 0
        self._last_success_s = last_success_s

    def _move(self, to: State, reason: Reason, at_s: float) -> None:
        """Change the state: the one place that does, and that starts a new generation of permits."""
        transition = Transition(self._state, to, reason, at_s)
        self._state = to
        self._reason = reason
        self._since_s = at_s
        self._generation += 1
        self._probes.clear()
        self._last_resort = reason is Reason.LAST_RESORT
        self._on_transition(transition)
