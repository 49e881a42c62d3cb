"""When somebody asks: the scenes of the cycle, and arrivals that follow them."""

from collections.abc import Sequence
from itertools import pairwise, takewhile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.traffic.cast import CHAT, DEMO, Caller, Question
from gateway.traffic.schedule import CROWD, LEAVING_S, SCENES, Arrival, Scene, arrivals, scene_at

DAY, NIGHT = Scene("day", 10, 1.0), Scene("night", 20, 0.25)
CROWDED = Scene("crowded", 10, 1.0, crowd="b")
ONE, TWO = Caller("a", "k", 3.0, (Question(CHAT, "m"),)), Caller("b", "k", 1.0, (Question(CHAT, "m"),))


def until(end_s: float, cast: Sequence[Caller], rate: float, scenes: Sequence[Scene], seed: int = 1) -> list[Arrival]:
    return list(takewhile(lambda one: one.at_s < end_s, arrivals(cast, rate, Random(seed), scenes)))


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (0.0, (DAY, 10.0)),
        (9.9, (DAY, 10.0)),
        (10.0, (NIGHT, 30.0)),
        (29.9, (NIGHT, 30.0)),
        (30.0, (DAY, 40.0)),
        (100.0, (NIGHT, 120.0)),
    ],
)
def test_scene(at_s: float, expected: tuple[Scene, float]) -> None:
    """They follow each other, again and again."""
    assert scene_at(at_s, (DAY, NIGHT)) == expected


@given(
    lengths=st.lists(st.floats(0.01, 100), min_size=1, max_size=8),
    at_s=st.floats(0, 1e6),
)
def test_scene_ends_after_the_moment(lengths: list[float], at_s: float) -> None:
    """Whatever the lengths are, time goes on."""
    _, ends_s = scene_at(at_s, [Scene(str(i), lasts_s, 1.0) for i, lasts_s in enumerate(lengths)])
    assert ends_s > at_s


def test_two_minutes_have_everything() -> None:
    """An outage that ends, a crowd, and both more and less than usual."""
    assert sum(scene.lasts_s for scene in SCENES) == 120
    assert [scene.is_outage for scene in SCENES].count(True) == 1
    assert not SCENES[0].is_outage
    assert {scene.crowd for scene in SCENES} == {"", "globex"}
    assert min(scene.pace for scene in SCENES) < 1 < max(scene.pace for scene in SCENES)


@given(seed=st.integers(0, 2**32), rate=st.floats(0.1, 100))
def test_arrivals_are_in_order(seed: int, rate: float) -> None:
    """And each is somebody's own question."""
    source = arrivals(DEMO, rate, Random(seed))
    some = [next(source) for _ in range(50)]
    assert all(one.at_s <= other.at_s for one, other in pairwise(some))
    assert all(one.question in one.caller.questions for one in some)


def test_the_same_seed_is_the_same_traffic() -> None:
    """Nothing else is random."""
    assert until(60, DEMO, 5, SCENES, seed=3) == until(60, DEMO, 5, SCENES, seed=3)
    assert until(60, DEMO, 5, SCENES, seed=3) != until(60, DEMO, 5, SCENES, seed=4)


def test_the_rate_follows_the_scene() -> None:
    """Within 4 standard deviations of a Poisson distribution's mean; the seed is fixed."""
    counted = {"day": 0, "night": 0}
    for one in until(3000, (ONE,), 4.0, (DAY, NIGHT)):
        counted[scene_at(one.at_s, (DAY, NIGHT))[0].name] += 1
    assert counted["day"] == pytest.approx(4000, abs=4 * 4000**0.5)
    assert counted["night"] == pytest.approx(2000, abs=4 * 2000**0.5)


def test_a_crowd_comes_on_top() -> None:
    """The others ask as often as on any other day."""
    by = {"a": 0, "b": 0}
    for one in until(1000, (ONE, TWO), 4.0, (CROWDED,)):
        by[one.caller.name] += 1
    assert by["a"] == pytest.approx(3000, abs=4 * 3000**0.5)
    assert by["b"] == pytest.approx(1000 * CROWD, abs=4 * (1000 * CROWD) ** 0.5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_clients_leave_as_often_as_their_question_says(share: float) -> None:
    """And at a moment when something is still to come."""
    caller = Caller("a", "k", 1.0, (Question(CHAT, "m", leaves=share),))
    some = until(1000, (caller,), 4.0, (DAY,))
    left = [one.leaves_after_s for one in some if one.leaves_after_s is not None]
    assert len(left) == pytest.approx(share * len(some), abs=4 * (0.25 * len(some)) ** 0.5 if 0 < share < 1 else 0)
    assert all(LEAVING_S[0] <= moment <= LEAVING_S[1] for moment in left)
