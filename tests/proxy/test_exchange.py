"""What one request carries with it: its id, its times, its phase."""

import pytest

from gateway.core.errors import GatewayError
from gateway.proxy.exchange import Phase
from tests.surface.exchanges import NOW_S, TARGET, WALL_S, begun, order_of, tried
from tests.surface.front import ASK, CHAT


@pytest.mark.parametrize("given", ["a", "req_1", "0af7651916cd43dd8448eb211c80319c", "A.b-c_d", "x" * 64])
def test_a_plain_request_id_of_the_client_is_kept(given: str) -> None:
    """So that a client finds its own id in our log."""
    assert begun(headers={"x-request-id": given}).id == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "a;b", 'a"b', "ä", "a/b", "a\x00", "{{1}}"])
def test_any_other_request_id_is_replaced(given: str) -> None:
    """What could break a log line or a header is not used."""
    assert begun(headers={"x-request-id": given}).id == "req_new"


def test_times_come_from_the_injected_clocks() -> None:
    """One reading of each clock starts the exchange; its deadline is counted from the same."""
    exchange = begun()
    assert (exchange.started_at, exchange.deadline, exchange.received_at) == (NOW_S, NOW_S + 60, WALL_S)


def test_phase_follows_the_last_attempt() -> None:
    """Before any attempt, and while one waits for its head, nothing has come."""
    assert begun(CHAT).phase is Phase.BEFORE_HEAD
    assert begun(CHAT).target is None
    exchange = tried(CHAT, ASK)
    assert (exchange.phase, exchange.target) == (Phase.BEFORE_HEAD, TARGET)
    exchange.attempts[-1].phase = Phase.UNARY
    assert exchange.phase is Phase.UNARY


def test_an_error_event_needs_an_operation() -> None:
    """Only an operation streams, and its dialect says what the event looks like."""
    error = GatewayError("stalled", "Silence.")
    assert begun(CHAT).error_event(error).startswith(b'data: {"error":')
    assert begun("/v1/messages").error_event(error).startswith(b"event: error\ndata: ")
    with pytest.raises(ValueError, match="only an operation streams"):
        begun().error_event(error)


def test_an_order_lets_go_of_its_prompt() -> None:
    """A long stream does not hold what it was asked."""
    order = order_of(tried(CHAT, ASK))
    order.drop()
    assert (order.body, order.document) == (b"", {})
