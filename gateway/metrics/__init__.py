"""Metrics: what is counted, and how it reaches Prometheus. `Metrics` is the door."""

from gateway.metrics.bundles import ProviderCells, RouteCells, TargetCells
from gateway.metrics.cells import CounterCell, GaugeCell, HistogramCell
from gateway.metrics.registry import Metrics

__all__ = [
    "CounterCell",
    "GaugeCell",
    "HistogramCell",
    "Metrics",
    "ProviderCells",
    "RouteCells",
    "TargetCells",
]
