"""The end of a test: what it started is closed within a time, what it left behind is found and dropped."""

import asyncio
import gc
import importlib
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from tests.raw_connection import read_boundary

CLOSE_PATIENCE_S = 20.0
"""How long one thing may take to close; nothing takes so long in a clean test."""

OpenSockets = Mapping[tuple[int, int], str]
"""Sockets by descriptor and inode, with their addresses."""


async def close_in_time(name: str, close: Callable[[], Awaitable[None]], patience_s: float = CLOSE_PATIENCE_S) -> None:
    """Close one thing; give it up where it takes too long, so that what comes next is closed as well.

    Raises:
        TimeoutError: it did not close; the message names it.
    """
    try:
        async with asyncio.timeout(patience_s) as patience:
            await close()
    except TimeoutError:
        if not patience.expired():
            raise
        raise TimeoutError(f"{name} did not close within {patience_s} s") from None


class Alarm:
    """Breaks off what a test runs, and says what that was: after a time, and again while that does not help.

    Args:
        spared: tasks that are none of the test's.
        patience_s: until it first rings.
        again_s: from then on. Closing can hang as well as a test.
    """

    def __init__(self, spared: Collection[asyncio.Task[Any]], patience_s: float, again_s: float) -> None:
        self._spared = frozenset(spared)
        self._patience_s = patience_s
        self._again_s = again_s
        self._next = asyncio.get_running_loop().call_later(patience_s, self._ring)

    def _ring(self) -> None:
        for task in asyncio.all_tasks() - self._spared:
            task.print_stack()
            task.cancel(f"the test took more than {self._patience_s} s")
        self._next = asyncio.get_running_loop().call_later(self._again_s, self._ring)

    def cancel(self) -> None:
        """It does not ring any more."""
        self._next.cancel()


def open_sockets() -> OpenSockets:
    """Returns the TCP and UDP sockets of this process.

    Unix sockets are left out: an event loop makes and drops pairs of them for itself.
    """
    found = {}
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:  # the descriptor of the listing itself
            continue
        if stat.S_ISSOCK(status.st_mode):
            looked_at = socket.socket(fileno=int(name))
            if looked_at.family in {socket.AF_INET, socket.AF_INET6}:
                found[int(name), status.st_ino] = f"{looked_at!r}"
            looked_at.detach()
    return found


async def drop(tasks: Collection[asyncio.Task[Any]], sockets: Collection[tuple[int, int]], patience_s: float) -> None:
    """Cancel tasks and close sockets that nobody closes any more, so that neither the loop's end nor a test meets them.

    A descriptor tells nothing of what holds it, so the holders are looked for among all objects.
    """
    # a transport closes its socket itself: sockets that are still there afterwards are nobody's
    for holders in _transports_and_servers(), (socket.socket,):
        descriptors = {descriptor for descriptor, _ in open_sockets().keys() & set(sockets)}
        held: list[Any] = [one for one in gc.get_objects() if issubclass(type(one), holders)] if descriptors else []
        for one in held:
            if _descriptors_of(one) & descriptors:
                (one.abort if hasattr(one, "abort") else one.close)()
        await read_boundary()
    if tasks:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=patience_s)


def _transports_and_servers() -> tuple[type, ...]:
    """Of both loops: uvloop's are no subclasses of asyncio's."""
    compiled = importlib.import_module("uvloop.loop")
    return asyncio.Transport, asyncio.Server, compiled.TCPTransport, compiled.Server


def _descriptors_of(held: Any) -> set[int]:
    if isinstance(held, socket.socket):
        return {held.fileno()}
    if hasattr(held, "sockets"):
        return {one.fileno() for one in held.sockets or ()}
    holds = None if held.is_closing() else held.get_extra_info("socket")
    return set() if holds is None else {holds.fileno()}
