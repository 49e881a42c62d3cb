"""Phase 2, dispatch: from a route to an answer whose first content is here; or the next candidate."""

from dataclasses import dataclass

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES
from gateway.proxy.answers import StreamAnswer, WholeAnswer
from gateway.proxy.downstream import downstream_of
from gateway.proxy.exchange import Attempt, Exchange, Order
from gateway.proxy.upstreams import Upstreams

MAX_PINS = 10_000
"""Answers that can be continued (`previous_response_id`) whose target and key are remembered."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Whose an answer is, and where it can be continued."""

    tenant_id: str
    provider: str
    key_index: int


class Dispatch:
    """Finds a target that answers.

    Args:
        spliced: the self-check passed, so clients can be written to directly.
    """

    def __init__(self, upstreams: Upstreams, *, spliced: bool, clock: Clock) -> None:
        self._upstreams = upstreams
        self._spliced = spliced
        self._clock = clock
        self._pins: dict[str, Pin] = {}

    async def open(self, exchange: Exchange, order: Order) -> StreamAnswer | WholeAnswer:
        """Try the route's targets in order until one has content.

        A request that continues an earlier answer goes where that answer came from, and nowhere else.

        Raises:
            GatewayError: none did; the last failure.
        """
        if order.view.stream:
            exchange.downstream = downstream_of(exchange.request, spliced=self._spliced)
        pin = self._pin(order)
        targets = [target for target in order.route.targets if pin is None or target.provider == pin.provider]
        if not targets:
            raise _unknown_answer()
        while True:
            attempt = Attempt(targets.pop(0), self._clock())
            exchange.attempts.append(attempt)
            try:
                answer = await self._upstreams.ask(exchange, order, attempt, pin.key_index if pin else None)
            except GatewayError as error:
                attempt.outcome = error.outcome
                may_move_on = CONSEQUENCES[error.outcome].may_move_on and order.view.continues is None
                if not (targets and may_move_on and self._clock() < exchange.deadline):
                    raise
            else:
                order.drop()
                return answer

    def _pin(self, order: Order) -> Pin | None:
        """Where the answer that the request continues came from; None if it continues none, or one not remembered.

        All tenants share the provider's account, so the provider would continue anybody's answer: one that belongs to
        another tenant does not exist. (One that is not remembered passes: ids of answers cannot be guessed.)
        """
        pin = self._pins.get(order.view.continues) if order.view.continues is not None else None
        if pin is not None and pin.tenant_id != order.identity.tenant.id:
            raise _unknown_answer()
        return pin

    def remember(self, response_id: str, tenant_id: str, attempt: Attempt) -> None:
        """An answer that a later request of the tenant may continue: only this target with this key knows it."""
        if len(self._pins) >= MAX_PINS:
            del self._pins[next(iter(self._pins))]
        self._pins[response_id] = Pin(tenant_id, attempt.target.provider, attempt.key_index)


def _unknown_answer() -> GatewayError:
    return GatewayError(
        "invalid_request",
        "`previous_response_id` names no answer that this key and this model can continue.",
        param="previous_response_id",
    )
