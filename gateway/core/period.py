"""The stretches of time that a budget is for: day, week, month or all of it, in a time zone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

_DAY_S = 86400


class Period(StrEnum):
    """How long a budget lasts before it begins again."""

    DAY = "day"
    """A calendar day: 23 or 25 hours where summer time begins or ends."""
    WEEK = "week"
    """From Monday on (ISO 8601)."""
    MONTH = "month"
    TOTAL = "total"
    """For ever: it never begins again."""


@dataclass(frozen=True, slots=True)
class Span:
    """One period, in Unix seconds: ``start_s`` belongs to it, ``end_s`` (infinity for total) to the next one."""

    start_s: float
    end_s: float


FOR_EVER = Span(0.0, math.inf)


def span_at(period: Period, zone: ZoneInfo, now_s: float) -> Span:
    """Return the period that a moment belongs to.

    Periods follow each other without gap or overlap, in every zone and year: one begins at the first instant of its
    first day, even where that day's midnight was skipped or came twice.

    Args:
        period: its kind.
        zone: whose calendar counts.
        now_s: Unix seconds.
    """
    if period is Period.TOTAL:
        return FOR_EVER
    first, after = _CALENDAR[period]
    # Zones change at whole seconds; a datetime would round the last half microsecond of a day up to the next.
    day = first(datetime.fromtimestamp(math.floor(now_s), zone).date())
    start_s, day = _first_instant(day, zone), after(day)
    end_s = _first_instant(day, zone)
    # A clock put back across midnight shows yesterday's date again, after today has begun; some days do not exist.
    while end_s <= now_s:
        day = after(day)
        start_s, end_s = end_s, _first_instant(day, zone)
    return Span(start_s, end_s)


def iso_moment(moment_s: float, zone: ZoneInfo) -> str | None:
    """Write a moment as ISO 8601 in the time of a zone, to the second; None: it never comes.

    Args:
        moment_s: Unix seconds; infinity is never.
    """
    return None if moment_s == math.inf else datetime.fromtimestamp(math.floor(moment_s), zone).isoformat()


def _first_instant(day: date, zone: ZoneInfo) -> float:
    """Find the first second at which the local date is ``day``, or a later one where there is no such day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    instant = midnight.timestamp()
    if datetime.fromtimestamp(instant, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    before, found = int(instant) - 2 * _DAY_S, int(instant)
    while found - before > 1:
        middle = (before + found) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            before = middle
        else:
            found = middle
    return float(found)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


_CALENDAR: dict[Period, tuple[Callable[[date], date], Callable[[date], date]]] = {
    Period.DAY: (lambda day: day, lambda day: day + timedelta(days=1)),
    Period.WEEK: (lambda day: day - timedelta(days=day.weekday()), lambda day: day + timedelta(days=7)),
    Period.MONTH: (lambda day: day.replace(day=1), _next_month),
}
"""Of each kind: the first day of the one that a day is in, and the first day of the one after."""
