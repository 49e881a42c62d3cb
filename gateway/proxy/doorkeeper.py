"""Clients that hold a connection and send nothing, or take nothing: what aiohttp leaves open, one sweep closes.

A half-sent head, or a connection that never sends its first one, costs a descriptor and a task for as long as the
client likes ("slowloris"). Idle connections between requests are aiohttp's own business (`keepalive_timeout`).
"""

from collections.abc import Iterable

from gateway.core.clock import Clock
from gateway.splice import DownstreamConnection


class Doorkeeper:
    """Ends connections whose request head does not come.

    Args:
        head_timeout_s: from the connection, or from the first byte of a later head, to its last byte.
        write_timeout_s: how long a client may take nothing of what was written to it, whatever it was.
        loop_time: the event loop's clock, which stamps connections.
    """

    def __init__(self, head_timeout_s: float, write_timeout_s: float, loop_time: Clock) -> None:
        self._head_timeout_s = head_timeout_s
        self._write_timeout_s = write_timeout_s
        self._loop_time = loop_time

    def sweep(self, connections: Iterable[object]) -> int:
        """Abort what is overdue; return how many."""
        now = self._loop_time()
        ended = 0
        for connection in connections:
            if not isinstance(connection, DownstreamConnection) or connection.transport is None:
                continue
            if self._is_overdue(connection, now):
                connection.transport.abort()
                ended += 1
        return ended

    def _is_overdue(self, connection: DownstreamConnection, now: float) -> bool:
        if connection.congested:
            return now - connection.congested_since > self._write_timeout_s
        if connection.awaits_first_request:
            return now - connection.connected_at > self._head_timeout_s
        return connection.half_head_since > 0 and now - connection.half_head_since > self._head_timeout_s
