"""Answers that a later request can continue (`previous_response_id`): whose they are, and who alone knows them."""

from dataclasses import dataclass

from gateway.core.errors import GatewayError
from gateway.proxy.exchange import Attempt, Order

MAX_PINS = 10_000
"""Answers remembered; the oldest leaves first."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Whose an answer is, and where it can be continued."""

    tenant_id: str
    provider: str
    key_index: int


class Pins:
    """Remembers where answers came from."""

    def __init__(self) -> None:
        self._pins: dict[str, Pin] = {}

    def of(self, order: Order) -> Pin | None:
        """Where the answer that the request continues came from; None if it continues none, or one not remembered.

        All tenants share the provider's account, so the provider would continue anybody's answer: one that belongs to
        another tenant does not exist. (One that is not remembered passes: ids of answers cannot be guessed.)

        Raises:
            GatewayError: `invalid_request`.
        """
        pin = self._pins.get(order.view.continues) if order.view.continues is not None else None
        if pin is not None and pin.tenant_id != order.identity.tenant.id:
            raise self.unknown()
        return pin

    def remember(self, response_id: str, tenant_id: str, attempt: Attempt) -> None:
        """An answer that a later request of the tenant may continue: only this target with this key knows it."""
        if len(self._pins) >= MAX_PINS and response_id not in self._pins:
            del self._pins[next(iter(self._pins))]
        self._pins[response_id] = Pin(tenant_id, attempt.target.provider, attempt.key_index)

    @staticmethod
    def unknown() -> GatewayError:
        """The error where an answer cannot be continued."""
        return GatewayError(
            "invalid_request",
            "`previous_response_id` names no answer that this key and this model can continue.",
            param="previous_response_id",
        )
