"""What an exchange takes of its tenant's limits and budgets: asked for at admission, kept while it runs, settled at its
end."""

import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.hold import Steps, output_bound, token_estimate
from gateway.core.quota import Ask, Denied, Limit, Quotas, QuotasUnavailable, Scope
from gateway.dialects.operation import MAX_OUTPUT_TOKENS
from gateway.metrics import Metrics
from gateway.proxy.exchange import Exchange, Holding, Order
from gateway.proxy.spending import Spending
from gateway.tenancy.quotas import may_cut
from gateway.tenancy.refusals import refusal
from gateway.upstream.stream import UpstreamStream

HEARTBEAT_S = 10.0
"""How often running exchanges renew their leases, which last three times as long."""

RETRY_AFTER_S = 1.0
"""How soon whoever was refused for want of a store may try again: a store that is back is known within this."""

ALL = 1 << 62
"""Tokens of an answer for which everything is held that it can cost."""

log = logging.getLogger("gateway")


class Grants:
    """Takes and gives back.

    Args:
        spending: told of every refusal, and of what settlements do to budgets.
        start: starts a task and keeps it.
    """

    def __init__(
        self,
        quotas: Quotas,
        metrics: Metrics,
        spending: Spending,
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._quotas = quotas
        self._metrics = metrics
        self._spending = spending
        self._start = start

    async def take(self, exchange: Exchange, order: Order) -> None:
        """Take what the exchange asks for from every scope that it belongs to.

        Raises:
            GatewayError: `rate_limited`, `too_busy`, `over_budget`, or `overloaded` where nobody knows what has been
                spent; nothing has been taken.
        """
        identity = order.identity
        scopes = identity.tenant.entitlement.scopes(identity.key.id, order.route.label)
        if not scopes:
            return
        ask, holding = _asked(exchange, order, scopes)
        try:
            told = await self._quotas.admit(ask)
        except QuotasUnavailable as trouble:
            log.warning("request %s was refused: %s", exchange.id, trouble)
            raise GatewayError(
                "overloaded",
                "What may still be spent cannot be found out at the moment, so nothing is. Try again shortly.",
                retry_after_s=RETRY_AFTER_S,
            ) from None
        if isinstance(told, Denied):
            self._count(identity.tenant.id, told.limit)
            self._spending.on_denied(told)
            raise refusal(told)
        exchange.holding = holding(told)

    def allow(self, exchange: Exchange, stream: UpstreamStream) -> None:
        """Let a stream relay what is paid for, and ask for more where its hold is taken in steps."""
        holding = exchange.holding
        if holding is not None and holding.steps is not None:
            stream.allow(holding.covered_tokens, partial(self._top_up, holding, holding.steps))

    async def _top_up(self, holding: Holding, steps: Steps) -> int | None:
        """Hold the next step; returns the output that is paid for then, or None where the budget has no more."""
        step = steps.after(holding.covered_tokens)
        if step is None:
            return ALL
        try:
            granted = await self._quotas.top_up(holding.grant, step.nanousd)
        except QuotasUnavailable as trouble:
            log.warning("a stream is cut off, as its next step cannot be held: %s", trouble)
            return None
        if not granted:
            return None
        holding.covered_tokens = step.output_tokens
        return step.output_tokens

    async def settle(self, exchange: Exchange) -> None:
        """Put what was used in the place of what was held, and free the slot. Again: no effect.

        What reached no provider costs nothing at all.
        """
        holding = exchange.holding
        if holding is None or holding.is_settled:
            return
        if not exchange.attempts:
            await self._quotas.withdraw(holding.grant)
        else:
            used = exchange.usage.input_total + exchange.usage.output
            settled = await self._quotas.settle(holding.grant, used, exchange.cost_nanousd)
            if holding.nanousd is not None:
                self._spending.touched(holding.grant.tenant_id)
            for crossing in settled.crossed:
                self._spending.on_crossed(crossing)
        holding.is_settled = True

    def renew(self, exchanges: Iterable[Exchange]) -> None:
        """Keep the leases of what runs."""
        grants = [e.holding.grant for e in exchanges if e.holding is not None and not e.holding.is_settled]
        if grants:
            self._start(self._quotas.renew(grants))

    def _count(self, tenant_id: str, limit: Limit) -> None:
        tenant = self._metrics.tenant_label(tenant_id)
        if limit is not Limit.BUDGET:
            self._metrics.declared.rate_limit_hits.labels(tenant).inc()
        self._metrics.declared.limit_rejections.labels(tenant, limit).inc()


def _asked(exchange: Exchange, order: Order, scopes: tuple[Scope, ...]) -> tuple[Ask, Callable[..., Holding]]:
    """What an exchange has to be granted, and what it holds then."""
    tenant_id, view, route = order.identity.tenant.id, order.view, order.route
    if not order.operation.priced:
        return Ask(exchange.serial, tenant_id, scopes, 0, 0), Holding
    choices = view.choices if order.operation.generates else 0
    tokens = token_estimate(view.prompt_tokens, choices, view.max_output, route.max_output)
    if all(scope.budget is None for scope in scopes):
        return Ask(exchange.serial, tenant_id, scopes, tokens, 0), Holding
    most = output_bound(choices, view.max_output, route.max_output)
    if not view.stream or not may_cut(scopes):
        hold = route.ceiling.nanousd(view.prompt_tokens, most)
        return Ask(exchange.serial, tenant_id, scopes, tokens, hold), partial(Holding, nanousd=hold)
    if not _is_bounded(order):
        most = choices * MAX_OUTPUT_TOKENS
    steps = Steps(route.ceiling, view.prompt_tokens, most)
    first = steps.first
    ask = Ask(exchange.serial, tenant_id, scopes, tokens, first.nanousd)
    if first.output_tokens >= most:
        return ask, partial(Holding, nanousd=first.nanousd)
    return ask, partial(Holding, nanousd=first.nanousd, steps=steps, covered_tokens=first.output_tokens)


def _is_bounded(order: Order) -> bool:
    """Whether the provider is told how much it may write; if not, a stream asks for steps as long as it goes on."""
    told = order.route.max_output is not None and order.operation.output_limit is not None
    return order.view.max_output is not None or told
