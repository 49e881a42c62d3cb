"""Events as both providers frame them."""

from gateway.core.sse import parse_event
from gateway.simulator.rendering import data_event, named_event


def test_events_end_with_an_empty_line() -> None:
    """An unnamed event is its data; a named one carries its type twice."""
    assert data_event(b"[DONE]") == b"data: [DONE]\n\n"
    event = named_event({"type": "ping", "text": "two\nlines — é"})
    assert event.endswith(b"\n\n")
    parsed = parse_event(event)
    assert parsed.name == b"ping"
    assert parsed.data == '{"type":"ping","text":"two\\nlines — é"}'.encode()
