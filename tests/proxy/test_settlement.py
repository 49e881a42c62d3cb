"""Settlement: what is booked of each ending, in cells and in the log, exactly once."""

import io
import json
from typing import Any

import pytest

from gateway.core.outcome import CONSEQUENCES, Billing, Outcome
from gateway.core.routing import Target
from gateway.metrics import Metrics
from gateway.metrics.declarations import PROVIDER_ERRORS
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.exchange import Attempt, Exchange
from gateway.proxy.settlement import Settlement
from tests.metrics.text_format import Exposition, read_exposition
from tests.surface.exchanges import NOW_S, admitted, attempt, begun, books_of, order_of, tried
from tests.surface.front import ASK, CHAT

ANSWER: dict[str, Any] = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}}
COST_NANOUSD = 100 * 1_000 + 10 * 2_000
LABELS = {"tenant_id": "acme", "provider": "one", "model": "gpt-4o-mini"}


class Booked:
    """A settlement with nothing behind it, and what it wrote down."""

    def __init__(self) -> None:
        self.remembered: list[tuple[str, str, Attempt]] = []
        self._out = io.StringIO()
        self._log = AccessLog(self._out)
        self._metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one", "two"])
        self.books = books_of(self._metrics)
        remember = lambda *told: self.remembered.append(told)  # noqa: E731
        self.settlement = Settlement(self._metrics, self._log, self.books, remember, lambda: NOW_S + 2)

    def settle(self, exchange: Exchange) -> None:
        self.settlement.settle(exchange)

    @property
    def scrape(self) -> Exposition:
        return read_exposition(self._metrics.render()[0])

    @property
    def lines(self) -> list[dict[str, Any]]:
        self._log.flush()
        return [json.loads(line) for line in self._out.getvalue().splitlines()]


def failed(outcome: Outcome) -> Attempt:
    ended = attempt()
    ended.end(outcome, NOW_S + 1)
    return ended


def answered(outcome: Outcome = Outcome.SUCCESS) -> Exchange:
    exchange = tried(CHAT, ASK)
    exchange.answer, exchange.outcome = ANSWER, outcome
    return exchange


async def test_success_is_booked() -> None:
    """Tokens, cost and time, under the tenant, the provider and the configured name."""
    booked = Booked()
    booked.settle(answered())
    scrape = booked.scrape
    assert scrape.value("aigateway_requests_total", **LABELS, status="success") == 1
    assert scrape.value("aigateway_tokens_total", **LABELS, type="input") == 100
    assert scrape.value("aigateway_tokens_total", **LABELS, type="output") == 10
    assert scrape.value("aigateway_cost_usd_total", **LABELS) * 10**9 == COST_NANOUSD
    assert scrape.value("aigateway_request_duration_seconds_sum", **LABELS) == 2
    assert scrape.value("aigateway_attempts_total", provider="one", result="success") == 1
    assert [line["cost_nanousd"] for line in booked.lines] == [COST_NANOUSD]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.HEDGE_LOST])
async def test_only_what_the_table_bills_is_billed(outcome: Outcome) -> None:
    """The column "Billed" of the one table of consequences decides for every ending."""
    booked = Booked()
    booked.settle(answered(outcome))
    billed = CONSEQUENCES[outcome].billing is not Billing.NOTHING
    assert booked.lines[0]["cost_nanousd"] == (COST_NANOUSD if billed else 0)
    scrape = booked.scrape
    assert scrape.value("aigateway_requests_total", **LABELS, status=outcome) == 1
    errors = scrape.series("aigateway_provider_errors_total")
    counted = {
        labels["error_type"]: scrape.value("aigateway_provider_errors_total", **labels)
        for labels in errors
        if labels["provider"] == "one"
    }
    assert sum(counted.values()) == (outcome in PROVIDER_ERRORS)
    assert counted.get(outcome, 0) == (outcome in PROVIDER_ERRORS)
    assert scrape.value("aigateway_stalls_total", provider="one") == (outcome is Outcome.STALLED)


async def test_exchange_without_an_ending_is_internal() -> None:
    """Whatever slipped through every `except` is counted as ours."""
    booked = Booked()
    booked.settle(begun(CHAT))
    assert booked.lines[0]["outcome"] == "internal"


async def test_every_attempt_is_booked_with_its_own_ending() -> None:
    """Two failures and a success: three attempts, two provider errors, one price: that of who served."""
    booked = Booked()
    exchange = answered()
    exchange.attempts = [
        failed(Outcome.CONNECT_FAILED),
        failed(Outcome.PROVIDER_ERROR),
        *exchange.attempts,
    ]
    booked.settle(exchange)
    scrape = booked.scrape
    for result in ("connect_failed", "provider_error", "success"):
        assert scrape.value("aigateway_attempts_total", provider="one", result=result) == 1
    assert scrape.value("aigateway_provider_errors_total", provider="one", error_type="connect_failed") == 1
    assert booked.lines[0]["attempts"] == 3
    assert booked.lines[0]["cost_nanousd"] == COST_NANOUSD


async def test_attempts_that_have_not_ended_end_as_the_exchange() -> None:
    """Those that have, keep their ending; every place is free, and the circuits have heard."""
    booked = Booked()
    exchange = answered(Outcome.CLIENT_CLOSED)
    exchange.attempts = [failed(Outcome.STALLED), attempt(), attempt(Target("two", "m"))]
    booked.settle(exchange)
    assert [tried.outcome for tried in exchange.attempts] == ["stalled", "client_closed", "client_closed"]
    assert [tried.ended_at for tried in exchange.attempts] == [NOW_S + 1, NOW_S + 2, NOW_S + 2]
    assert [tried.turn.state.in_flight for tried in exchange.attempts] == [0, 0, 0]
    assert [tried.turn.state.breaker.snapshot().failures for tried in exchange.attempts] == [1, 0, 0]
    assert booked.scrape.value("aigateway_attempts_total", provider="two", result="client_closed") == 1


async def test_what_a_client_s_haste_ends_is_no_error_of_the_provider() -> None:
    """The attempt is counted with its ending, the provider is not blamed; one that had its time is."""
    booked = Booked()
    exchange = answered(Outcome.DEADLINE_EXCEEDED)
    exchange.attempts = [attempt(patience_s=60.0), attempt(Target("two", "m"), patience_s=1.0)]
    booked.settle(exchange)
    for provider, errors in (("one", 0), ("two", 1)):
        labels = {"provider": provider, "error_type": "deadline_exceeded"}
        assert booked.scrape.value("aigateway_provider_errors_total", **labels) == errors
        assert booked.scrape.value("aigateway_attempts_total", provider=provider, result="deadline_exceeded") == 1


async def test_who_served_is_booked_and_not_who_was_asked_last() -> None:
    """The request and its cost are of the provider that the answer came from; the other attempt has lost a hedge."""
    booked = Booked()
    exchange = answered()
    lost = attempt(Target("two", "m"))
    lost.end(Outcome.HEDGE_LOST, NOW_S + 1)
    exchange.served = exchange.attempts[0]
    exchange.attempts.append(lost)
    booked.settle(exchange)
    scrape = booked.scrape
    assert scrape.value("aigateway_requests_total", **LABELS, status="success") == 1
    assert scrape.value("aigateway_cost_usd_total", **LABELS) * 10**9 == COST_NANOUSD
    assert scrape.value("aigateway_attempts_total", provider="two", result="hedge_lost") == 1
    assert booked.lines[0]["provider"] == "one"


async def test_tokens_already_counted_are_not_counted_again() -> None:
    """What the running counter has of a stream is taken off; what it has too much is owed, and no counter falls."""
    booked = Booked()
    for flushed, counted in ((4, 6), (14, 6), (0, 12)):
        exchange = answered()
        exchange.flushed_tokens = flushed
        booked.settle(exchange)
        assert booked.scrape.value("aigateway_tokens_total", **LABELS, type="output") == counted


async def test_refused_request_is_booked_without_a_provider() -> None:
    """An exchange that admission refused has a tenant and a model, and no provider."""
    booked = Booked()
    exchange = admitted(CHAT, ASK)
    exchange.outcome = Outcome.FORBIDDEN_MODEL
    booked.settle(exchange)
    labels = {**LABELS, "provider": "none", "status": "forbidden_model"}
    assert booked.scrape.value("aigateway_requests_total", **labels) == 1
    assert booked.lines[0]["provider"] is None


@pytest.mark.parametrize("asked", ['a"} 1\nforged 1', "x" * 500, "gpt-4o-mini-2"])
async def test_label_is_never_what_a_client_asked(asked: str) -> None:
    """A name that no configuration has is `other`."""
    booked = Booked()
    exchange = admitted(CHAT, ASK)
    exchange.asked, exchange.label, exchange.outcome = asked, None, Outcome.INVALID_REQUEST
    booked.settle(exchange)
    labels = {**LABELS, "provider": "none", "model": "other", "status": "invalid_request"}
    assert booked.scrape.value("aigateway_requests_total", **labels) == 1


async def test_client_that_left_is_counted_by_phase() -> None:
    """What it was waiting for."""
    booked = Booked()
    exchange = tried(CHAT, ASK)
    exchange.outcome = Outcome.CLIENT_CLOSED
    booked.settle(exchange)
    assert booked.scrape.value("aigateway_client_disconnects_total", phase="before_head") == 1


async def test_answer_that_can_be_continued_is_remembered() -> None:
    """With the attempt that gave it: only that target with that key knows it."""
    booked = Booked()
    exchange = tried("/v1/responses", {"model": "gpt-4o-mini", "input": "Hello"})
    exchange.served = exchange.attempts[0]
    exchange.answer = {"id": "resp_7", "usage": {"input_tokens": 1, "output_tokens": 2}}
    exchange.outcome = Outcome.SUCCESS
    booked.settle(exchange)
    assert booked.remembered == [("resp_7", "acme", exchange.attempts[0])]


async def test_counting_tokens_is_free() -> None:
    """An operation that costs nothing is booked without tokens."""
    booked = Booked()
    exchange = tried("/v1/messages/count_tokens", {"model": "gpt-4o-mini", "messages": [{"role": "user"}]})
    exchange.answer, exchange.outcome = {"input_tokens": 9}, Outcome.SUCCESS
    assert not order_of(exchange).operation.priced
    booked.settle(exchange)
    assert (booked.lines[0]["input_tokens"], booked.lines[0]["cost_nanousd"]) == (0, 0)
