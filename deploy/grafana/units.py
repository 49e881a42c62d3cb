"""Values in the units of the panels, as Grafana writes them (its ``valueFormats``)."""

import math
from collections.abc import Callable

_SHORT = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))
_BYTES = ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"))
_TIMES = ((86400.0, " days"), (3600.0, " hours"), (60.0, " mins"), (1.0, " s"), (1e-3, " ms"), (1e-6, " µs"))
_SPANS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def written(value: float, unit: str, *, decimals: int | None = None, now_s: float = 0.0) -> str:
    """A value as a panel shows it.

    Args:
        value: in the unit that the panel names; NaN is what Grafana shows nothing for.
        unit: Grafana's name of the unit.
        decimals: how many places; None: three significant digits.
        now_s: the moment from which ``dateTimeFromNow`` counts, in seconds since the epoch.

    Raises:
        KeyError: no panel uses that unit yet: add it here.
    """
    write = _UNITS[unit]
    if math.isnan(value):
        return "No traffic"
    if unit == "dateTimeFromNow":
        return _from_now(value / 1000 - now_s)
    return write(value, decimals)


def digits(value: float, decimals: int | None = None) -> str:
    """Three significant digits without needless zeros, or so many decimals."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(steps: tuple[tuple[float, str], ...]) -> Callable[[float, int | None], str]:
    def write(value: float, decimals: int | None) -> str:
        for size, name in steps:
            if abs(value) >= size:
                return digits(value / size, decimals) + name
        size, name = steps[-1]
        return digits(value, decimals) if size >= 1 else digits(value / size, decimals) + (name if value else " s")

    return write


_short = _scaled(_SHORT)


def _followed_by(ending: str) -> Callable[[float, int | None], str]:
    return lambda value, decimals: _short(value, decimals) + ending


def _bytes(value: float, decimals: int | None) -> str:
    return f"{digits(value, decimals)} B" if abs(value) < _BYTES[-1][0] else _scaled(_BYTES)(value, decimals)


def _dollars(value: float, decimals: int | None) -> str:
    return f"-${_short(-value, decimals)}" if value < 0 else f"${_short(value, decimals)}"


def _percent(value: float, decimals: int | None) -> str:
    return f"{digits(100 * value, decimals)}%"


def _from_now(seconds: float) -> str:
    """Moments as words: ``in 20 hours``, ``5 minutes ago``."""
    for size, name in _SPANS:
        if abs(seconds) >= size:
            count = round(abs(seconds) / size)
            words = f"{count} {name}{'s' if count > 1 else ''}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    return "now"


_UNITS: dict[str, Callable[[float, int | None], str]] = {
    "short": _short,
    "none": digits,
    "reqps": _followed_by(" req/s"),
    "ops": _followed_by(" ops/s"),
    "s": _scaled(_TIMES),
    "bytes": _bytes,
    "currencyUSD": _dollars,
    "percentunit": _percent,
    "dateTimeFromNow": lambda value, _: str(value),
}
