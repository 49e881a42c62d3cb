"""In which order targets are asked: nobody is lost, chance is fair, and the busiest waits."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import product, repeat
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.balancing import arrange
from gateway.core.routing import Balance, Target

BALANCES: tuple[Balance, ...] = get_args(Balance)
ALMOST_ONE = math.nextafter(1.0, 0.0)


def weighing(*weights: int) -> list[Target]:
    """Targets a, b, c … of these weights."""
    return [Target("p", "abcdefgh"[place], weight) for place, weight in enumerate(weights)]


def drawing(*drawn: float) -> Callable[[], float]:
    """Chance by script; asked once more, the test fails."""
    return iter(drawn).__next__


def working(*in_flight: int) -> Callable[[Target], int]:
    """What a, b, c … work on."""
    return lambda target: in_flight["abcdefgh".index(target.model)]


def unasked(target: Target) -> int:
    """Nobody needs to know how busy a target is."""
    raise AssertionError(target)


def names(targets: Iterable[Target]) -> str:
    """The order, to read."""
    return "".join(target.model for target in targets)


def firsts(balance: Balance, targets: Sequence[Target], busy: Callable[[Target], int], seed: int) -> Counter[str]:
    """Who comes first how often in 10,000 requests."""
    draw = random.Random(seed).random
    return Counter(arrange(balance, targets, busy, draw)[0].model for _ in range(10_000))


def is_likely(hits: int, trials: int, share: float) -> bool:
    """Within five standard deviations of the binomial distribution: a fair draw fails once in a million."""
    return abs(hits - trials * share) <= 5 * math.sqrt(trials * share * (1 - share))


def test_ordered_is_the_order_given() -> None:
    """Whatever weighs and works, and chance is not asked."""
    assert names(arrange("ordered", weighing(1, 0, 5), unasked, drawing())) == "abc"


@pytest.mark.parametrize("balance", BALANCES)
def test_a_single_target_costs_nothing(balance: Balance) -> None:
    """Neither chance nor load can change anything; nor can they where there is none."""
    assert names(arrange(balance, weighing(3), unasked, drawing())) == "a"
    assert arrange(balance, [], unasked, drawing()) == []


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("count", [1, 3])
def test_the_list_is_the_callers(balance: Balance, count: int) -> None:
    """Who takes targets off it takes them from nobody else."""
    targets = weighing(*[1] * count)
    arrange(balance, targets, working(0, 0, 0), random.Random(1).random).clear()
    assert len(targets) == count


@given(
    st.sampled_from(BALANCES), st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(0, 9)), max_size=8), st.data()
)
def test_nobody_is_lost(balance: Balance, written: list[tuple[int, int]], data: st.DataObject) -> None:
    """Each target has one place, whatever chance brings; those without weight keep their order, at the end."""
    targets = weighing(*(weight for weight, _ in written))
    busy = working(*(in_flight for _, in_flight in written))
    chance = st.floats(0, 1, exclude_max=True) | st.just(ALMOST_ONE)
    arranged = arrange(balance, targets, busy, lambda: data.draw(chance))
    assert sorted(names(arranged)) == sorted(names(targets))
    if balance == "weighted":
        idle = names(target for target in targets if target.weight == 0)
        assert names(arranged).endswith(idle)


@pytest.mark.parametrize(
    ("weights", "drawn", "order"),
    [
        ((1, 2, 1), (0.0, 0.0), "abc"),
        ((1, 2, 1), (0.24, 0.67), "acb"),
        ((1, 2, 1), (0.25, 0.49), "bac"),
        ((1, 2, 1), (0.74, 0.5), "bca"),
        ((1, 2, 1), (0.75, 0.34), "cba"),
        ((1, 2, 1), (ALMOST_ONE, 0.33), "cab"),
        ((0, 2, 1), (0.0,), "bca"),
        ((0, 1, 0), (), "bac"),
        ((0, 0, 0), (), "abc"),
        ((1, 0, 0, 1), (0.5,), "dabc"),
    ],
)
def test_weights_share_out_chance(weights: tuple[int, ...], drawn: tuple[float, ...], order: str) -> None:
    """First among all, then among those left; what has no weight comes last as given, without a draw."""
    assert names(arrange("weighted", weighing(*weights), unasked, drawing(*drawn))) == order


@given(st.lists(st.integers(0, 12), min_size=2, max_size=5))
def test_each_weight_has_its_exact_share(weights: list[int]) -> None:
    """Of chances that lie evenly, each target comes first for as many as it weighs."""
    total = sum(weights)
    came = Counter(
        arrange("weighted", weighing(*weights), unasked, repeat((k + 0.5) / total).__next__)[0].model
        for k in range(total)
    )
    assert [came[name] for name in "abcdefgh"[: len(weights)]] == weights


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (1, 99), (5, 3, 2), (1, 0, 1), (1_000_000, 1, 1)])
def test_weights_hold_over_many_requests(weights: tuple[int, ...]) -> None:
    """Seeded, within what a fair draw allows; the second place is shared out among the others alike."""
    draw = random.Random(sum(weights)).random
    orders = Counter(names(arrange("weighted", weighing(*weights), unasked, draw)) for _ in range(10_000))
    total = sum(weights)
    for first, weight in zip("abc", weights, strict=False):
        led = sum(count for order, count in orders.items() if order[0] == first)
        assert is_likely(led, 10_000, weight / total)
        for second, next_weight in zip("abc", weights, strict=False):
            if second != first and led:
                both = sum(count for order, count in orders.items() if order[:2] == first + second)
                assert is_likely(both, led, next_weight / (total - weight))


@pytest.mark.parametrize(
    ("in_flight", "drawn", "order"),
    [
        ((0, 0), (0.0, 0.0), "ab"),
        ((0, 0), (0.5, 0.0), "ba"),
        ((1, 0), (0.0, 0.0), "ba"),
        ((1, 0), (ALMOST_ONE, ALMOST_ONE), "ba"),
        ((0, 1), (0.5, ALMOST_ONE), "ab"),
        ((0, 0, 0), (0.0, 0.0, 0.0, 0.0), "abc"),  # a against b, then b against c
        ((9, 5, 0), (0.0, 0.0, 0.0, 0.0), "bca"),  # a against b, then a against c
        ((9, 5, 0), (0.0, 0.5, 0.0, 0.0), "cba"),  # a against c, then a against b
        ((5, 5, 5), (ALMOST_ONE, 0.5, 0.5, 0.0), "cba"),  # c against b, then b against a
    ],
)
def test_the_idler_of_two_comes_first(in_flight: tuple[int, ...], drawn: tuple[float, ...], order: str) -> None:
    """And the first drawn where both are alike."""
    targets = weighing(*[1] * len(in_flight))
    assert names(arrange("least_busy", targets, working(*in_flight), drawing(*drawn))) == order


@pytest.mark.parametrize(
    ("in_flight", "shares"),
    [((0, 0, 0), [2, 2, 2]), ((0, 1, 2), [4, 2, 0]), ((2, 0, 1), [0, 4, 2]), ((0, 0, 1), [3, 3, 0])],
)
def test_all_pairs_are_equally_likely(in_flight: tuple[int, ...], shares: list[int]) -> None:
    """Two different ones of three: six pairs, each drawn for a sixth of all chances."""
    came = Counter(
        arrange("least_busy", weighing(1, 1, 1), working(*in_flight), drawing(one, other, 0.0, 0.0))[0].model
        for one, other in product((0.1, 0.5, 0.9), (0.2, 0.7))
    )
    assert [came[name] for name in "abc"] == shares


@given(st.lists(st.integers(0, 5), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_the_strictly_busiest_is_never_preferred(others: list[int], chance: random.Random) -> None:
    """It loses against whoever it is drawn with, so it is asked last."""
    in_flight = [*others, 6]
    chance.shuffle(in_flight)
    arranged = arrange("least_busy", weighing(*[1] * len(in_flight)), working(*in_flight), chance.random)
    assert working(*in_flight)(arranged[-1]) == 6


def test_idle_targets_share_evenly() -> None:
    """No target is preferred for its place in the file, and weights have no say."""
    came = firsts("least_busy", weighing(1, 50, 0, 1), working(3, 3, 3, 3), seed=4)
    assert all(is_likely(came[name], 10_000, 1 / 4) for name in "abcd")


def test_no_herd_runs_to_one_target() -> None:
    """Even an idle one among busy ones gets no more requests than it is drawn for: half of them, of four."""
    came = firsts("least_busy", weighing(1, 1, 1, 1), working(9, 9, 0, 9), seed=5)
    assert is_likely(came["c"], 10_000, 1 / 2)
    assert all(is_likely(came[name], 10_000, 1 / 6) for name in "abd")


def test_load_evens_out() -> None:
    """Where each request stays, no target is ever more than a few ahead of the mean (chance alone: thirty)."""
    in_flight = dict.fromkeys("abcdefgh", 0)
    draw = random.Random(6).random
    for _ in range(8_000):
        first = arrange("least_busy", weighing(*[1] * 8), lambda target: in_flight[target.model], draw)[0]
        in_flight[first.model] += 1
    assert max(in_flight.values()) <= 1_000 + 5
