"""The ledger as the line uses it: a row before the first provider is asked, the account before the closing event."""

import asyncio
import logging

from gateway.core.clock import Clock, WallClock
from gateway.core.errors import GatewayError
from gateway.core.ledger import AttemptRow, Closing, LedgerUnavailable, Opening
from gateway.core.outcome import CONSEQUENCES, Billing, Outcome
from gateway.core.pricing import cost_nanousd
from gateway.core.routing import Target
from gateway.core.tokens import Source, Usage, estimate_output
from gateway.proxy.exchange import Attempt, Entry, Exchange, Order
from gateway.proxy.grants import RETRY_AFTER_S, Grants
from gateway.stores.sql.ledger import Ledger

log = logging.getLogger("gateway")

_UNWRITTEN = "Spending cannot be written down at the moment, so none is allowed. Try again shortly."


class Books:
    """Writes down what every paid exchange costs, and gives back what it has not used.

    Args:
        instance_id: of this process, new at each start.
    """

    def __init__(self, ledger: Ledger, grants: Grants, instance_id: str, clock: Clock, wall_clock: WallClock) -> None:
        self._ledger = ledger
        self._grants = grants
        self._instance_id = instance_id
        self._clock = clock
        self._wall_clock = wall_clock
        self._ending: set[asyncio.Task[None]] = set()

    def check(self) -> None:
        """Say whether spending can be written down now.

        Raises:
            GatewayError: `overloaded`.
        """
        if not self._ledger.accepting:
            raise _unavailable()

    def open(self, exchange: Exchange, order: Order, target: Target) -> None:
        """Write down that an exchange is about to ask its first target; nothing waits for it here."""
        if not order.operation.priced:
            return
        holding = exchange.holding
        opening = Opening(
            exchange_id=exchange.serial,
            request_id=exchange.id,
            tenant_id=order.identity.tenant.id,
            key_id=order.identity.key.id,
            operation=order.operation.name,
            stream=order.view.stream,
            model_asked=order.view.model,
            instance_id=self._instance_id,
            # not when it came: its cost counts in the period in which it was admitted, or in the next
            opened_at_us=int(self._wall_clock() * 1_000_000),
            tags=exchange.tags,
            input_estimate_tokens=order.view.prompt_tokens,
            hold_nanousd=(holding.nanousd if holding is not None else None) or 0,
            price=target.price_text,
        )
        exchange.entry = Entry(opening, self._ledger.open(opening))

    async def opened(self, exchange: Exchange) -> None:
        """Wait until the opening is committed: no content may leave before.

        Raises:
            GatewayError: `overloaded`, where it cannot be.
        """
        entry = exchange.entry
        if entry is None or (entry.opened.done and entry.opened.error is None):
            return
        try:
            await entry.opened
        except LedgerUnavailable:
            raise _unavailable() from None

    def progress(self, exchange: Exchange) -> None:
        """Note how much of a stream has been relayed, in case this process dies."""
        if exchange.entry is not None and exchange.stream is not None:
            stream = exchange.stream
            self._ledger.progress(exchange.serial, estimate_output(stream.events, stream.text_bytes))

    async def close(self, exchange: Exchange) -> None:
        """Give back what was not used, write down the whole account, and wait for its commit, shortly.

        Its usage and cost are known. Whoever is cancelled here calls :meth:`end`, which does the rest.
        """
        await self._book(exchange)
        if exchange.entry is not None and exchange.entry.closed is not None:
            await self._ledger.in_time(exchange.entry.closed)

    def end(self, exchange: Exchange) -> None:
        """Do what is left of :meth:`close`, in the background."""
        holding, entry = exchange.holding, exchange.entry
        if (holding is None or holding.is_settled) and (entry is None or entry.closed is not None):
            return
        task = asyncio.get_running_loop().create_task(self._book(exchange))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def flushed(self) -> None:
        """Wait until all that has ended is settled and on its way into the ledger."""
        while self._ending:
            await asyncio.wait(self._ending)

    async def _book(self, exchange: Exchange) -> None:
        """Settle it, and have its account written down. Again: no effect."""
        try:
            await self._grants.settle(exchange)
        except Exception:
            log.exception("request %s could not be settled; the ledger has what it cost", exchange.id)
        entry = exchange.entry
        if entry is not None and entry.closed is None:
            # behind the budgets: a budget that is rebuilt in between counts the hold, not the cost twice
            entry.closed = self._ledger.close(self._closing(exchange, entry.opening))

    def _closing(self, exchange: Exchange, opening: Opening) -> Closing:
        ahead_s = self._wall_clock() - self._clock()

        def unix_us(at: float) -> int:
            return int((at + ahead_s) * 1_000_000)

        served, stream = exchange.served, exchange.stream
        first_at = stream.first_at if stream is not None else None
        return Closing(
            opening,
            outcome=exchange.outcome or Outcome.INTERNAL,
            status=exchange.status,
            ended_at_us=unix_us(self._clock()),
            provider=served.target.provider if served is not None else None,
            model_served=served.target.model if served is not None else None,
            usage=exchange.usage,
            cost_nanousd=exchange.cost_nanousd,
            ttft_ms=None if first_at is None else round((first_at - exchange.started_at) * 1000, 3),
            attempts=tuple(
                AttemptRow(
                    exchange_id=exchange.serial,
                    number=number,
                    provider=attempt.target.provider,
                    model=attempt.target.model,
                    outcome=attempt.outcome or Outcome.INTERNAL,
                    started_at_us=unix_us(attempt.started_at),
                    ended_at_us=unix_us(attempt.ended_at or self._clock()),
                    cost_nanousd=cost,
                    source=source,
                )
                for number, attempt in enumerate(exchange.attempts, 1)
                for cost, source in (_paid(exchange, opening, attempt),)
            ),
        )


def _paid(exchange: Exchange, opening: Opening, attempt: Attempt) -> tuple[int, Source]:
    """What the operator pays a provider for an attempt, in nano-dollars, as far as is known.

    One that did not serve has cost its prompt where the provider had begun to work on it.
    """
    if attempt is exchange.served:
        return exchange.cost_nanousd, exchange.usage.source
    price, outcome = attempt.target.price, attempt.outcome or Outcome.INTERNAL
    if price is None or CONSEQUENCES[outcome].billing is Billing.NOTHING:
        return 0, Source.NONE
    return cost_nanousd(Usage(input=opening.input_estimate_tokens), price), Source.ESTIMATED


def _unavailable() -> GatewayError:
    return GatewayError("overloaded", _UNWRITTEN, retry_after_s=RETRY_AFTER_S)
