"""Start and stop: the simulator inside another program, or alone until a signal ends it."""

import asyncio
import logging
import signal
import time

from aiohttp import web

from gateway.core.clock import Clock, WallClock
from gateway.simulator.provider import Provider
from gateway.simulator.settings import SimulatorSettings

_BACKLOG = 4096
"""Connections that may wait to be accepted; a burst of thousands of streams has to fit (listen(2))."""
_SHUTDOWN_S = 1.0
"""How long aiohttp waits for handlers that were told to end."""


class Simulator:
    """A running simulator."""

    def __init__(self, provider: Provider, runner: web.AppRunner, base_url: str) -> None:
        self._runner = runner
        self.journal = provider.journal
        self.base_url = base_url
        """``http://host:port`` without a path: what Anthropic's SDK calls the base URL."""

    @property
    def openai_base_url(self) -> str:
        """What OpenAI's SDK calls the base URL."""
        return f"{self.base_url}/v1"

    async def close(self) -> None:
        """Stops listening and breaks off whatever still runs."""
        await self._runner.cleanup()


async def start(
    host: str = "127.0.0.1",
    port: int = 0,
    settings: SimulatorSettings | None = None,
    *,
    clock: Clock = time.monotonic,
    wall: WallClock = time.time,
) -> Simulator:
    """Starts a simulator in the running loop.

    Args:
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        settings: see :class:`SimulatorSettings`; by default real speed and seed 0.
        clock: monotonic seconds.
        wall: Unix seconds.

    Raises:
        OSError: the address cannot be listened on.
    """
    provider = Provider(settings or SimulatorSettings(), clock, wall)
    runner = web.AppRunner(
        provider.application(),
        # aiohttp lets a handler run on after its client has left, unless told so
        handler_cancellation=True,
        access_log=None,
        logger=_silent(),
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    except OSError:
        await runner.cleanup()
        raise
    bound = runner.addresses[0]
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return Simulator(provider, runner, f"http://{shown}:{bound[1]}")


async def run_simulator(host: str, port: int, settings: SimulatorSettings) -> None:
    """Serves until SIGINT or SIGTERM, and says on standard output where.

    Raises:
        OSError: the address cannot be listened on.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    simulator = await start(host, port, settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        print(f"OpenAI dialect:    {simulator.openai_base_url}")
        print(f"Anthropic dialect: {simulator.base_url}")
        print(f"Models: GET {simulator.openai_base_url}/models. Any API key will do.", flush=True)
        await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await simulator.close()


def _silent() -> logging.Logger:
    """A logger that says nothing, for aiohttp's protocol: its parser errors quote request bytes, keys too."""
    logger = logging.getLogger("gateway.simulator.http")
    logger.disabled = True
    return logger
