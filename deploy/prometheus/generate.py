"""The service levels: their recording rules and burn-rate alerts, written from the gateway's own table of outcomes.

    python -m deploy.prometheus.generate > deploy/prometheus/rules/slo.yml

Which endings are bad and which do not count comes from ``gateway.core.outcome``, so a new outcome cannot be forgotten
here. To change an objective, change ``LEVELS`` and generate the file again; a test compares the two.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.outcome import CONSEQUENCES, Fault, Outcome
from gateway.metrics.declarations import REQUEST_STATUSES

PERIOD_D = 30
"""The error budget is that of so many days."""
EVALUATION_S = 15
"""``evaluation_interval`` of prometheus.yml: a sum of recorded rates times this is a number of events."""
MIN_BAD = 10
"""Fewer bad events in the long window alert nobody: at night one failure of three requests is no trend."""
FIRST_TOKEN_S = 2.0
"""The latency objective; a bound of ``aigateway_time_to_first_token_seconds``."""

WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")
"""What the ratio is recorded over, besides 5m."""


@dataclass(frozen=True, slots=True)
class Level:
    """One objective: the share ``objective`` of events is to be good.

    ``valid`` and ``bad`` are rates over 5 minutes; ``events`` and ``missed`` say in words what was counted, and
    ``promise`` what the objective is a share of.
    """

    slo: str
    alert: str
    objective: float
    valid: str
    bad: str
    events: str
    missed: str
    promise: str


@dataclass(frozen=True, slots=True)
class Burn:
    """One pair of windows: the error budget burns ``rate`` times as fast as it may, in both of them.

    From the Google SRE workbook, "Alerting on SLOs", 6: multiwindow, multi-burn-rate alerts.
    """

    severity: str
    rate: float
    long: str
    short: str
    for_: str


BURNS = (
    Burn("page", 14.4, "1h", "5m", "2m"),
    Burn("page", 6, "6h", "30m", "15m"),
    Burn("ticket", 3, "1d", "2h", "1h"),
    Burn("ticket", 1, "3d", "6h", "3h"),
)


def bad_statuses() -> tuple[Outcome, ...]:
    """The endings that break the promise: whoever is at fault, it was not the client. Throttling is among them."""
    return tuple(o for o in REQUEST_STATUSES if CONSEQUENCES[o].fault not in {Fault.NONE, Fault.CLIENT})


def excluded_statuses() -> tuple[Outcome, ...]:
    """The endings that say nothing about the service: the client's own."""
    return tuple(o for o in REQUEST_STATUSES if CONSEQUENCES[o].fault is Fault.CLIENT)


def _first_tokens(series: str) -> str:
    return f"sum(rate(aigateway_time_to_first_token_seconds_{series}[5m]))"


LEVELS = (
    Level(
        slo="availability",
        alert="AvailabilityBudgetBurn",
        objective=0.995,
        valid=f'sum(rate(aigateway_requests_total{{status!~"{"|".join(excluded_statuses())}"}}[5m]))',
        bad=f'sum(rate(aigateway_requests_total{{status=~"{"|".join(bad_statuses())}"}}[5m]))',
        events="requests",
        missed="failed",
        promise="of the requests that are not the client's own mistake succeed",
    ),
    Level(
        slo="ttft",
        alert="FirstTokenBudgetBurn",
        objective=0.95,
        valid=_first_tokens("count"),
        bad=f'{_first_tokens("count")} - {_first_tokens(f"""bucket{{le="{FIRST_TOKEN_S}"}}""")}',
        events="streams",
        missed="began late",
        promise=f"of the streams show their first content within {FIRST_TOKEN_S:g} s",
    ),
)

_HEAD = """\
# Written by `python -m deploy.prometheus.generate`; change that module, not this file.
# `slo` says which promise: availability (requests that succeed) or ttft (streams that begin in time).
"""


def seconds(window: str) -> int:
    """``window``, such as ``5m`` or ``3d``, in seconds."""
    return int(window[:-1]) * {"m": 60, "h": 3600, "d": 86400}[window[-1]]


def duration(total_s: float) -> str:
    """A time that people read: in days, or in hours where days would be too coarse."""
    days = total_s / 86400
    return f"{days:g} days" if days >= 3 else f"{total_s / 3600:g} hours"


def rules() -> str:
    """The whole file."""
    # one group, for its rules are evaluated in this order: each sees what the ones before it have just recorded
    lines = [_HEAD + "groups:", "  - name: aigateway_slo", "    rules:"]
    lines += [line for level in LEVELS for line in _rates(level)]
    lines += _windows()
    lines += [line for level in LEVELS for burn in BURNS for line in _alert(level, burn)]
    return "\n".join(lines) + "\n"


def recorded() -> tuple[str, ...]:
    """The names of all recorded series; each has the label ``slo`` and no other."""
    lines = (line.strip() for line in rules().splitlines())
    return tuple(dict.fromkeys(line.removeprefix("- record: ") for line in lines if line.startswith("- record: ")))


def _rates(level: Level) -> Iterator[str]:
    yield from _record("objective", f"vector({level.objective})", level.slo)
    yield from _record("valid_rate5m", level.valid, level.slo)
    # no bad series at all is no bad event; but where nothing is valid either, there is nothing to say
    yield from _record("bad_rate5m", f"{level.bad}\nor 0 * {level.valid}", level.slo)


def _windows() -> Iterator[str]:
    """Long windows are averages of the recorded rates: the counters themselves are read over 5 minutes only."""
    yield from _record("bad_ratio_rate5m", "aigateway_slo:bad_rate5m / (aigateway_slo:valid_rate5m > 0)")
    for window in WINDOWS:
        yield from _record(f"bad_ratio_rate{window}", _ratio(window))
    yield from _record("burn_rate1h", "aigateway_slo:bad_ratio_rate1h / (1 - aigateway_slo:objective)")
    left = f"1 - {_ratio(f'{PERIOD_D}d')} / (1 - aigateway_slo:objective)"
    # without traffic nothing was used up
    yield from _record(f"budget_left{PERIOD_D}d", f"{left}\nor aigateway_slo:objective ^ 0")


def _ratio(window: str) -> str:
    bad, valid = (f"avg_over_time(aigateway_slo:{which}_rate5m[{window}])" for which in ("bad", "valid"))
    return f"{bad} / ({valid} > 0)"


def _record(name: str, expression: str, slo: str = "") -> Iterator[str]:
    yield f"      - record: aigateway_slo:{name}"
    if slo:
        yield f"        labels: {{slo: {slo}}}"
    yield from _expression(expression)


def _expression(expression: str) -> Iterator[str]:
    yield "        expr: |-"
    yield from (f"          {line}" for line in expression.splitlines())


def _alert(level: Level, burn: Burn) -> Iterator[str]:
    slo = f'{{slo="{level.slo}"}}'
    limit = f"{burn.rate:g} * {round(1 - level.objective, 6):g}"
    share = f"{{{{ $value | humanizePercentage }}}} of {level.events} {level.missed}"
    lasts = duration(PERIOD_D * 86400 / burn.rate)
    yield f"      - alert: {level.alert}"
    yield from _expression(
        f"aigateway_slo:bad_ratio_rate{burn.long}{slo} > {limit}\n"
        f"and aigateway_slo:bad_ratio_rate{burn.short}{slo} > {limit}\n"
        f"and sum_over_time(aigateway_slo:bad_rate5m{slo}[{burn.long}]) * {EVALUATION_S} >= {MIN_BAD}"
    )
    yield f"        for: {burn.for_}"
    yield f"        labels: {{severity: {burn.severity}, window: {burn.long}}}"
    yield "        annotations:"
    yield f'          summary: "{share} within {burn.long}"'
    yield "          description: >-"
    yield f"            The promise is that {100 * level.objective:.4g} % {level.promise}."
    yield f"            Over {burn.long} and over the last {burn.short} so many {level.missed} that what is allowed"
    yield f"            for {PERIOD_D} days is used up in {lasts} at that pace."
    yield f"          runbook_url: docs/runbook.md#{level.alert.lower()}"


if __name__ == "__main__":
    sys.stdout.write(rules())
