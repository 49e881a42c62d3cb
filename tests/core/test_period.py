"""Days, weeks and months in every zone: no gap, no overlap, and as long as the calendar says."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.period import FOR_EVER, Period, Span, iso_moment, span_at

CALENDARS = [Period.DAY, Period.WEEK, Period.MONTH]
ODD_ZONES = [
    "Africa/Cairo",  # skips midnight
    "America/Havana",  # has midnight twice
    "America/Sao_Paulo",  # did both
    "America/St_Johns",  # put its clock back at 00:01
    "America/Toronto",  # skipped from 23:30 to 00:30, in 1919
    "Antarctica/Troll",  # moves by two hours
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # moves by half an hour
    "Pacific/Apia",  # left out a whole day
    "Pacific/Kwajalein",  # left out one, and lived one twice
    "UTC",
]


def unix(moment: str, zone: str) -> float:
    """Unix seconds of a local time."""
    return datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("period", "zone", "now", "start", "end"),
    [
        (Period.DAY, "UTC", "2026-11-23T12:00:00", "2026-11-23T00:00:00", "2026-11-24T00:00:00"),
        (Period.DAY, "UTC", "2026-11-23T00:00:00", "2026-11-23T00:00:00", "2026-11-24T00:00:00"),
        (Period.DAY, "UTC", "2026-11-23T23:59:59.999999", "2026-11-23T00:00:00", "2026-11-24T00:00:00"),
        (Period.DAY, "Asia/Kathmandu", "2026-12-31T23:59:59", "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
        (Period.WEEK, "Europe/Berlin", "2026-11-29T23:59:59", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
        (Period.WEEK, "Europe/Berlin", "2026-11-23T00:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
        (Period.WEEK, "UTC", "2027-01-01T08:00:00", "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
        (Period.MONTH, "America/New_York", "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        (Period.MONTH, "America/New_York", "2027-01-01T00:00:00", "2027-01-01T00:00:00", "2027-02-01T00:00:00"),
        (Period.MONTH, "UTC", "2028-02-29T12:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        (Period.DAY, "America/Sao_Paulo", "2018-11-04T12:00:00", "2018-11-04T01:00:00", "2018-11-05T00:00:00"),
        (Period.DAY, "America/Toronto", "1919-03-31T12:00:00", "1919-03-31T00:30:00", "1919-04-01T00:00:00"),
        (Period.DAY, "Pacific/Apia", "2011-12-29T12:00:00", "2011-12-29T00:00:00", "2011-12-31T00:00:00"),
        (Period.DAY, "Pacific/Apia", "2011-12-31T12:00:00", "2011-12-31T00:00:00", "2012-01-01T00:00:00"),
    ],
)
def test_periods_are_those_of_the_local_calendar(period: Period, zone: str, now: str, start: str, end: str) -> None:
    """Their first instant belongs to them, the next one's does not; a skipped midnight is no matter."""
    assert span_at(period, ZoneInfo(zone), unix(now, zone)) == Span(unix(start, zone), unix(end, zone))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-10-26", 24),
        ("America/New_York", "2026-03-08", 23),
        ("America/Havana", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Antarctica/Troll", "2026-03-29", 22),
    ],
)
def test_days_of_the_change_are_shorter_or_longer(zone: str, day: str, hours: float) -> None:
    """By what the clock is moved."""
    span = span_at(Period.DAY, ZoneInfo(zone), unix(f"{day}T12:00:00", zone))
    assert span.end_s - span.start_s == hours * 3600


def test_a_clock_put_back_across_midnight_does_not_reopen_yesterday() -> None:
    """In St. John's 2010-11-07 began, and a minute later it was 23:01 of the day before once more."""
    zone = ZoneInfo("America/St_Johns")
    today = span_at(Period.DAY, zone, datetime(2010, 11, 7, 12, tzinfo=zone).timestamp())
    again = datetime(2010, 11, 6, 23, 30, tzinfo=zone, fold=1).timestamp()
    assert today.start_s < again < today.end_s
    assert span_at(Period.DAY, zone, again) == today
    assert today.end_s - today.start_s == 25 * 3600


@given(st.floats(0, 1e11))
def test_total_never_begins_again(now_s: float) -> None:
    """One period for all time, in every zone the same."""
    assert span_at(Period.TOTAL, ZoneInfo("Asia/Tokyo"), now_s) is FOR_EVER
    assert Span(0, math.inf) == FOR_EVER


@given(
    st.sampled_from(ODD_ZONES) | st.sampled_from(sorted(available_timezones())),
    st.sampled_from(CALENDARS),
    st.floats(datetime(1907, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()),
)
def test_periods_tile_all_time(name: str, period: Period, now_s: float) -> None:
    """Each moment is in one, its neighbours touch it, and it begins where the date changes."""
    zone = ZoneInfo(name)
    span = span_at(period, zone, now_s)
    assert span.start_s <= now_s < span.end_s
    assert span_at(period, zone, span.start_s) == span
    assert span_at(period, zone, math.nextafter(span.end_s, -math.inf)) == span
    assert span_at(period, zone, math.nextafter(span.start_s, -math.inf)).end_s == span.start_s
    assert span_at(period, zone, span.end_s).start_s == span.end_s
    first, before = (datetime.fromtimestamp(span.start_s - back_s, zone).date() for back_s in (0, 1))
    assert before < first
    if period is Period.WEEK and first.weekday() != 0:
        assert (first - before).days > 1  # its Monday was left out
    if period is Period.MONTH:
        assert (before.year, before.month) != (first.year, first.month)


@pytest.mark.parametrize(
    ("moment_s", "zone", "text"),
    [
        (0.0, "UTC", "1970-01-01T00:00:00+00:00"),
        (1_774_745_999.999, "Europe/Berlin", "2026-03-29T01:59:59+01:00"),
        (1_774_746_000.0, "Europe/Berlin", "2026-03-29T03:00:00+02:00"),
        (math.inf, "UTC", None),
    ],
)
def test_moments_are_written_in_the_time_of_a_zone(moment_s: float, zone: str, text: str | None) -> None:
    """To the second that has begun; what never comes is nothing."""
    assert iso_moment(moment_s, ZoneInfo(zone)) == text
