"""Streams whose client left in the middle: read on in the background, within bounds, for what they really cost."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gateway.core.outcome import Outcome
from gateway.proxy.exchange import Exchange
from gateway.upstream.settings import UnfinishedSettings
from gateway.upstream.stream import UpstreamStream

log = logging.getLogger("gateway")


class Unfinished:
    """The streams that are read on after their clients, where the provider's policy is `drain`.

    Nothing else changes for them: the exchange has ended as `client_closed` and is settled once, when the provider has
    said all, or has said enough, or falls silent, or breaks off. Until then it stays among the live streams, whose
    sweep ends the silent ones and those that take too long.

    Args:
        policies: by provider.
        start: starts a task and keeps it.
    """

    def __init__(
        self,
        policies: Mapping[str, UnfinishedSettings],
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._policies = policies
        self._start = start
        self._reading: dict[int, tuple[Exchange, UpstreamStream, Callable[[Exchange], None]]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._reading)

    def take(self, exchange: Exchange, settle: Callable[[Exchange], None]) -> bool:
        """Read on what the client of an exchange has left, and settle it in the end.

        Args:
            settle: books an exchange and lets go of it.

        Returns:
            False where there is nothing to read on, or nobody wants to know: the caller ends the stream and settles.
        """
        stream, target = exchange.stream, exchange.target
        if exchange.outcome is not Outcome.CLIENT_CLOSED or stream is None or target is None or self._closed:
            return False
        policy = self._policies[target.provider]
        if policy.settle == "cancel" or not stream.detach(policy.max_tokens, policy.max_s):
            return False
        self._reading[id(exchange)] = exchange, stream, settle
        self._start(self._read_on(exchange, stream))
        return True

    async def _read_on(self, exchange: Exchange, stream: UpstreamStream) -> None:
        try:
            if await stream.ended() is Outcome.SUCCESS:
                await stream.finish()
        except Exception:
            log.exception("request %s failed after its client had left", exchange.id)
        finally:
            self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        """Once, whoever comes first: the stream's own end, or the gateway's."""
        taken = self._reading.pop(id(exchange), None)
        if taken is not None:
            _, stream, settle = taken
            stream.abort()
            settle(exchange)

    def close(self) -> None:
        """Settle all of them with what there is, and take none from now on. What reads them ends by itself."""
        self._closed = True
        for exchange, stream, _ in tuple(self._reading.values()):
            stream.fail(Outcome.CLIENT_CLOSED)
            self._end(exchange)
