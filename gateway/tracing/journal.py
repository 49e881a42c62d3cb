"""Where settled exchanges are told when they are traced: to the access log, and to the spans."""

from gateway.proxy.exchange import Exchange
from gateway.proxy.settlement import Journal
from gateway.tracing.upstreams import Spans


class TracedJournal:
    """Tells one journal, then ends the spans."""

    def __init__(self, journal: Journal, spans: Spans) -> None:
        self._journal = journal
        self._spans = spans

    def write(self, exchange: Exchange, now: float) -> None:
        """Tell of a settled exchange. `now` is a reading of the clock that started it."""
        self._journal.write(exchange, now)
        self._spans.end(exchange, now)
