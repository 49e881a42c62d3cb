"""Pins: whose an answer is and where it can be continued; the oldest is forgotten first."""

import pytest

from gateway.core.errors import GatewayError
from gateway.core.routing import Target
from gateway.proxy.exchange import Order
from gateway.proxy.pins import MAX_PINS, Pin, Pins
from tests.surface.exchanges import admitted, attempt, order_of

ELSEWHERE = attempt(Target("b", "m"), key_index=3)


def continuing(response_id: str | None) -> Order:
    """What tenant acme asks, going on from an answer."""
    document = {"model": "gpt", "input": "x"}
    if response_id is not None:
        document["previous_response_id"] = response_id
    return order_of(admitted("/v1/responses", document))


def test_an_answer_is_continued_where_it_came_from() -> None:
    """The provider and the key that gave it."""
    pins = Pins()
    pins.remember("resp_1", "acme", ELSEWHERE)
    assert pins.of(continuing("resp_1")) == Pin("acme", "b", 3)


def test_what_continues_nothing_known_may_go_anywhere() -> None:
    """A first question, and an answer from before this process."""
    pins = Pins()
    pins.remember("resp_1", "acme", ELSEWHERE)
    assert pins.of(continuing(None)) is None
    assert pins.of(continuing("resp_2")) is None


def test_answers_of_another_tenant_do_not_exist() -> None:
    """The provider would continue them: all tenants share its account."""
    pins = Pins()
    pins.remember("resp_1", "somebody-else", ELSEWHERE)
    with pytest.raises(GatewayError) as caught:
        pins.of(continuing("resp_1"))
    assert (caught.value.status, caught.value.param) == (400, "previous_response_id")


def test_memory_is_bounded() -> None:
    """Of one answer too many the first is forgotten; one that is said twice does not push another out."""
    pins = Pins()
    for number in range(MAX_PINS):
        pins.remember(f"resp_{number}", "acme", ELSEWHERE)
    pins.remember("resp_5", "acme", ELSEWHERE)
    assert pins.of(continuing("resp_0")) is not None
    pins.remember("resp_new", "acme", ELSEWHERE)
    assert pins.of(continuing("resp_0")) is None
    assert all(pins.of(continuing(name)) is not None for name in ("resp_1", "resp_5", "resp_new"))
