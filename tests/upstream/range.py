"""Targets to aim at: two providers, a clock that a test moves, and what became of the circuits."""

from typing import Any

from gateway.core.breaker import Transition
from gateway.core.outcome import Verdict
from gateway.core.routing import Target
from gateway.upstream.targets import NotNow, Targets, TargetState, Turn
from tests.quick_loop import QuickLoop
from tests.surface.exchanges import hand_provider

ONE_FAILURE = {"consecutive_failures": 1, "quiet_s": 0.5, "cooldown_s": 10, "jitter": 0}
SMALL = {"connections": 2, "warm": 0, "max_queued": 1, "queue_s": 1.0}


class Range:
    """Two providers: `a` with two circuits, `b` with one."""

    def __init__(self, loop: QuickLoop) -> None:
        self.loop = loop
        self.changes: list[tuple[str, str, str]] = []
        settings: dict[str, Any] = {"breaker": ONE_FAILURE, "pool": SMALL}
        providers = {name: hand_provider(name, loop.time, ("k0", "k1"), **settings) for name in "ab"}
        circuits = [("a", "one"), ("a", "two-*"), ("b", "one")]
        self.targets = Targets(providers, circuits, loop.time, lambda: 0.0, self._changed)

    def _changed(self, provider: str, circuit: str, transition: Transition) -> None:
        self.changes.append((provider, circuit, transition.to.word))

    def state(self, provider: str = "a", circuit: str = "one") -> TargetState:
        return self.targets.of(Target(provider, "whatever", circuit=circuit))

    def turn(self, provider: str = "a", circuit: str = "one") -> Turn:
        turn = self.state(provider, circuit).take_turn(60)
        assert isinstance(turn, Turn)
        return turn

    def refusal(self, provider: str = "a", circuit: str = "one") -> tuple[str, float]:
        turn = self.state(provider, circuit).take_turn(60)
        assert isinstance(turn, NotNow)
        return turn.reason, turn.retry_after_s


def cut_off(field: Range) -> None:
    field.turn().end(Verdict.FAILURE)
    assert field.refusal() == ("circuit_open", 10)
