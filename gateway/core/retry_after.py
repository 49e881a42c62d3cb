"""When a provider asks to be left alone: `Retry-After` in its three spellings."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_BELIEVABLE_S = 24 * 3600.0
"""A wait beyond a day is a mistake (a date in 2099, say) and counts as not said."""


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, or None where nothing believable is said.

    `retry-after-ms` (milliseconds, sent by OpenAI and Azure) is finer and wins; `Retry-After` is whole seconds or an
    HTTP date (RFC 9110 §10.2.3), and decimals are met in practice.

    Args:
        headers: with case-insensitive look-up.
        now: Unix seconds.
    """
    said = (
        _number(headers.get("retry-after-ms"), 1000.0),
        _number(headers.get("retry-after"), 1.0),
        _date(headers.get("retry-after"), now),
    )
    return next((wait for wait in said if wait is not None and 0 <= wait <= MAX_BELIEVABLE_S), None)


def _number(text: str | None, divisor: float) -> float | None:
    if text is None or not text.strip().replace(".", "", 1).isascii():
        return None
    text = text.strip()
    return float(text) / divisor if text.replace(".", "", 1).isdigit() else None


def _date(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
        # asctime's form names no zone; HTTP dates are always UTC (RFC 9110 §5.6.7).
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
