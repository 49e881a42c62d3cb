"""What people and machines hear of the circuits, and what operators order: a metric and a log line per change, a page,
and leave to drain a provider, to ask it again, or to forget what speaks against it."""

import logging
from functools import partial

from gateway.core.breaker import Snapshot, State, Transition
from gateway.metrics import Metrics
from gateway.upstream.targets import Targets

log = logging.getLogger("gateway")


class Circuits:
    """Tells of the circuits of all targets, those of the configuration that holds now, and operates their providers."""

    def __init__(self, metrics: Metrics) -> None:
        self._declared = metrics.declared
        self._targets: Targets | None = None

    def watch(self, targets: Targets) -> None:
        """Tell of these targets from now on; a provider that is not among them any more has no open circuit."""
        self._targets = targets
        for name in targets.providers():
            self._declared.circuit_state.labels(name).read_from(partial(self._worst, name))
            self._declared.circuit_next_probe.labels(name).read_from(partial(self._next_probe_s, name))

    def _worst(self, provider: str) -> State:
        return self._targets.worst(provider) if self._targets is not None else State.CLOSED

    def _next_probe_s(self, provider: str) -> float:
        return self._targets.next_probe_s(provider) if self._targets is not None else 0.0

    def changed(self, provider: str, circuit: str, transition: Transition) -> None:
        """Count and log a change; a circuit that opens is worth a warning."""
        self._declared.circuit_transitions.labels(provider, transition.to.word, transition.reason).inc()
        level = logging.WARNING if transition.to is State.OPEN else logging.INFO
        log.log(
            level,
            "circuit %s/%s: %s -> %s (%s)",
            provider,
            circuit,
            transition.from_.word,
            transition.to.word,
            transition.reason,
        )

    def page(self) -> dict[str, dict[str, object]]:
        """What `/health` says: every circuit, by provider and by the name of its model or pattern."""
        page: dict[str, dict[str, object]] = {}
        targets = self._targets
        if targets is None:
            return page
        for provider, circuit, snapshot in targets.snapshots():
            drained = {"drained": True} if targets.standing(provider).drained else {}
            page.setdefault(provider, {})[circuit] = _told(snapshot) | drained
        return page

    def drain(self, name: str) -> None:
        """Begin no further attempt at a provider, whatever runs there; also after a reload that keeps its name.

        Raises:
            KeyError: there is no such provider.
        """
        self._order(name).drain(name)
        log.warning("the provider %s is drained: no request goes there", name)

    def undrain(self, name: str) -> None:
        """Let a provider be asked again.

        Raises:
            KeyError: there is no such provider.
        """
        self._order(name).undrain(name)
        log.info("the provider %s may be asked again", name)

    def reset(self, name: str) -> None:
        """Close all circuits of a provider and end the rests of its keys and targets.

        Raises:
            KeyError: there is no such provider.
        """
        self._order(name).reset(name)
        log.info("the provider %s has been reset: what spoke against it is forgotten", name)

    def _order(self, name: str) -> Targets:
        if self._targets is None:
            raise KeyError(name)
        return self._targets


def _told(snapshot: Snapshot) -> dict[str, object]:
    told: dict[str, object] = {
        "circuit": snapshot.state.word,
        "successes": snapshot.successes,
        "failures": snapshot.failures,
    }
    if snapshot.reason is not None:
        told["reason"] = snapshot.reason
    if snapshot.open_for_s is not None and snapshot.next_probe_s is not None:
        told["open_for_s"] = round(snapshot.open_for_s, 3)
        told["next_probe_s"] = round(snapshot.next_probe_s, 3)
    return told
