"""What Prometheus would have scraped from two gateways: written beforehand, so that no test waits for a scrape.

Three stretches of time, more than the five minutes apart after which Prometheus forgets a series:

* ``FRESH``: one scrape of gateways that have just started.
* ``BUSY``: several scrapes, every series moving by a known amount from each to the next.
* ``LATER``: the same with the metrics that the gateway does not have yet.
"""

from collections.abc import Iterator

from deploy.grafana.series import LATER as LATER_METRICS
from deploy.grafana.series import Series
from gateway.metrics.collectors import BoundCounter, BoundGauge
from gateway.metrics.declarations import Declarations
from gateway.metrics.registry import Metrics

EVERY_S = 5
"""As the shipped Prometheus scrapes."""
SCRAPES = 9
FRESH = 1_700_000_000
BUSY = FRESH + 3600
LATER = BUSY + 3600
NOWHERE = FRESH - 3600
"""When no gateway was there."""
SPAN_S = (SCRAPES - 1) * EVERY_S

TENANTS = ("acme", "beta")
MODELS = ("gpt-4o-mini", "llama-*")
PROVIDERS = ("openai", "backup")
ADDRESSES = ("10.0.0.1:8080", "10.0.0.2:8080")
STEP = 10
"""By how much every counter grows from one scrape to the next; nano-dollars in that of the cost."""


class Replica:
    """A gateway's metrics, without the gateway."""

    def __init__(self, address: str, number: int) -> None:
        self._scraped = f'instance="{address}",job="gateway"'
        self._metrics = Metrics(f"replica-{number}", "1.2.3", TENANTS, MODELS, PROVIDERS)
        self.declared: Declarations = self._metrics.declared
        for gauge in self.declared.budgets:
            gauge.labels(TENANTS[0])

    def move(self) -> None:
        """Count something in every series."""
        for family in self.declared.families():
            for cell in family.cells().values():
                if isinstance(family, BoundCounter):
                    cell.value += STEP  # type: ignore[union-attr]
                elif not isinstance(family, BoundGauge):
                    for bound in family.bounds:
                        cell.observe(bound)  # type: ignore[union-attr]

    def spend(self, now_s: int) -> None:
        """Spend of the one budget as the hour passes; it begins again ten minutes after ``now_s``."""
        share = (now_s % 3600) / 3600
        for gauge, value in zip(self.declared.budgets, (share, 500, 500 * share, now_s + 600), strict=True):
            gauge.labels(TENANTS[0]).set(value)

    def scrape(self, at_s: int) -> Iterator[str]:
        """The samples as OpenMetrics lines of a moment, with the labels that the scrape adds."""
        body, _ = self._metrics.render()
        for line in body.decode().splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                yield f"{self.labelled(series)} {value} {at_s}"

    def later(self, at_s: int) -> Iterator[str]:
        """The samples of what the gateway will have one day."""
        count = at_s - LATER
        for name, metric in LATER_METRICS.items():
            yield from (f"{self.labelled(series)} {count} {at_s}" for series in _series(name, metric))

    def labelled(self, series: str) -> str:
        """A series with the labels of the scrape."""
        name, _, labels = series.partition("{")
        return f"{name}{{{self._scraped}{',' if labels else '}'}{labels}"


def _series(name: str, metric: Series) -> list[str]:
    labels = ",".join(f'{label}="{TENANTS[0] if label == "tenant_id" else "some"}"' for label in metric.labels)
    return [f"{name}{{{labels}}}" if labels else name]


def recorded(at_s: int) -> Iterator[str]:
    """What Prometheus makes of it by its rules, and what it says of itself."""
    for slo in ("availability", "ttft"):
        yield f'aigateway_slo:budget_left30d{{slo="{slo}"}} 0.9 {at_s}'
        yield f'aigateway_slo:burn_rate1h{{slo="{slo}"}} 0.5 {at_s}'
    yield f'ALERTS{{alertname="CircuitOpen",alertstate="firing",provider="openai",severity="page"}} 1 {at_s}'


def openmetrics() -> Iterator[str]:
    """All samples, for ``promtool tsdb create-blocks-from openmetrics``."""
    for start_s, later in ((FRESH, False), (BUSY, False), (LATER, True)):
        replicas = [Replica(address, number) for number, address in enumerate(ADDRESSES)]
        for at_s in range(start_s, start_s + SPAN_S + 1, EVERY_S):
            # Prometheus' own process, under the names that the gateway's has
            for name in ("process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"):
                yield f'{name}{{instance="localhost:9090",job="prometheus"}} 1 {at_s}'
            for replica in replicas:
                if start_s != FRESH:
                    replica.spend(at_s)
                yield from replica.scrape(at_s)
                if later:
                    yield from replica.later(at_s)
                replica.move()
            if start_s == FRESH:
                break
            yield from recorded(at_s)
    yield "# EOF"
