"""When what happens: a quarter of an hour's scenes within two minutes, and who asks at which moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from gateway.traffic.cast import PROMPTS, Caller, Question

CROWD: Final = 8.0
"""How many times as often somebody asks in a scene of theirs."""

LEAVING_S: Final = (0.05, 2.5)
"""When a client that leaves does so, after it asked: before the first token, or in the middle of the answer."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of the cycle.

    Attributes:
        name: as the summary line tells it.
        lasts_s: how long.
        pace: what the usual rate is multiplied by.
        crowd: the caller who asks far more often than usual, on top of all others; empty: nobody.
        is_outage: whether the failing provider is down.
    """

    name: str
    lasts_s: float
    pace: float
    crowd: str = ""
    is_outage: bool = False


SCENES: Final = (
    Scene("a quiet start", 15, 0.6),
    Scene("a working day", 20, 1.0),
    Scene("globex runs a batch", 15, 0.9, crowd="globex"),
    Scene("a provider is down", 25, 1.0, is_outage=True),
    Scene("it recovers", 15, 1.0),
    Scene("a rush", 20, 1.6),
    Scene("a lull", 10, 0.4),
)
"""Two minutes; then they begin again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to come.

    Attributes:
        at_s: when, in seconds since the start.
        leaves_after_s: how long after it its client goes away; None: it stays to the end.
    """

    at_s: float
    caller: Caller
    question: Question
    prompt: str
    leaves_after_s: float | None


def scene_at(at_s: float, scenes: Sequence[Scene] = SCENES) -> tuple[Scene, float]:
    """Return the scene of a moment (seconds since the start), and the moment at which the next one begins."""
    cycle_s = sum(scene.lasts_s for scene in scenes)
    begins_s = at_s // cycle_s * cycle_s
    for scene in scenes:
        begins_s += scene.lasts_s
        if at_s < begins_s:
            return scene, begins_s
    # the sum of the parts was rounded below the whole
    return scenes[0], begins_s + scenes[0].lasts_s


def arrivals(
    cast: Sequence[Caller], rate: float, random: Random, scenes: Sequence[Scene] = SCENES
) -> Iterator[Arrival]:
    """Yield requests for ever, in order, as a Poisson process whose rate changes with the scene.

    The gap to the next arrival is exponential; one that would lie beyond the scene is drawn anew from there, which is
    the same process, because the exponential distribution has no memory (Kingman, Poisson Processes, 1993, ch. 4).

    Args:
        cast: who asks.
        rate: requests per second of an ordinary day (pace 1, no crowd), above 0.
        random: everything random follows from it.
        scenes: what the cycle is made of.
    """
    at_s = 0.0
    while True:
        scene, ends_s = scene_at(at_s, scenes)
        weights = [caller.weight * (CROWD if caller.name == scene.crowd else 1.0) for caller in cast]
        usual = sum(caller.weight for caller in cast)
        at_s += random.expovariate(rate * scene.pace * sum(weights) / usual)
        if at_s >= ends_s:
            at_s = ends_s
            continue
        yield _arrival(at_s, random.choices(cast, weights)[0], random)


def _arrival(at_s: float, caller: Caller, random: Random) -> Arrival:
    question = random.choices(caller.questions, [one.weight for one in caller.questions])[0]
    leaves = random.random() < question.leaves
    return Arrival(at_s, caller, question, random.choice(PROMPTS), random.uniform(*LEAVING_S) if leaves else None)
