"""One JSON line per request: who, what, how it ended, what it cost. No prompt, no answer, no key."""

import asyncio
import logging
from typing import TextIO

import orjson

from gateway.core.outcome import Outcome
from gateway.proxy.exchange import Exchange

FLUSH_AFTER_S = 0.05
"""Lines are written together: one system call for all requests of so many seconds."""


class AccessLog:
    """Collects lines and writes them in groups.

    Args:
        out: where lines go; None: nowhere.
        least: `server.log_level`. Lines are `info`, those of 5xx and of broken answers `warning`; below it, none.
    """

    def __init__(self, out: TextIO | None, least: str = "info") -> None:
        self._lines: list[bytes] = []
        self.configure(out, least)

    def configure(self, out: TextIO | None, least: str) -> None:
        """Go by these settings from now on; arguments are those of the constructor."""
        self._out = out
        self._least = logging.getLevelNamesMapping()[least.upper()]

    def write(self, exchange: Exchange, now: float) -> None:
        """Add the line of a settled exchange. `now` is a reading of the clock that started it."""
        level = logging.WARNING if _is_broken(exchange) else logging.INFO
        if self._out is None or level < self._least:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self.flush)
        self._lines.append(orjson.dumps(_fields(exchange, now, level)))

    def flush(self) -> None:
        """Write what waits; a broken pipe is not worth a request."""
        if self._out is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._out.write(b"\n".join(lines).decode() + "\n")
            self._out.flush()
        except (OSError, ValueError):
            pass


def _is_broken(exchange: Exchange) -> bool:
    """Whether somebody other than the client should look: no answer, or one that broke off after its head."""
    if exchange.status >= 500:
        return True
    return exchange.status == 200 and exchange.outcome not in (Outcome.SUCCESS, Outcome.CLIENT_CLOSED)


def _fields(exchange: Exchange, now: float, level: int) -> dict[str, object]:
    usage, target, stream = exchange.usage, exchange.target, exchange.stream
    fields: dict[str, object] = {
        "time": exchange.received_at,
        "level": logging.getLevelName(level).lower(),
        "event": "request",
        "id": exchange.id,
        "tenant": exchange.identity.tenant.id if exchange.identity is not None else None,
        "key": exchange.identity.key.id if exchange.identity is not None else None,
        "operation": exchange.operation.name if exchange.operation is not None else None,
        "model": exchange.asked,
        "stream": exchange.downstream is not None,
        "provider": target.provider if target is not None else None,
        "served_model": target.model if target is not None else None,
        "attempts": len(exchange.attempts),
        "status": exchange.status or 499,
        "outcome": exchange.outcome,
        "duration_ms": round((now - exchange.started_at) * 1000, 3),
    }
    if stream is not None and stream.first_at is not None:
        fields["ttft_ms"] = round((stream.first_at - exchange.started_at) * 1000, 3)
        fields["events"] = stream.events
    if target is not None:
        fields["input_tokens"] = usage.input_total
        fields["output_tokens"] = usage.output
        fields["usage"] = usage.source
        fields["cost_nanousd"] = exchange.cost_nanousd
    if len(exchange.attempts) > 1:
        fields["tried"] = [
            {
                "provider": attempt.target.provider,
                "model": attempt.target.model,
                "outcome": attempt.outcome,
                "ms": round(((attempt.ended_at or now) - attempt.started_at) * 1000, 3),
            }
            for attempt in exchange.attempts
        ]
    if exchange.error is not None:
        fields["error"] = exchange.error.code
    return fields
