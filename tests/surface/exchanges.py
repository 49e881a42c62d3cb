"""Exchanges without a network: begun, asked for something, tried at a target; for tests of single phases."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aiohttp.test_utils import make_mocked_request

from gateway.core.pricing import Price
from gateway.core.routing import Route, Target
from gateway.dialects import OPENAI, OPERATIONS
from gateway.proxy.exchange import Attempt, Exchange, Opening, Order
from gateway.tenancy.tenants import Identity, Key, Tenant

NOW_S = 1000.0
WALL_S = 1_800_000_000.25
PRICE = Price(input=Decimal("1"), output=Decimal("2"))
TARGET = Target("one", "gpt-4o-mini-2024-07-18", price=PRICE)
ACME = Identity(Tenant("acme"), Key("web"))

OPENING = Opening(clock=lambda: NOW_S, wall_clock=lambda: WALL_S, new_id=lambda: "req_new", deadline_s=60)


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
    exchange.attempts.append(Attempt(exchange.order.route.targets[0], NOW_S))
    return exchange


def order_of(exchange: Exchange) -> Order:
    assert exchange.order is not None
    return exchange.order
