"""The providers' part: simulators on ports of this machine, the last of which is down in every outage."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from gateway.core.clock import Clock
from gateway.simulator import Simulator, SimulatorSettings, start
from gateway.traffic.schedule import SCENES, Scene, scene_at


@dataclass(frozen=True, slots=True)
class Address:
    """Where a provider listens."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> "Address":
        """Read ``PORT`` (of loopback) or ``HOST:PORT``.

        Raises:
            ValueError: it is neither.
        """
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
            raise ValueError(f"{text!r} is no address: write a port from 1 to 65535, or HOST:PORT")
        return cls(host.strip("[]") or "127.0.0.1", int(port))


class Providers:
    """Providers that run until they are closed.

    Args:
        addresses: where; one at least.
        tell: hears when the last one goes down and comes back.
    """

    def __init__(self, addresses: Sequence[Address], tell: Callable[[str], None]) -> None:
        self._steady, self._failing = addresses[:-1], addresses[-1]
        self._tell = tell
        self._running: Simulator | None = None
        self._open = AsyncExitStack()

    @property
    def is_down(self) -> bool:
        """Whether the failing provider refuses connections now."""
        return self._running is None

    async def open(self) -> None:
        """Start them all.

        Raises:
            OSError: an address cannot be listened on.
        """
        try:
            for address in self._steady:
                simulator = await _start(address)
                self._open.push_async_callback(simulator.close)
            self._running = await _start(self._failing)
        except OSError:
            await self.close()
            raise

    async def follow(self, scene: Scene) -> None:
        """Bring the failing provider down for an outage, in the middle of what it answers, and up after it."""
        if scene.is_outage and self._running is not None:
            running, self._running = self._running, None
            await running.close()
            self._tell(f"The provider on port {self._failing.port} is down.")
        elif not scene.is_outage and self._running is None:
            # A client of its own may hold the port for a moment; the next scene tries again.
            with suppress(OSError):
                self._running = await _start(self._failing)
                self._tell(f"The provider on port {self._failing.port} is back.")

    async def close(self) -> None:
        """Stop them all."""
        if self._running is not None:
            running, self._running = self._running, None
            await running.close()
        await self._open.aclose()


async def play(providers: Providers, stopped: asyncio.Event, clock: Clock, scenes: Sequence[Scene] = SCENES) -> None:
    """Follow the scenes until stopped; the providers stay open."""
    started_s = clock()
    while not stopped.is_set():
        at_s = clock() - started_s
        scene, ends_s = scene_at(at_s, scenes)
        await providers.follow(scene)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, ends_s - at_s)):
                await stopped.wait()


async def _start(address: Address) -> Simulator:
    return await start(address.host, address.port, SimulatorSettings(seed=address.port))
