"""What the dashboards may ask for: the metrics that the gateway declares, and those that it will declare."""

from dataclasses import dataclass

from aioprometheus.collectors import Registry

from gateway.metrics.declarations import Declarations
from gateway.metrics.process import ProcessMetrics

PREFIX = "aigateway_"


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: its type (``counter``, ``gauge``, ``histogram``) and the labels that the gateway gives it."""

    kind: str
    labels: tuple[str, ...] = ()


LATER: dict[str, Series] = {
    "aigateway_cache_hits_total": Series("counter", ("tenant_id",)),
    "aigateway_cache_misses_total": Series("counter", ("tenant_id",)),
    "aigateway_cache_entries": Series("gauge"),
    "aigateway_cache_bytes": Series("gauge"),
    "aigateway_cache_evictions_total": Series("counter", ("reason",)),
    "aigateway_cache_followers_total": Series("counter"),
}
"""Metrics of the design that no code declares yet; a test takes each off the list when it is declared."""


def declared() -> dict[str, Series]:
    """The metrics of the gateway's own code, by name."""
    families = [*Declarations(Registry()).families(), *ProcessMetrics(Registry()).families()]
    return {family.name: Series(family.kind.name, family.label_names) for family in families}


def known() -> dict[str, Series]:
    """Every metric that a panel may use, by name; what the code declares overrules what it was expected to be."""
    return {**LATER, **declared()}
