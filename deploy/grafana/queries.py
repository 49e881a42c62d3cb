"""PromQL for the panels: selectors that follow the variables, and rates that are 0 before the second scrape.

A counter's rate needs two samples. ``rate(x) or 0 * x`` is 0 for a series that has one, so nothing is empty
just after a start; a series that does not exist stays away, so nothing is invented. Sums over everything fall
back on ``ZERO``: 0 while a gateway is scraped, nothing where there is none.
"""

import re

from deploy.grafana.series import LATER, PREFIX, known
from deploy.prometheus import generate as rules

VARIABLES = {
    "instance": "instance",
    "tenant_id": "tenant",
    "provider": "provider",
    "from": "provider",
    "model": "model",
}
"""Label -> the dashboard variable that picks its values."""
WINDOW = "$__rate_interval"
"""Four scrapes at least (Grafana: "Using $__rate_interval"), so that a rate survives a lost scrape."""
RANGE = "$__range"
"""What the dashboard shows."""

UNSUCCESSFUL = '!="success"'
"""Requests that ended otherwise, by whosever fault."""

_METRICS = known()
_ENDINGS = ("_bucket", "_count", "_sum")


def select(name: str, ending: str = "", /, **matchers: str) -> str:
    """The series of a metric that the variables pick; ``matchers`` are further ``label='="value"'`` pairs.

    ``name`` goes without the gateway's prefix. Labels that the metric does not have are not asked for.

    Raises:
        KeyError: the gateway has no such metric, or the metric no such label.
    """
    full = name if name.startswith("process_") else PREFIX + name
    metric = _METRICS[full]
    if (ending in _ENDINGS) != (metric.kind == "histogram"):
        raise KeyError(f"{full}{ending}: is a {metric.kind}")
    if unknown := matchers.keys() - {*metric.labels, "le"}:
        raise KeyError(f"{full} has no label {sorted(unknown)}")
    pairs = [f'{label}=~"${VARIABLES[label]}"' for label in ("instance", *metric.labels) if label in VARIABLES]
    pairs += [label + test for label, test in matchers.items()]
    return f"{full}{ending}{{{','.join(pairs)}}}"


ZERO = f"0 * max({select('instance_info')})"
"""0 while a gateway is scraped; no series where there is none."""


def _sum(by: tuple[str, ...], inner: str) -> str:
    return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def _or_zero(name: str, by: tuple[str, ...], expression: str) -> str:
    """``expression``, else 0: for sums over everything, and for metrics that the gateway does not have yet."""
    if not by:
        return f"{expression} or {ZERO}"
    if PREFIX + name in LATER:
        zero = ZERO
        for label in by:
            zero = f'label_replace({zero}, "{label}", "none", "", "")'
        return f"{expression} or {zero}"
    return expression


def rate(name: str, *by: str, ending: str = "", **matchers: str) -> str:
    """How fast a counter grows, per second; nothing where there is no such series."""
    series = select(name, ending, **matchers)
    return _sum(by, f"rate({series}[{WINDOW}]) or 0 * {series}")


def per_second(name: str, *by: str, ending: str = "", **matchers: str) -> str:
    """How fast a counter grows, per second; 0 where there is no such series."""
    return _or_zero(name, by, rate(name, *by, ending=ending, **matchers))


def in_range(name: str, *by: str, **matchers: str) -> str:
    """How much a counter grew in the time that the dashboard shows."""
    series = select(name, **matchers)
    return _or_zero(name, by, _sum(by, f"increase({series}[{RANGE}]) or 0 * {series}"))


def level(name: str, *by: str, of: str = "sum", **matchers: str) -> str:
    """A gauge now; ``of`` is how the instances' values become one: ``sum`` or ``max``."""
    inner = select(name, **matchers)
    return _or_zero(name, by, _sum(by, inner).replace("sum", of, 1))


def quantile(q: float, name: str, *by: str, over: str = WINDOW) -> str:
    """A quantile of a histogram, in the unit of the metric; NaN where nothing was observed."""
    inner = _sum((*by, "le"), f"rate({select(name, '_bucket')}[{over}])")
    return f"histogram_quantile({q}, {inner})"


def buckets(name: str) -> str:
    """How many observations fell into each bucket, for a heatmap; nothing before the second scrape."""
    return f"sum by (le) (increase({select(name, '_bucket')}[{WINDOW}]))"


def recorded(name: str) -> str:
    """A series that the recording rules make; it tells of the whole service, whatever the variables pick.

    Raises:
        KeyError: there is no such rule.
    """
    if name not in rules.recorded():
        raise KeyError(f"{name}: is recorded by no rule")
    return name


def of_gateways(series: str) -> str:
    """``series`` of gateways only: other processes (Prometheus, say) export the same ``process_*`` names."""
    return f"{series} and on (job, instance) {select('instance_info')}"


def share(part: str, whole: str) -> str:
    """``part / whole``; NaN where ``whole`` is 0."""
    return f"({part}) / ({whole})"


def variables_in(text: str) -> set[str]:
    """The dashboard variables that a query or a link uses, without Grafana's own."""
    return set(re.findall(r"\$\{?(?!__)(\w+)", text))
