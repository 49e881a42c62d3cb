"""How many output tokens of a stream may pass, as one integer to compare with for every chunk.

The estimate of what has passed (:func:`gateway.core.tokens.estimate_output`) takes two figures and a case
distinction. What is compared instead is their *weight*, bytes of text and :data:`EVENT_WEIGHT` for each event: it only
grows, and the estimate cannot have passed the allowance before the weight has passed its :meth:`Allowance.room`. Then
the estimate is made, and the room measured anew: about half of what was left each time.
"""

from dataclasses import dataclass
from typing import Final

from gateway.core.tokens import estimate_output

EVENT_WEIGHT: Final = 4
"""Of one event, beside its text: a token's bytes, so that neither of the two counts is looked at too soon."""

MOST_WEIGHT: Final = 2**30 - 1
"""The largest room: one digit of CPython's integers (Include/cpython/longintrepr.h), which it compares at once."""


def weight(events: int, text_bytes: int) -> int:
    """Return what so many events with so many bytes of text in them weigh."""
    return EVENT_WEIGHT * events + text_bytes


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many output tokens may come behind these figures; both are those of the stream at the time."""

    tokens: int
    events: int = 0
    text_bytes: int = 0

    def room(self, events: int, text_bytes: int) -> int:
        """Return how much may come until the estimate has to be looked at again.

        Args:
            events, text_bytes: figures of the stream now.

        Returns:
            A weight: as long as no more comes, in events of any size, the estimate stays within the tokens. Below 0
            where it has passed them.
        """
        events -= self.events
        text_bytes -= self.text_bytes
        if estimate_output(events, text_bytes) > self.tokens:
            return -1
        # The least that passes it: so many events without a byte, or one event with so many bytes.
        by_events = weight(self.tokens + 1 - events, 0)
        by_text = weight(1, max(4 * self.tokens + 1, 8 * (events + 1), text_bytes) - text_bytes)
        return min(by_events, by_text, MOST_WEIGHT + 1) - 1


UNLIMITED: Final = Allowance(1 << 60)
"""More than any stream has."""
