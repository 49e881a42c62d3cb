"""What an exchange takes of its tenant's limits: asked for at admission, kept while it runs, settled at its end."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from gateway.core.hold import token_estimate
from gateway.core.quota import Ask, Denied, Limit, Quotas
from gateway.metrics import Metrics
from gateway.proxy.exchange import Exchange, Order
from gateway.tenancy.refusals import refusal

HEARTBEAT_S = 10.0
"""How often running exchanges renew their leases, which last three times as long."""


class Grants:
    """Takes and gives back.

    Args:
        start: starts a task and keeps it.
    """

    def __init__(self, quotas: Quotas, metrics: Metrics, start: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._quotas = quotas
        self._metrics = metrics
        self._start = start

    async def take(self, exchange: Exchange, order: Order) -> None:
        """Take what the exchange asks for from every scope that it belongs to.

        Raises:
            GatewayError: `rate_limited` or `too_busy`; nothing has been taken.
        """
        identity, view, route = order.identity, order.view, order.route
        scopes = identity.tenant.entitlement.scopes(identity.key.id, route.label)
        if not scopes:
            return
        tokens = 0
        if order.operation.priced:
            choices = view.choices if order.operation.generates else 0
            tokens = token_estimate(view.prompt_tokens, choices, view.max_output, route.max_output)
        told = await self._quotas.admit(Ask(exchange.serial, identity.tenant.id, scopes, tokens, 0))
        if isinstance(told, Denied):
            self._count(identity.tenant.id, told.limit)
            raise refusal(told)
        exchange.grant = told

    def settle(self, exchange: Exchange) -> None:
        """Correct the estimate to what was used and free the slot; what reached no provider costs nothing at all."""
        grant = exchange.grant
        if grant is None:
            return
        if exchange.attempts:
            used = exchange.usage.input_total + exchange.usage.output
            self._start(self._settle(exchange, used))
        else:
            self._start(self._quotas.withdraw(grant))

    async def _settle(self, exchange: Exchange, tokens: int) -> None:
        if exchange.grant is not None:
            await self._quotas.settle(exchange.grant, tokens, exchange.cost_nanousd)

    def renew(self, exchanges: Iterable[Exchange]) -> None:
        """Keep the leases of what runs."""
        grants = [exchange.grant for exchange in exchanges if exchange.grant is not None]
        if grants:
            self._start(self._quotas.renew(grants))

    def _count(self, tenant_id: str, limit: Limit) -> None:
        tenant = self._metrics.tenant_label(tenant_id)
        self._metrics.declared.rate_limit_hits.labels(tenant).inc()
        self._metrics.declared.limit_rejections.labels(tenant, limit).inc()
