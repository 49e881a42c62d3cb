"""Moments to the microsecond, in and out."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.admin.figures import LAST_US, Moment, as_us, iso, iso_or_none

_MOMENT: TypeAdapter[Any] = TypeAdapter(Moment)
DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01", 0),
        ("1970-01-02", DAY_US),
        ("1970-01-02T00:00:00", DAY_US),
        ("1970-01-02T00:00:00Z", DAY_US),
        ("1970-01-02T01:00:00+01:00", DAY_US),
        ("1970-01-01 00:00:01.000001", 1_000_001),
        ("9999-12-31T23:59:59.999999Z", LAST_US),
    ],
)
def test_dates_and_moments_are_read(text: str, us: int) -> None:
    """A date is its first instant in UTC, and so is a moment without a zone."""
    assert _MOMENT.validate_python(text) == us


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2027-13-01", "2027-02-30", "1790000000", "2027-01-01T12:00:00 01:00", "2027-01-01T25:00Z"],
)
def test_what_is_no_moment_is_told_how_to_write_one(text: str) -> None:
    """Also a + that nobody encoded, which a query reads as a space."""
    with pytest.raises(ValidationError, match=r"must be a date or a moment: 2027-01-01.*\+ is written %2B"):
        _MOMENT.validate_python(text)


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59Z", "0001-01-01", "9999-12-31T23:59:59-01:00"])
def test_moments_are_within_the_years_that_can_be_written(text: str) -> None:
    """And after the epoch: no row is older."""
    with pytest.raises(ValidationError, match="must be a moment from 1970 to 9999"):
        _MOMENT.validate_python(text)


@given(st.integers(0, LAST_US), st.integers(-14 * 60, 14 * 60))
def test_what_is_written_is_read_again(us: int, offset_min: int) -> None:
    """Exactly, from any zone."""
    assert _MOMENT.validate_python(iso(us)) == us
    moment = datetime(2027, 5, 1, tzinfo=UTC) + timedelta(microseconds=us % DAY_US)
    assert as_us(moment.astimezone(timezone(timedelta(minutes=offset_min)))) == as_us(moment)


def test_no_moment_is_none() -> None:
    """As null in an answer."""
    assert (iso_or_none(None), iso_or_none(1)) == (None, "1970-01-01T00:00:00.000001Z")
