"""Money and moments as answers show them and parameters say them.

Money is exact: an integer for sums, and a decimal text for people. Moments are microseconds since the epoch within.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SENTENCE: Final = (
    "must be a date or a moment: 2027-01-01, which is its first instant in UTC, or 2027-01-01T12:00:00+01:00 "
    "(in an address + is written %2B)"
)
_ISO: Final = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"

FIRST_US: Final = 0
LAST_US: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999: beyond it there is no moment to write."""


def as_us(moment: datetime) -> int:
    """Return the microseconds of a moment, exactly; one without a zone is in UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def iso(us: int) -> str:
    """Write microseconds as a moment of UTC (RFC 3339): ``2027-01-01T00:00:00.000000Z``.

    Raises:
        OverflowError: it is beyond the years 1 to 9999.
    """
    return (_EPOCH + us * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


def iso_or_none(us: int | None) -> str | None:
    """The same where there may be no such moment."""
    return None if us is None else iso(us)


def _read(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        if len(value) == len("2027-01-01"):
            return as_us(datetime.combine(date.fromisoformat(value), time()))
        return as_us(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        raise ValueError(_SENTENCE) from None


def _check_range(us: int) -> int:
    if not FIRST_US <= us <= LAST_US:
        raise ValueError("must be a moment from 1970 to 9999")
    return us


Moment = Annotated[
    int,
    BeforeValidator(_read),
    AfterValidator(_check_range),
    WithJsonSchema({"type": "string", "examples": ["2027-01-01", "2027-01-01T12:00:00+01:00"]}),
]
"""A parameter: read as a date or a moment, kept as microseconds since the epoch."""

Iso = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "pattern": _ISO})]
"""A moment in an answer, of UTC."""

NanoUsd = Annotated[int, Field(description="Nano-dollars (10^-9 USD), exact; some clients round beyond 2^53.")]

Usd = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]{1,9})?$", description="The same in US dollars, exact.")]
