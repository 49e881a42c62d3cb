"""What is remembered of a target between requests: its circuit, its retries, what runs there, how long it rests."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.core.breaker import CircuitBreaker, Permit, Refused, Snapshot, State, Transition
from gateway.core.bucket import RetryBudget
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome, Verdict
from gateway.core.routing import Target
from gateway.upstream.gate import Gate
from gateway.upstream.provider import Provider

MAX_REST_S = 300.0
"""A key or target that is to rest longer is asked again after so long all the same: the provider may have been wrong,
and the operator may have bought more."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why a target is not asked: it rests (`provider_throttled`), it has no room (`overloaded`), or `circuit_open`."""

    reason: Outcome
    retry_after_s: float


class Turn:
    """Leave to ask a target once. It holds a place there until :meth:`end`, which may come from several sides."""

    __slots__ = ("_ended", "_permit", "_told_success", "state")

    def __init__(self, state: "TargetState", permit: Permit) -> None:
        self.state = state
        self._permit = permit
        self._told_success = False
        self._ended = False

    def content_came(self, *, slowly: bool) -> None:
        """The first content is here. A probe has succeeded with it; what came too slowly has failed."""
        if slowly:
            self._permit.fail()
        elif self._permit.is_probe:
            self._permit.succeed()
            self._told_success = True

    def end(self, verdict: Verdict) -> None:
        """Say how it went, once; the place is free again."""
        if self._ended:
            return
        self._ended = True
        self.state.leave()
        if verdict is Verdict.SUCCESS:
            self._permit.succeed()
        elif verdict is not Verdict.FAILURE:
            self._permit.neutral()
        elif self._told_success:
            self.state.breaker.record_failure()
        else:
            self._permit.fail()


class TargetState:
    """One target, as all requests see it.

    Args:
        provider: whose connections and keys it uses.
        gate: bounds what runs at the provider.

    Attributes:
        breaker: its circuit.
        retries: what it may be asked again, beyond the first attempts of requests.
        in_flight: requests that have a turn now.
    """

    __slots__ = ("_clock", "_rests_until", "breaker", "gate", "in_flight", "provider", "retries")

    def __init__(self, provider: Provider, gate: Gate, breaker: CircuitBreaker, clock: Clock) -> None:
        self.provider = provider
        self.gate = gate
        self.breaker = breaker
        retries = provider.settings.retries
        self.retries = RetryBudget(clock, retries.share, floor_burst=retries.floor)
        self.in_flight = 0
        self._clock = clock
        self._rests_until = 0.0

    def rest(self, seconds: float) -> None:
        """The provider asks to be left alone with this target."""
        self._rests_until = max(self._rests_until, self._clock() + seconds)

    def rests_for(self) -> float:
        """Seconds until it, and a key to it, may be used; 0 if they may now."""
        keys_s = self.provider.keys.rests_for()
        return max(self._rests_until - self._clock(), keys_s) if self._rests_until else keys_s

    def take_turn(self, longest_s: float) -> Turn | NotNow:
        """Take a turn now, if the target is neither resting nor full nor cut off.

        Args:
            longest_s: how long the request may take until its verdict.
        """
        rests_for = self.rests_for()
        if rests_for > 0:
            return NotNow(Outcome.PROVIDER_THROTTLED, rests_for)
        if not self.gate.has_room:
            return NotNow(Outcome.OVERLOADED, self.gate.retry_after_s)
        return self._turn(self.breaker.acquire(longest_s))

    def take_last_resort(self, longest_s: float) -> Turn | NotNow:
        """The same for a probe before its time, because every other target is cut off too."""
        if not self.gate.has_room:
            return NotNow(Outcome.OVERLOADED, self.gate.retry_after_s)
        return self._turn(self.breaker.force_probe(longest_s))

    async def queue_for_turn(self, left_s: float, longest_s: float) -> Turn | NotNow:
        """Wait in the provider's short line, at most `left_s` seconds; then take a turn if nothing else forbids it."""
        try:
            await self.gate.enter(left_s)
        except GatewayError:
            return NotNow(Outcome.OVERLOADED, self.gate.retry_after_s)
        rests_for = self.rests_for()
        permit = self.breaker.acquire(longest_s) if rests_for <= 0 else None
        if isinstance(permit, Permit):
            self.in_flight += 1
            return Turn(self, permit)
        self.gate.leave()
        if permit is None:
            return NotNow(Outcome.PROVIDER_THROTTLED, rests_for)
        return NotNow(Outcome.CIRCUIT_OPEN, permit.retry_after_s)

    def _turn(self, permit: Permit | Refused) -> Turn | NotNow:
        if isinstance(permit, Refused):
            return NotNow(Outcome.CIRCUIT_OPEN, permit.retry_after_s)
        self.gate.enter_now()
        self.in_flight += 1
        return Turn(self, permit)

    def leave(self) -> None:
        """A turn has ended."""
        self.in_flight -= 1
        self.gate.leave()


class Targets:
    """All targets that the configuration can lead to.

    Args:
        circuits: (provider, circuit) pairs; the closed set that :attr:`Target.circuit` comes from.
        jitter: draws from [0, 1).
        on_transition: told of each change of a circuit, with the provider and the circuit's name.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        circuits: Iterable[tuple[str, str]],
        clock: Clock,
        jitter: Callable[[], float],
        on_transition: Callable[[str, str, Transition], None],
    ) -> None:
        self._states: dict[tuple[str, str], TargetState] = {}
        gates = {
            name: Gate(
                provider.settings.pool.connections,
                provider.settings.pool.max_queued,
                provider.settings.pool.queue_s,
                f"the provider {name}",
            )
            for name, provider in providers.items()
        }
        for name, circuit in circuits:
            provider = providers[name]

            def told(transition: Transition, name: str = name, circuit: str = circuit) -> None:
                on_transition(name, circuit, transition)

            breaker = CircuitBreaker(provider.settings.breaker, clock, jitter, told)
            self._states[name, circuit] = TargetState(provider, gates[name], breaker, clock)

    def of(self, target: Target) -> TargetState:
        """The state of a target of the configuration."""
        return self._states[target.provider, target.circuit]

    def in_flight(self, target: Target) -> int:
        """Requests that run at a target now."""
        return self._states[target.provider, target.circuit].in_flight

    def worst(self, provider: str) -> State:
        """The state of the provider's worst circuit."""
        return max((s.breaker.state for (name, _), s in self._states.items() if name == provider), default=State.CLOSED)

    def next_probe_s(self, provider: str) -> float:
        """Seconds until the provider's next circuit is probed; 0 where none is open."""
        waits = (snapshot.next_probe_s for name, _, snapshot in self.snapshots() if name == provider)
        return min((wait for wait in waits if wait), default=0.0)

    def snapshots(self) -> Iterable[tuple[str, str, Snapshot]]:
        """Provider, circuit and what there is to know of it."""
        return ((name, circuit, state.breaker.snapshot()) for (name, circuit), state in self._states.items())
