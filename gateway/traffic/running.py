"""The traffic from its start to its end: clients that come by the schedule, and the lines that tell of them."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from gateway.core.clock import Clock
from gateway.traffic.asking import ask, session_of_clients
from gateway.traffic.cast import DEMO, Caller
from gateway.traffic.endings import Ending
from gateway.traffic.playing import Address, Providers, play
from gateway.traffic.schedule import SCENES, Arrival, Scene, arrivals, scene_at
from gateway.traffic.tally import Tally

MOST_RUNNING = 2000
"""Requests at once; a gateway that answers nothing shall not fill this process's memory."""

FINISH_S = 10.0
"""How long the last answers may take, after the last question."""

READY_S = 60.0
READY_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """What is asked of the traffic.

    Attributes:
        url: the gateway's address, without a path; None: nobody asks anything.
        cast: who asks.
        rate: requests per second of an ordinary scene.
        for_s: when to end by itself; None: never.
        providers: where to play the providers too; the last one fails and recovers.
        every_s: how often a line tells what happened.
        seed: the order of things follows from it.
        scenes: what the cycle is made of.
    """

    url: str | None
    cast: Sequence[Caller] = DEMO
    rate: float = 6.0
    for_s: float | None = None
    providers: Sequence[Address] = ()
    every_s: float = 5.0
    seed: int = 0
    scenes: Sequence[Scene] = SCENES


async def run_traffic(
    settings: TrafficSettings, tell: Callable[[str], None] = print, *, clock: Clock = time.monotonic
) -> int:
    """Run until the time is over, or SIGINT or SIGTERM.

    Args:
        settings: what to do.
        tell: takes each line.
        clock: monotonic seconds.

    Returns:
        The exit status: 1 if no gateway was there at all.

    Raises:
        OSError: a provider's address cannot be listened on.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    providers = Providers(settings.providers, tell) if settings.providers else None
    try:
        if providers is not None:
            await providers.open()
            tell("Providers: " + ", ".join(f"{one.host}:{one.port}" for one in settings.providers))
        return await _run(settings, providers, stopped, tell, clock)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if providers is not None:
            await providers.close()


async def _run(
    settings: TrafficSettings,
    providers: Providers | None,
    stopped: asyncio.Event,
    tell: Callable[[str], None],
    clock: Clock,
) -> int:
    async with session_of_clients() as session:
        if settings.url is not None and not await _is_ready(session, settings.url, stopped, clock):
            if stopped.is_set():
                return 0
            tell(f"No gateway is ready at {settings.url}: start one, or write its address behind --url.")
            return 1
        tally = Tally()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_end(stopped, over, settings.for_s))
            if providers is not None:
                group.create_task(play(providers, over, clock, settings.scenes))
            if settings.url is not None:
                group.create_task(_ask_all(session, settings.url, settings, tally, stopped, over, clock))
                group.create_task(_tell(tally, over, tell, settings, clock))
    if settings.url is not None:
        tell(tally.total())
        if tally.endings[Ending.REFUSED] and not tally.endings[Ending.WHOLE]:
            tell(
                "Nobody was served: run the gateway on docs/examples/demo.yaml, or give --key (gw-demo without a file)."
            )
    return 0


async def _is_ready(session: aiohttp.ClientSession, url: str, stopped: asyncio.Event, clock: Clock) -> bool:
    """Wait for the gateway: the two may well be started together."""
    until_s = clock() + READY_S
    while not stopped.is_set() and clock() < until_s:
        with suppress(aiohttp.ClientError, OSError):
            async with session.get(f"{url}/health/ready", allow_redirects=False) as response:
                if response.status == 200:
                    return True
        await _wait(stopped, READY_EVERY_S)
    return False


async def _end(stopped: asyncio.Event, over: asyncio.Event, for_s: float | None) -> None:
    await _wait(stopped, for_s)
    over.set()


async def _ask_all(
    session: aiohttp.ClientSession,
    url: str,
    settings: TrafficSettings,
    tally: Tally,
    stopped: asyncio.Event,
    over: asyncio.Event,
    clock: Clock,
) -> None:
    """Send what is due until it is over; then wait for the last answers, unless told to stop."""
    running: set[asyncio.Task[None]] = set()

    async def one(arrival: Arrival) -> None:
        ending = Ending.LEFT, ""
        try:
            ending = await ask(session, url, arrival)
        finally:
            tally.ended(*ending)

    started_s = clock()
    dice = random.Random(settings.seed)  # noqa: S311 (no secret)
    for arrival in arrivals(settings.cast, settings.rate, dice, settings.scenes):
        if await _wait(over, started_s + arrival.at_s - clock()):
            break
        if len(running) >= MOST_RUNNING:
            tally.skipped += 1
            continue
        tally.asked += 1
        task = asyncio.create_task(one(arrival))
        running.add(task)
        task.add_done_callback(running.discard)
    until_s = clock() + FINISH_S
    while running and not stopped.is_set() and clock() < until_s:
        await _wait(stopped, READY_EVERY_S)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _tell(
    tally: Tally, over: asyncio.Event, tell: Callable[[str], None], settings: TrafficSettings, clock: Clock
) -> None:
    started_s = clock()
    while not await _wait(over, settings.every_s):
        at_s = clock() - started_s
        tell(tally.line(at_s, scene_at(at_s, settings.scenes)[0].name))


async def _wait(event: asyncio.Event, for_s: float | None) -> bool:
    """Wait for an event so long (None: for ever); return whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None if for_s is None else max(0.0, for_s)):
            await event.wait()
    return event.is_set()
