"""The composition root: a configuration goes in, a listening gateway comes out. Nothing else builds things."""

import asyncio
import logging
import random
import secrets
import socket
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, TextIO

from gateway import __version__, splice
from gateway.config import Config
from gateway.core.clock import Clock, WallClock
from gateway.draining import Drain
from gateway.listening import listen
from gateway.metrics import Metrics
from gateway.ops import Ops
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.admission import Admission
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.circuits import Circuits
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.doorkeeper import Doorkeeper
from gateway.proxy.exchange import Opening
from gateway.proxy.grants import HEARTBEAT_S, Grants
from gateway.proxy.handler import Line
from gateway.proxy.live import SWEEP_S, LiveStreams
from gateway.proxy.pins import Pins
from gateway.proxy.relay import Relay
from gateway.proxy.routes import Routes, bad_request
from gateway.proxy.settlement import Settlement
from gateway.proxy.unfinished import Unfinished
from gateway.proxy.upstreams import Upstreams
from gateway.stores.memory import LocalQuotas
from gateway.tenancy.tenants import Tenants
from gateway.upstream.gate import Gate
from gateway.upstream.provider import Provider
from gateway.upstream.targets import Targets

log = logging.getLogger("gateway")

LAG_TICK_S = 0.1

LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the client can read the refusal."""


class Gateway:
    """A running gateway.

    Attributes:
        url: where it listens.
        descriptors: of the sockets on which it listens.
        metrics, live: for tests and for the process around it.
    """

    def __init__(self, config: Config, *, clock: Clock, wall_clock: WallClock) -> None:
        self.config = config
        self.url = ""
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._next_sweep = self._next_heartbeat = 0.0

    async def open(
        self,
        host: str,
        port: int,
        *,
        access_log: TextIO | None,
        spliced: bool | None,
        local_only: frozenset[str],
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Build everything and listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        config, clock = self.config, self._clock
        spliced = await _can_splice() if spliced is None else spliced
        self.metrics = metrics = Metrics(
            instance_id=secrets.token_hex(8),
            version=__version__,
            tenants=[tenant.id for tenant in config.tenants],
            models=config.models.names(),
            providers=tuple(config.providers),
            targets=config.models.labels(),
        )
        self._providers = {
            name: Provider(
                name,
                settings,
                spliced=spliced,
                clock=clock,
                on_stale=metrics.declared.stale_connections.labels(name).inc,
            )
            for name, settings in config.providers.items()
        }
        self._quotas = LocalQuotas(clock, self._wall_clock)
        self._grants = grants = Grants(self._quotas, metrics, self._start)
        tenants = Tenants(config.tenants, self._wall_clock)
        admission = Admission(config.server, tenants, config.models, grants, local_only)
        upstreams = Upstreams(
            self._providers,
            metrics,
            spliced=spliced,
            write_timeout_s=config.server.write_timeout_s,
            clock=clock,
            wall_clock=self._wall_clock,
        )
        circuits = Circuits(metrics)
        targets = Targets(self._providers, config.models.circuits(), clock, random.random, circuits.changed)
        circuits.watch(targets, self._providers)
        pins = Pins()
        dispatch = Dispatch(upstreams, targets, pins, metrics, spliced=spliced, clock=clock, draw=random.random)
        self._access_log = AccessLog(access_log, config.server.log_level)
        self.live = LiveStreams(metrics, config.server.keepalive_s, clock, self._start)
        policies = {name: settings.unfinished for name, settings in config.providers.items()}
        self._unfinished = Unfinished(policies, self._start)
        line = Line(
            Opening(clock, self._wall_clock, partial(next, _request_ids()), config.server.deadline_s),
            admission,
            dispatch,
            Relay(metrics, clock),
            Settlement(metrics, self._access_log, grants, pins.remember, clock),
            self.live,
            self._unfinished,
            Gate(config.server.max_in_flight, config.server.max_queued, config.server.queue_s, "this gateway"),
            metrics,
        )
        self._ops = Ops(config.ops, metrics, circuits.page)
        routes = Routes(line, Catalogue(admission, config.models, int(self._wall_clock())), self._ops.pages)
        try:
            await self._listen(routes, line, host, port, sockets)
        except OSError:
            for provider in self._providers.values():
                await provider.close()
            raise
        self._read_gauges()
        self._doorkeeper = Doorkeeper(
            config.server.head_timeout_s, config.server.write_timeout_s, asyncio.get_running_loop().time
        )
        self._tick(asyncio.get_running_loop().time())
        for name, provider in self._providers.items():
            self._start(_warm_up(name, provider))
        self._ops.ready = True

    async def _listen(self, routes: Routes, line: Line, host: str, port: int, sockets: Sequence[socket.socket]) -> None:
        settings = self.config.server
        self._server = splice.DownstreamServer(
            routes,
            max_body_bytes=settings.max_body_bytes,
            keepalive_timeout=settings.idle_timeout_s,
            lingering_time=LINGER_S,
            logger=logging.getLogger("gateway.http"),
        )
        factory = splice.connection_factory(self._server, bad_request(line))
        listener = await listen(factory, host, port, sockets)
        self.url, self.descriptors = listener.url, listener.descriptors
        self._drain = Drain(self._server, listener, self.live, self._tasks)

    def _read_gauges(self) -> None:
        declared = self.metrics.declared
        declared.active_connections.labels().read_from(lambda: len(self._server.connections))
        for name, provider in self._providers.items():
            declared.active_streams.labels(name).read_from(partial(self.live.streaming, name))
            declared.pool_connections.labels(name, "in_use").read_from(provider.pool.in_use)
            declared.pool_connections.labels(name, "idle").read_from(provider.pool.idle)

    def _tick(self, expected: float) -> None:
        """One timer for everything that recurs: the loop's lag, and each second the sweeps."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.metrics.declared.event_loop_lag.labels().observe(max(0.0, now - expected))
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self.live.sweep()
            self._doorkeeper.sweep(self._server.connections)
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            self._grants.renew(self.live)
        self._ticker = loop.call_at(now + LAG_TICK_S, self._tick, now + LAG_TICK_S)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task and keep hold of it until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, *, handed_over: bool = False) -> None:
        """Stop in order: `server.ready_grace_s` and `server.drain_s` say how long it may take.

        Args:
            handed_over: another process accepts on the same sockets already, so the address is ready all the while.
        """
        self._ops.ready = handed_over
        settings = self.config.server
        await self._drain.in_order(settings.ready_grace_s, settings.drain_s, handed_over=handed_over)
        await self._free()

    async def close(self, grace_s: float = 0.0) -> None:
        """Stop at once, giving running exchanges `grace_s` seconds to end. To cut a drain short, cancel it before."""
        self._ops.ready = False
        await self._drain.at_once(grace_s)
        await self._free()

    async def _free(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._unfinished.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for provider in self._providers.values():
            await provider.close()
        self._access_log.flush()


async def start(
    config: Config,
    *,
    host: str | None = None,
    port: int | None = None,
    access_log: TextIO | None = sys.stdout,
    spliced: bool | None = None,
    local_only: frozenset[str] = frozenset(),
    sockets: Sequence[socket.socket] = (),
    clock: Clock = time.monotonic,
    wall_clock: WallClock = time.time,
) -> Gateway:
    """Start a gateway in the running event loop.

    Args:
        host, port: instead of the configuration's; port 0 takes any free one.
        access_log: where the lines go, None for nowhere.
        spliced: False keeps to aiohttp's public interfaces; None asks the self-check.
        local_only: tenants refused to requests that came through a proxy.
        sockets: that listen already and are used instead of any address.

    Raises:
        OSError: the address cannot be listened on.
    """
    gateway = Gateway(config, clock=clock, wall_clock=wall_clock)
    await gateway.open(
        config.server.host if host is None else host,
        config.server.port if port is None else port,
        access_log=access_log if config.server.access_log else None,
        spliced=spliced,
        local_only=local_only,
        sockets=sockets,
    )
    return gateway


async def _can_splice() -> bool:
    try:
        await splice.self_check()
    except splice.SpliceUnavailable as error:
        log.warning("streams take the plain path, which costs about twice the CPU per chunk: %s", error)
        return False
    return True


async def _warm_up(name: str, provider: Provider) -> None:
    wanted = provider.settings.pool.warm
    if wanted and not await provider.warm_up():
        log.warning("the provider %s cannot be reached yet", name)


def _request_ids() -> Iterator[str]:
    """Ids that nobody can guess: 96 random bits each, drawn from the system by the thousand."""
    while True:
        drawn = secrets.token_hex(12 * 1024)
        for at in range(0, len(drawn), 24):
            yield "req_" + drawn[at : at + 24]
