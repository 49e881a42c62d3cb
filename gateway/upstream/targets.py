"""What is remembered of a target between requests: its circuit, its retries, what runs there, how long it rests."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

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

DRAINED_RETRY_AFTER_S = 10.0
"""When to come again to a provider that its operator has drained: nobody knows, so as for a circuit that has just
opened (the default of ``breaker.cooldown_s``)."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why a target is not asked: it rests (`provider_throttled`), it has no room (`overloaded`), or `circuit_open`."""

    reason: Outcome
    retry_after_s: float


_DRAINED = NotNow(Outcome.CIRCUIT_OPEN, DRAINED_RETRY_AFTER_S)


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


@dataclass(slots=True)
class Standing:
    """What an operator has said about a provider, by its name: whoever asks it now or after a reload heeds it."""

    drained: bool = False


@dataclass(slots=True)
class Load:
    """What runs at a target and how long that rests: true whatever the settings are."""

    in_flight: int = 0
    rests_until: float = 0.0


class TargetState:
    """One target, as all requests of one configuration see it.

    Args:
        provider: whose connections and keys it uses.
        gate: bounds what runs at the provider.
        before: the same target in the configuration before, whose load it goes on with, and its retries too where
            their settings are the same.

    Attributes:
        breaker: its circuit.
        retries: what it may be asked again, beyond the first attempts of requests.
    """

    __slots__ = ("_clock", "_load", "_standing", "breaker", "gate", "provider", "retries")

    def __init__(
        self,
        provider: Provider,
        gate: Gate,
        breaker: CircuitBreaker,
        clock: Clock,
        standing: Standing | None = None,
        before: "TargetState | None" = None,
    ) -> None:
        self.provider = provider
        self.gate = gate
        self.breaker = breaker
        retries = provider.settings.retries
        self.retries: RetryBudget
        if before is not None and before.provider.settings.retries == retries:
            self.retries = before.retries
        else:
            self.retries = RetryBudget(clock, retries.share, floor_burst=retries.floor)
        self._standing = standing or Standing()
        self._load: Load = before._load if before is not None else Load()
        self._clock = clock

    @property
    def in_flight(self) -> int:
        """Requests that have a turn now."""
        return self._load.in_flight

    def rest(self, seconds: float) -> None:
        """The provider asks to be left alone with this target."""
        self._load.rests_until = max(self._load.rests_until, self._clock() + seconds)

    def rests_for(self) -> float:
        """Seconds until it, and a key to it, may be used; 0 if they may now."""
        keys_s = self.provider.keys.rests_for()
        return max(self._load.rests_until - self._clock(), keys_s) if self._load.rests_until else keys_s

    def reset(self) -> None:
        """Forget what speaks against it: its circuit closes, its rest is over."""
        self.breaker.reset()
        self._load.rests_until = 0.0

    def take_turn(self, longest_s: float) -> Turn | NotNow:
        """Take a turn now, if the target is neither resting nor full nor cut off.

        Args:
            longest_s: how long the request may take until its verdict.
        """
        if self._standing.drained:
            return _DRAINED
        rests_for = self.rests_for()
        if rests_for > 0:
            return NotNow(Outcome.PROVIDER_THROTTLED, rests_for)
        if not self.gate.has_room:
            return NotNow(Outcome.OVERLOADED, self.gate.retry_after_s)
        return self._turn(self.breaker.acquire(longest_s))

    def take_last_resort(self, longest_s: float) -> Turn | NotNow:
        """The same for a probe before its time, because every other target is cut off too."""
        if self._standing.drained:
            return _DRAINED
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
        drained = self._standing.drained
        permit = self.breaker.acquire(longest_s) if rests_for <= 0 and not drained else None
        if isinstance(permit, Permit):
            self._load.in_flight += 1
            return Turn(self, permit)
        self.gate.leave()
        if drained:
            return _DRAINED
        if permit is None:
            return NotNow(Outcome.PROVIDER_THROTTLED, rests_for)
        return NotNow(Outcome.CIRCUIT_OPEN, permit.retry_after_s)

    def _turn(self, permit: Permit | Refused) -> Turn | NotNow:
        if isinstance(permit, Refused):
            return NotNow(Outcome.CIRCUIT_OPEN, permit.retry_after_s)
        self.gate.enter_now()
        self._load.in_flight += 1
        return Turn(self, permit)

    def leave(self) -> None:
        """A turn has ended."""
        self._load.in_flight -= 1
        self.gate.leave()


class Targets:
    """All targets that one configuration can lead to.

    Args:
        circuits: (provider, circuit) pairs; the closed set that :attr:`Target.circuit` comes from.
        jitter: draws from [0, 1).
        on_transition: told of each change of a circuit, with the provider and the circuit's name.
        before: those of the configuration before. What still exists goes on as it was: circuits whose breaker has the
            same settings, what runs where, who rests, and which providers are drained.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        circuits: Iterable[tuple[str, str]],
        clock: Clock,
        jitter: Callable[[], float],
        on_transition: Callable[[str, str, Transition], None],
        before: "Targets | None" = None,
    ) -> None:
        self._states: dict[tuple[str, str], TargetState] = {}
        self._providers = providers
        self._standings = {name: before.standing(name) if before is not None else Standing() for name in providers}
        self._gates = {name: _gate(provider, before) for name, provider in providers.items()}
        for name, circuit in circuits:
            provider, settings = providers[name], providers[name].settings.breaker
            old = before._states.get((name, circuit)) if before is not None else None
            if old is not None and old.provider.settings.breaker == settings:
                breaker = old.breaker
            else:
                breaker = CircuitBreaker(settings, clock, jitter, partial(on_transition, name, circuit))
            self._states[name, circuit] = TargetState(
                provider, self._gates[name], breaker, clock, self._standings[name], old
            )

    def of(self, target: Target) -> TargetState:
        """The state of a target of the configuration."""
        return self._states[target.provider, target.circuit]

    def in_flight(self, target: Target) -> int:
        """Requests that run at a target now."""
        return self._states[target.provider, target.circuit].in_flight

    def standing(self, provider: str) -> Standing:
        """What an operator has said about a provider; nothing about one that there is not."""
        return self._standings.get(provider) or Standing()

    def gate_of(self, provider: Provider) -> Gate | None:
        """The gate before a provider, if it is this very one that is asked."""
        return self._gates[provider.name] if self._providers.get(provider.name) is provider else None

    def drain(self, provider: str) -> None:
        """Begin no further attempt at a provider; what runs there goes on.

        Raises:
            KeyError: there is no such provider.
        """
        self._standings[provider].drained = True

    def undrain(self, provider: str) -> None:
        """Let a provider be asked again.

        Raises:
            KeyError: there is no such provider.
        """
        self._standings[provider].drained = False

    def reset(self, provider: str) -> None:
        """Forget what speaks against a provider: its circuits close, the rests of its keys and targets are over.

        Raises:
            KeyError: there is no such provider.
        """
        self._providers[provider].keys.wake()
        for state in self._states_of(provider):
            state.reset()

    def worst(self, provider: str) -> State:
        """The state of the provider's worst circuit; closed where there is none."""
        return max((state.breaker.state for state in self._states_of(provider)), default=State.CLOSED)

    def next_probe_s(self, provider: str) -> float:
        """Seconds until the provider's next circuit is probed; 0 where none is open."""
        waits = (snapshot.next_probe_s for name, _, snapshot in self.snapshots() if name == provider)
        return min((wait for wait in waits if wait), default=0.0)

    def providers(self) -> Iterable[str]:
        """The names of the providers, in the configuration's order."""
        return self._providers

    def snapshots(self) -> Iterable[tuple[str, str, Snapshot]]:
        """Provider, circuit and what there is to know of it."""
        return ((name, circuit, state.breaker.snapshot()) for (name, circuit), state in self._states.items())

    def _states_of(self, provider: str) -> Iterable[TargetState]:
        return (state for (name, _), state in self._states.items() if name == provider)


def _gate(provider: Provider, before: Targets | None) -> Gate:
    """The gate of a provider's pool: with the pool it stays as it is."""
    kept = before.gate_of(provider) if before is not None else None
    pool = provider.settings.pool
    return kept or Gate(pool.connections, pool.max_queued, pool.queue_s, f"the provider {provider.name}")
