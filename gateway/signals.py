"""What a running gateway is told from outside.

SIGTERM and SIGINT stop it, SIGUSR2 has another process replace it, SIGHUP has it read its configuration again.
"""

import asyncio
import logging
import signal
from collections.abc import Callable

from gateway.app import Gateway
from gateway.handover import NoSuccessor, Succession

log = logging.getLogger("gateway")


class Signals:
    """The signals that came so far; made inside a running event loop.

    Attributes:
        stop: SIGTERM or SIGINT: drain.
        again: and once more: stop at once.
        succeed: SIGUSR2: start a successor. Whoever has tried in vain clears it.
        reload: SIGHUP: read the configuration again. Whoever does it clears it first.
    """

    def __init__(self) -> None:
        self.stop, self.again, self.succeed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.reload = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGUSR2, self._succeed)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop(self) -> None:
        (self.again if self.stop.is_set() else self.stop).set()

    def _succeed(self) -> None:
        if self.stop.is_set():
            log.warning("SIGUSR2 is ignored: this process is stopping")
        elif self.succeed.is_set():
            log.warning("SIGUSR2 is ignored: a successor has been started already")
        else:
            self.succeed.set()

    def _reload(self) -> None:
        if self.stop.is_set():
            log.warning("SIGHUP is ignored: this process is stopping")
        else:
            self.reload.set()


async def serve_until_told(
    gateway: Gateway, signals: Signals, succession: Succession, notify: Callable[[str], None]
) -> None:
    """Serve until a signal says to stop or a successor has taken over; then drain.

    Args:
        notify: tells the service manager a state of sd_notify(3).
    """
    stopping = asyncio.create_task(signals.stop.wait())
    reloading = asyncio.create_task(_reload(gateway, signals))
    succeeding = asyncio.create_task(_successor(gateway, signals, succession))
    await asyncio.wait({stopping, succeeding}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    reloading.cancel()
    if succeeding.done():
        log.info("process %d has taken over", succeeding.result())
        notify(f"MAINPID={succeeding.result()}")
        await _drain(gateway, signals, handed_over=True)
        return
    log.info("stopping; SIGTERM or SIGINT once more stops at once")
    succeeding.cancel()
    notify("STOPPING=1")
    if await _drain(gateway, signals, handed_over=False):
        # a successor that is not wanted any more has had as much time to end
        await asyncio.wait({succeeding})


async def _successor(gateway: Gateway, signals: Signals, succession: Succession) -> int:
    """Wait until a successor was wanted and is ready; returns its process id."""
    while True:
        await signals.succeed.wait()
        try:
            return await succession.start(gateway.descriptors)
        except NoSuccessor as failure:
            log.error("nobody has taken over, this process goes on: %s", failure)  # noqa: TRY400 (not our failure)
        signals.succeed.clear()


async def _reload(gateway: Gateway, signals: Signals) -> None:
    """Read the configuration again whenever that is asked for; what comes meanwhile asks for it once more."""
    while True:
        await signals.reload.wait()
        signals.reload.clear()
        await gateway.reloading.again()


async def _drain(gateway: Gateway, signals: Signals, *, handed_over: bool) -> bool:
    """Stop in order, or at once if that is asked for; returns whether the order was kept."""
    draining = asyncio.create_task(gateway.drain(handed_over=handed_over))
    hurrying = asyncio.create_task(signals.again.wait())
    await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if draining.done():
        draining.result()
        return True
    log.warning("stopping at once")
    draining.cancel()
    await gateway.close()
    return False
