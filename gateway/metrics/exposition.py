"""The text a scrape gets: stock aioprometheus, with line beginnings written when cells were bound."""

import sys
from collections.abc import Iterator

from aioprometheus.collectors import Collector, Registry
from aioprometheus.formats.text import TextFormatter

from gateway.metrics.collectors import AnyFamily

SLICE_LINES = 2_000
"""Lines written in one go, about 1 ms of work: no relayed chunk waits longer for a scrape."""


class ReadyTextFormatter(TextFormatter):
    """Text format 0.0.4; 10,000 series take about a tenth of the stock formatter's time."""

    def marshall_lines(self, collector: Collector) -> list[str]:
        """All lines of one collector; a collector that is not ours is left to the stock formatter."""
        return [line for block in self._blocks(collector, sys.maxsize) for line in block]

    def slices(self, registry: Registry, lines: int = SLICE_LINES) -> Iterator[bytes]:
        """The exposition in pieces of at most ``lines`` lines, each read when it is asked for.

        Pieces end between series, so every histogram is consistent in itself.
        """
        waiting: list[str] = []
        for collector in sorted(registry.get_all(), key=lambda collector: collector.name):
            for block in self._blocks(collector, lines):
                if waiting and len(waiting) + len(block) > lines:
                    yield "\n".join((*waiting, "")).encode()
                    waiting = []
                waiting += block
        if waiting:
            yield "\n".join((*waiting, "")).encode()

    def _blocks(self, collector: Collector, lines: int) -> Iterator[list[str]]:
        if isinstance(collector, AnyFamily):
            yield from collector.blocks(lines)
        else:
            yield super().marshall_lines(collector)
