"""An allowance as one integer: it is never passed unseen, never thought passed too soon, and rarely looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.allowance import EVENT_WEIGHT, MOST_WEIGHT, UNLIMITED, Allowance, weight
from gateway.core.tokens import estimate_output

TEXTS = st.sampled_from([0, 1, 4, 5, 7, 8, 9, 30, 1000]) | st.integers(0, 40)
"""Bytes of one event's text: around 8 the estimate changes from events to bytes, and back."""
TOKENS = st.integers(0, 60) | st.integers(0, 5000)
COUNTS = st.integers(0, 100)


class Watched:
    """A stream that looks at its allowance only when it must."""

    def __init__(self, allowance: Allowance, events: int = 0, text_bytes: int = 0) -> None:
        self.allowance = allowance
        self.events, self.text_bytes = events, text_bytes
        self.looks = 0
        self._look()

    def _look(self) -> None:
        self.looks += 1
        self._since = 0
        self._room = self.allowance.room(self.events, self.text_bytes)

    @property
    def has_passed(self) -> bool:
        return self._room < 0

    def take(self, text_bytes: int) -> None:
        """One more event."""
        self.events += 1
        self.text_bytes += text_bytes
        self._since += weight(1, text_bytes)
        if self._since > self._room:
            self._look()


@pytest.mark.parametrize(
    ("tokens", "events", "text_bytes", "room"),
    [
        (0, 0, 0, EVENT_WEIGHT - 1),
        (10, 0, 0, 43),  # eleven events without text
        (10, 10, 10, 3),
        (10, 11, 10, -1),
        (10, 5, 40, 11),  # one event with eight bytes: 48 bytes in six events are twelve tokens
        (10, 5, 41, -1),
        (100, 1, 0, 399),
        (0, 0, 1000, 3),  # no event, no token
    ],
)
def test_the_least_that_passes(tokens: int, events: int, text_bytes: int, room: int) -> None:
    """Worked by hand: events without a byte, or one event with many."""
    assert Allowance(tokens).room(events, text_bytes) == room


@given(TOKENS, st.lists(TEXTS, max_size=300))
def test_seen_at_the_very_event(tokens: int, texts: list[int]) -> None:
    """Who looks only when the room is used up learns of it with the event that passes it: no sooner, no later."""
    stream = Watched(Allowance(tokens))
    for text_bytes in texts:
        stream.take(text_bytes)
        assert stream.has_passed == (estimate_output(stream.events, stream.text_bytes) > tokens)
        if stream.has_passed:
            break


@given(TOKENS, COUNTS, st.integers(0, 1000), COUNTS, st.integers(0, 20_000))
def test_within_the_room_nothing_passes(tokens: int, events: int, text_bytes: int, more: int, more_bytes: int) -> None:
    """However it comes: many events in one read, or few with much text."""
    room = Allowance(tokens).room(events, text_bytes)
    if more and weight(more, more_bytes) <= room:
        assert estimate_output(events + more, text_bytes + more_bytes) <= tokens


@given(TOKENS, COUNTS, st.integers(0, 1000))
def test_no_room_is_given_away(tokens: int, events: int, text_bytes: int) -> None:
    """There is always something one heavier than the room that passes."""
    room = Allowance(tokens).room(events, text_bytes)
    if room >= 0:
        enough = room + 1
        ways = [(enough // EVENT_WEIGHT, enough % EVENT_WEIGHT), (1, enough - EVENT_WEIGHT)]
        assert any(estimate_output(events + e, text_bytes + b) > tokens for e, b in ways)


@given(TOKENS, COUNTS, st.integers(0, 1000), COUNTS, st.integers(0, 1000))
def test_only_what_comes_behind_counts(tokens: int, base: int, base_bytes: int, events: int, text_bytes: int) -> None:
    """An allowance behind some figures is the same allowance from nothing."""
    behind = Allowance(tokens, base, base_bytes).room(base + events, base_bytes + text_bytes)
    assert behind == Allowance(tokens).room(events, text_bytes)


@pytest.mark.parametrize("text_bytes", [0, 1, 4, 5, 6, 12, 100])
def test_looks_are_rare(text_bytes: int) -> None:
    """A step of 2,048 tokens, in events of any usual size, takes a dozen looks or so: each leaves half of what was."""
    stream = Watched(Allowance(2048))
    while not stream.has_passed:
        stream.take(text_bytes)
    assert stream.looks <= 16


def test_no_allowance() -> None:
    """The room is the largest there is, and never used up."""
    assert UNLIMITED.room(0, 0) == UNLIMITED.room(10**9, 10**10) == MOST_WEIGHT
    assert MOST_WEIGHT.bit_length() == 30
