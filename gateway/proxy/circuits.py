"""What people and machines hear of the circuits: a metric and a log line per change, and a page."""

import logging
from collections.abc import Iterable
from functools import partial

from gateway.core.breaker import Snapshot, State, Transition
from gateway.metrics import Metrics
from gateway.upstream.targets import Targets

log = logging.getLogger("gateway")


class Circuits:
    """Tells of the circuits of all targets."""

    def __init__(self, metrics: Metrics) -> None:
        self._declared = metrics.declared
        self._targets: Targets | None = None

    def watch(self, targets: Targets, providers: Iterable[str]) -> None:
        """Read the gauges from these targets."""
        self._targets = targets
        for name in providers:
            self._declared.circuit_state.labels(name).read_from(partial(targets.worst, name))
            self._declared.circuit_next_probe.labels(name).read_from(partial(targets.next_probe_s, name))

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
        for provider, circuit, snapshot in self._targets.snapshots() if self._targets is not None else ():
            page.setdefault(provider, {})[circuit] = _told(snapshot)
        return page


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
