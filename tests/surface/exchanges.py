"""Exchanges without a network: begun, asked for something, tried at a target; for tests of single phases."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from aiohttp.test_utils import make_mocked_request

from gateway.core.breaker import BreakerSettings, CircuitBreaker
from gateway.core.clock import Clock
from gateway.core.pricing import Price
from gateway.core.quota import Crossing, Denied
from gateway.core.routing import Route, Target
from gateway.dialects import OPENAI, OPERATIONS
from gateway.metrics import Metrics
from gateway.proxy.books import Books
from gateway.proxy.exchange import Attempt, Exchange, Opening, Order
from gateway.proxy.grants import Grants
from gateway.proxy.spending import Spending
from gateway.stores.memory import LocalQuotas
from gateway.tenancy.tenants import Identity, Key, Tenant
from gateway.upstream.credentials import KeyPool
from gateway.upstream.gate import Gate
from gateway.upstream.provider import Provider
from gateway.upstream.settings import ProviderSettings
from gateway.upstream.targets import TargetState, Turn
from tests.hand_ledger import HandLedger

NOW_S = 1000.0
WALL_S = 1_800_000_000.25
PRICE = Price(input=Decimal("1"), output=Decimal("2"))
TARGET = Target("one", "gpt-4o-mini-2024-07-18", price=PRICE)
ACME = Identity(Tenant("acme"), Key("web"))

OPENING = Opening(clock=lambda: NOW_S, wall_clock=lambda: WALL_S, new_serial=lambda: "new", deadline_s=60)


class HandProvider:
    """Stands for a provider that nobody talks to: it has settings and keys, and no connections."""

    def __init__(self, name: str, clock: Clock, keys: Sequence[str] = ("sk-1",), **settings: Any) -> None:
        self.name = name
        self.settings = ProviderSettings.model_validate(
            {"dialect": "openai", "base_url": "http://127.0.0.1:1/v1", "api_keys": list(keys), **settings}
        )
        self.keys = KeyPool(keys, clock)


def hand_provider(name: str, clock: Clock, keys: Sequence[str] = ("sk-1",), **settings: Any) -> Provider:
    """The same, where a real one is wanted."""
    return cast(Provider, HandProvider(name, clock, keys, **settings))


def turn(provider: str = "one") -> Turn:
    """A turn at a target of which nothing is known yet."""
    clock = OPENING.clock
    breaker = CircuitBreaker(BreakerSettings(), clock, lambda: 0.0, lambda _: None)
    state = TargetState(hand_provider(provider, clock), Gate(1, 0, 1.0, provider), breaker, clock)
    taken = state.take_turn(60)
    assert isinstance(taken, Turn)
    return taken


def attempt(target: Target = TARGET, **fields: Any) -> Attempt:
    """A try at a target, begun now."""
    return Attempt(target, NOW_S, turn(target.provider), **fields)


class HandSpending:
    """Notes what it is told of budgets.

    Attributes:
        crossed, denied, changed: all of it, in order.
    """

    def __init__(self) -> None:
        self.crossed: list[Crossing] = []
        self.denied: list[Denied] = []
        self.changed: list[str] = []

    def on_crossed(self, crossing: Crossing) -> None:
        self.crossed.append(crossing)

    def on_denied(self, denied: Denied) -> None:
        self.denied.append(denied)

    def touched(self, tenant_id: str) -> None:
        self.changed.append(tenant_id)


def hand_spending(notes: HandSpending | None = None) -> Spending:
    """The same, where a real one is wanted."""
    return cast(Spending, notes or HandSpending())


def no_limits(metrics: Metrics) -> Grants:
    """Grants that nobody asks for."""
    quotas = LocalQuotas(lambda: NOW_S, lambda: NOW_S)
    return Grants(quotas, metrics, hand_spending(), asyncio.ensure_future)


def books_of(metrics: Metrics, ledger: HandLedger | None = None, grants: Grants | None = None) -> Books:
    """Books on a ledger in memory."""
    clock, wall_clock = OPENING.clock, OPENING.wall_clock
    return Books(ledger or HandLedger(), grants or no_limits(metrics), "instance", clock, wall_clock)


def begun(path: str | None = None, headers: Mapping[str, str] | None = None) -> Exchange:
    """An exchange at its beginning; without a path it belongs to no operation."""
    operation = next(operation for operation in OPERATIONS if operation.path == path) if path else None
    dialect = operation.dialect if operation is not None else OPENAI
    return OPENING.begin(make_mocked_request("POST", path or "/", headers=headers), dialect, operation)


def admitted(
    path: str, document: Mapping[str, Any], *, label: str = "gpt-4o-mini", target: Target = TARGET
) -> Exchange:
    """An exchange of tenant acme that has an order."""
    exchange = begun(path)
    operation = exchange.operation
    assert operation is not None
    view = operation.view(document)
    route = Route(view.model, label, (target,), None, None, operation.dialect.name)
    exchange.identity, exchange.asked, exchange.label = ACME, view.model, label
    exchange.order = Order(operation, ACME, view, route, b"{}", document)
    return exchange


def tried(path: str, document: Mapping[str, Any], **options: Any) -> Exchange:
    """An admitted exchange with one attempt at its target."""
    exchange = admitted(path, document, **options)
    assert exchange.order is not None
    exchange.attempts.append(attempt(exchange.order.route.targets[0]))
    return exchange


def order_of(exchange: Exchange) -> Order:
    assert exchange.order is not None
    return exchange.order
