"""In which order the targets of a model are asked."""

from collections.abc import Callable, Sequence

from gateway.core.routing import Balance, Target

Busy = Callable[[Target], int]
"""How many requests a target works on now."""

Draw = Callable[[], float]
"""Chance from [0, 1), as ``random.random`` gives it."""


def arrange(balance: Balance, targets: Sequence[Target], busy: Busy, draw: Draw) -> list[Target]:
    """Return the targets in the order in which they are to be asked; the list is the caller's.

    ``ordered`` is the order given. ``weighted`` draws without replacement, each time by the weights of those left;
    those of weight 0 come last, in the order given. ``least_busy`` draws two and takes the one with less in flight,
    then goes on with the rest ("the power of two choices", Mitzenmacher 2001: nearly as even as always taking the
    least busy one, and no herd runs to a target that has just come back).

    Args:
        targets: of one route, without those that must not be asked.
        busy: asked at most twice for each place but the last.
        draw: asked once for each place where chance decides (twice for ``least_busy``), never for a single target.
    """
    if balance == "ordered" or len(targets) < 2:
        return list(targets)
    return _weighted(targets, draw) if balance == "weighted" else _least_busy(targets, busy, draw)


def _weighted(targets: Sequence[Target], draw: Draw) -> list[Target]:
    left = [target for target in targets if target.weight > 0]
    total = sum(target.weight for target in left)
    arranged: list[Target] = []
    while len(left) > 1:
        rest = int(draw() * total)
        place = 0
        while rest >= left[place].weight:
            rest -= left[place].weight
            place += 1
        target = left.pop(place)
        total -= target.weight
        arranged.append(target)
    return [*arranged, *left, *(target for target in targets if target.weight == 0)]


def _least_busy(targets: Sequence[Target], busy: Busy, draw: Draw) -> list[Target]:
    left = list(targets)
    arranged: list[Target] = []
    while len(left) > 1:
        one = int(draw() * len(left))
        other = int(draw() * (len(left) - 1))
        if other >= one:
            other += 1
        arranged.append(left.pop(one if busy(left[one]) <= busy(left[other]) else other))
    return arranged + left
