"""The lines that tell what happened."""

from gateway.traffic.endings import Ending
from gateway.traffic.tally import Tally


def test_a_line_tells_what_is_new() -> None:
    """Since the line before; what still runs is a state, not news."""
    tally = Tally()
    tally.asked = 6
    for ending, word in ((Ending.WHOLE, ""), (Ending.REFUSED, "rate_limited"), (Ending.REFUSED, "rate_limited")):
        tally.ended(ending, word)
    assert tally.line(65.9, "a rush") == "1:05 a rush: 1 whole, 2 refused, 3 running (2 rate_limited)"
    tally.ended(Ending.BROKEN, "cut off")
    assert tally.line(70, "a lull") == "1:10 a lull: 0 whole, 1 broken, 2 running (1 cut off)"
    assert tally.line(75, "a lull") == "1:15 a lull: 0 whole, 2 running"


def test_the_total_is_of_everything() -> None:
    """What was told before included."""
    tally = Tally()
    tally.asked, tally.skipped = 2, 1
    tally.ended(Ending.WHOLE)
    tally.line(5, "a lull")
    tally.ended(Ending.LEFT)
    assert tally.total() == "2 requests: 1 whole, 1 left, 1 not sent, because too many were running"


def test_nothing_came_of_it() -> None:
    """A sentence all the same."""
    assert Tally().total() == "0 requests: nothing came back"
