"""Settled exchanges are told twice, in order."""

from gateway.proxy.exchange import Exchange
from gateway.tracing.journal import TracedJournal
from tests.surface.exchanges import begun
from tests.tracing.notes import Notes


def test_the_log_hears_of_it_first() -> None:
    """Then its spans end, with the same time."""
    notes = Notes()
    exchange: Exchange = begun("/v1/chat/completions")
    TracedJournal(notes, notes).write(exchange, 7.0)
    assert notes.told == [("write", exchange, 7.0), ("end", exchange, 7.0)]
