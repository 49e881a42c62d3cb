"""How long a provider asks to be left alone, in all its spellings and misspellings."""

import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry_after import MAX_BELIEVABLE_S, retry_after_s

NOW = 784111767.0
"""Ten seconds before the date of RFC 9110's examples."""


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": ".5"}, 0.5),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "12.5"}, 0.0125),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "86400001", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "86400000", "retry-after": "1"}, 86400.0),
        ({"retry-after-ms": "-1", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "9" * 400, "retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 10.0),
        ({"retry-after-ms": "86400001", "retry-after": "86401"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 10.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT"}, 10.0),
        ({"retry-after": "Sun Nov  6 08:49:37 1994"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 -0000"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 10:49:37 +0200"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:26 GMT"}, None),
        ({"retry-after": "Fri, 06 Nov 2099 08:49:37 GMT"}, None),
        ({"retry-after": "Sun, 36 Nov 1994 08:49:37 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "+1"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "1.5.5"}, None),
        ({"retry-after": "."}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": " "}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "\u0663"}, None),
        ({"retry-after": "\u00b2"}, None),
        ({"retry-after": "7 seconds"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_waits(headers: dict[str, str], wait_s: float | None) -> None:
    """Milliseconds win over seconds, all three date forms of RFC 9110 count, the unbelievable counts as not said."""
    assert retry_after_s(headers, NOW) == wait_s


@pytest.fixture
def far_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is not UTC."""
    monkeypatch.setenv("TZ", "XYZ9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_west")
@pytest.mark.parametrize("date", ["Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_dates_are_utc_wherever_the_machine_stands(date: str) -> None:
    """The form without a zone as well."""
    assert retry_after_s({"retry-after": date}, NOW) == 10.0


DATE_LIKE = st.lists(
    st.sampled_from(
        ["Sun,", "06", "Nov", "1994", "08:49:37", "GMT", "-0000", "+9999", "0", "99999", ":", "-", "(", ""]
    ),
    max_size=8,
).map(" ".join)
TEXTS = st.text(max_size=20) | DATE_LIKE | st.from_regex(r"[0-9.]{0,12}", fullmatch=True)


@given(TEXTS, TEXTS, st.floats(0, 4e9))
def test_any_text_gives_a_wait_or_none(ms: str, seconds: str, now: float) -> None:
    """Nothing raises, nothing is negative or longer than a day; what says nothing believable is as if left out."""
    finer, coarser = {"retry-after-ms": ms}, {"retry-after": seconds}
    wait, wait_ms = retry_after_s(finer | coarser, now), retry_after_s(finer, now)
    assert wait is None or 0 <= wait <= MAX_BELIEVABLE_S
    assert wait == (wait_ms if wait_ms is not None else retry_after_s(coarser, now))


@given(st.integers(0, int(MAX_BELIEVABLE_S)), st.integers(0, 4_000_000_000))
def test_the_spellings_agree(wait: int, now: int) -> None:
    """Seconds, milliseconds and a date say the same."""
    date = formatdate(now + wait, usegmt=True)
    for headers in ({"retry-after": str(wait)}, {"retry-after-ms": f"{wait}000"}, {"retry-after": date}):
        assert retry_after_s(headers, float(now)) == wait
