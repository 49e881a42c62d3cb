"""What one scope has spent and holds of its budget, in one period."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.period import Span
from gateway.core.quota import Budget, Crossing, Funds, Scope

CLOCK_STEP_S: Final = 3600.0
"""How far a wall clock may be put back without reopening a period that had ended by it."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account begins with.

    Attributes:
        spent_nanousd: cost of what has ended in the period.
        running: what each exchange of the period that has not ended holds, by its id, in nano-dollars.
    """

    spent_nanousd: int
    running: Mapping[str, int]


class Account:
    """Spent and held nano-dollars; conserved: what is held becomes spent or free, never both.

    Attributes:
        span: the period that it is for.
        spent_nanousd: what settled exchanges cost.
        held_nanousd: what running ones may cost at most.
    """

    __slots__ = ("_told", "held_nanousd", "span", "spent_nanousd")

    def __init__(self, budget: Budget, span: Span, spent_nanousd: int, held_nanousd: int = 0) -> None:
        self.span = span
        self.spent_nanousd = spent_nanousd
        self.held_nanousd = held_nanousd
        # What was spent before this process began was told then.
        self._told = max((share for share in budget.soft_at if self._has_spent(budget, share)), default=0.0)

    def is_current(self, now_s: float) -> bool:
        """Whether its period is the present one."""
        return self.span.start_s - CLOCK_STEP_S <= now_s < self.span.end_s

    def fits(self, budget: Budget, more_nanousd: int) -> bool:
        """Whether so much more may be held; nothing more always may."""
        return not more_nanousd or self.spent_nanousd + self.held_nanousd + more_nanousd <= budget.nanousd

    def wait_s(self, budget: Budget, hold_nanousd: int, now_s: float, release_hint_s: float) -> float:
        """Return how long a hold that does not fit must wait; infinity: for ever."""
        if self.spent_nanousd + hold_nanousd <= budget.nanousd:
            return release_hint_s
        if hold_nanousd > budget.nanousd or self.span.end_s == math.inf:
            return math.inf
        return self.span.end_s - now_s

    def settle(self, scope: Scope, budget: Budget, hold_nanousd: int, cost_nanousd: int) -> list[Crossing]:
        """Put the cost in the place of a hold; return the soft thresholds that are crossed for the first time."""
        self.held_nanousd -= hold_nanousd
        self.spent_nanousd += cost_nanousd
        crossed = [share for share in budget.soft_at if share > self._told and self._has_spent(budget, share)]
        if crossed:
            self._told = max(crossed)
        return [Crossing(scope, share, self.funds(budget)) for share in sorted(crossed)]

    def write_off(self, hold_nanousd: int) -> None:
        """Take a hold for spent, because nobody says what became of it."""
        self.held_nanousd -= hold_nanousd
        self.spent_nanousd += hold_nanousd

    def funds(self, budget: Budget) -> Funds:
        """Tell where it stands."""
        return Funds(budget.nanousd, self.spent_nanousd, self.held_nanousd, self.span)

    def _has_spent(self, budget: Budget, share: float) -> bool:
        return self.spent_nanousd > 0 and self.spent_nanousd >= share * budget.nanousd
