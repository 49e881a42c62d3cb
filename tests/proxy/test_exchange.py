"""What one request carries with it: its id, its times, its phase."""

import pytest

from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome, Verdict
from gateway.core.routing import Target
from gateway.proxy.exchange import Attempt, Phase
from tests.surface.exchanges import NOW_S, TARGET, WALL_S, attempt, begun, order_of, tried
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


def test_who_served_is_who_is_named() -> None:
    """Where another attempt was begun after it: that one has lost."""
    exchange = tried(CHAT, ASK)
    exchange.attempts[0].phase = Phase.UNARY
    exchange.attempts.append(attempt(Target("two", "m")))
    assert (exchange.target, exchange.phase) == (Target("two", "m"), Phase.BEFORE_HEAD)
    exchange.served = exchange.attempts[0]
    assert (exchange.target, exchange.phase) == (TARGET, Phase.UNARY)


def heard(ended: Attempt) -> tuple[int, int]:
    """Successes and failures that the circuit knows of."""
    snapshot = ended.turn.state.breaker.snapshot()
    return snapshot.successes, snapshot.failures


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.DEADLINE_EXCEEDED}))
def test_an_attempt_ends_once(outcome: Outcome) -> None:
    """The first word counts: the place is free, and the circuit has heard what the table says."""
    ended = attempt()
    for number, word in enumerate((outcome, Outcome.PROVIDER_ERROR, Outcome.SUCCESS)):
        ended.end(word, NOW_S + number)
    assert (ended.outcome, ended.ended_at, ended.turn.state.in_flight) == (outcome, NOW_S, 0)
    verdict = CONSEQUENCES[outcome].verdict
    assert heard(ended) == (verdict is Verdict.SUCCESS, verdict is Verdict.FAILURE)


@pytest.mark.parametrize(
    ("phase", "waited_s", "failures"),
    [
        (Phase.BEFORE_HEAD, 29.9, 0),
        (Phase.BEFORE_HEAD, 30.0, 1),
        (Phase.BEFORE_CONTENT, 59.0, 1),
        (Phase.UNARY, 29.9, 0),
        (Phase.UNARY, 60.0, 1),
        (Phase.STREAMING, 600.0, 0),
    ],
)
def test_a_deadline_is_the_target_s_fault_where_it_had_its_time(phase: Phase, waited_s: float, failures: int) -> None:
    """At least half of what it is entitled to; and a long stream is no slow one."""
    ended = attempt(patience_s=60.0, phase=phase)
    ended.end(Outcome.DEADLINE_EXCEEDED, NOW_S + waited_s)
    assert heard(ended) == (0, failures)
    assert ended.excused == (not failures)
    assert ended.turn.state.in_flight == 0


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
