"""The composition root: a configuration goes in, a listening gateway comes out. Nothing else builds things."""

import asyncio
import logging
import secrets
import sys
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any, TextIO

from aiohttp import web

from gateway import __version__, splice
from gateway.config import Config
from gateway.core.clock import Clock, WallClock
from gateway.metrics import Metrics
from gateway.ops import Ops
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.admission import Admission
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.doorkeeper import Doorkeeper
from gateway.proxy.exchange import Opening
from gateway.proxy.handler import Line
from gateway.proxy.live import SWEEP_S, LiveStreams
from gateway.proxy.relay import Relay
from gateway.proxy.routes import Routes, bad_request
from gateway.proxy.settlement import Settlement
from gateway.proxy.upstreams import Upstreams
from gateway.tenancy.tenants import Tenants
from gateway.upstream.provider import Provider

log = logging.getLogger("gateway")

BACKLOG = 4096
"""Connections that may wait to be accepted: a reconnecting crowd must not be refused."""

LAG_TICK_S = 0.1
NO_GRACE_S = 0.01
"""As good as none; 0 would be no limit for aiohttp."""

LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the client can read the refusal."""


class Gateway:
    """A running gateway.

    Attributes:
        url: where it listens.
        metrics, live: for tests and for the process around it.
    """

    def __init__(self, config: Config, *, clock: Clock, wall_clock: WallClock) -> None:
        self.config = config
        self.url = ""
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._next_sweep = 0.0

    async def open(
        self,
        host: str,
        port: int,
        *,
        access_log: TextIO | None,
        spliced: bool | None,
        local_only: frozenset[str],
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
            name: Provider(name, settings, spliced=spliced) for name, settings in config.providers.items()
        }
        admission = Admission(config.server, Tenants(config.tenants, self._wall_clock), config.models, local_only)
        upstreams = Upstreams(
            self._providers,
            metrics,
            spliced=spliced,
            write_timeout_s=config.server.write_timeout_s,
            clock=clock,
            wall_clock=self._wall_clock,
        )
        dispatch = Dispatch(upstreams, spliced=spliced, clock=clock)
        self._access_log = AccessLog(access_log, config.server.log_level)
        self.live = LiveStreams(metrics, config.server.keepalive_s, clock, self._start)
        line = Line(
            Opening(clock, self._wall_clock, partial(next, _request_ids()), config.server.deadline_s),
            admission,
            dispatch,
            Relay(metrics, clock),
            Settlement(metrics, self._access_log, dispatch.remember, clock),
            self.live,
            metrics,
        )
        self._ops = Ops(config.ops, metrics)
        routes = Routes(line, Catalogue(admission, config.models, int(self._wall_clock())), self._ops.pages)
        try:
            await self._listen(routes, line, host, port)
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

    async def _listen(self, routes: Routes, line: Line, host: str, port: int) -> None:
        server_settings = self.config.server
        loop = asyncio.get_running_loop()
        most = server_settings.max_body_bytes

        def make_request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
        ) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=most)

        self._server = web.Server(
            routes,
            request_factory=make_request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=server_settings.idle_timeout_s,
            lingering_time=LINGER_S,
            logger=logging.getLogger("gateway.http"),
        )
        factory = splice.connection_factory(self._server, bad_request(line))
        self._listener = await loop.create_server(factory, host, port, backlog=BACKLOG)
        name = self._listener.sockets[0].getsockname()
        shown = f"[{name[0]}]" if ":" in name[0] else name[0]
        self.url = f"http://{shown}:{name[1]}"

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
        self._ticker = loop.call_at(now + LAG_TICK_S, self._tick, now + LAG_TICK_S)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task and keep hold of it until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, grace_s: float = 0.0) -> None:
        """Stop listening, give running exchanges `grace_s` seconds to end, then end them and free everything."""
        self._ops.ready = False
        if self._listener is not None:
            self._listener.close()
        # a connection accepted just now has to reach its first wait, or nothing wakes it before the grace is over
        await asyncio.sleep(0)
        self._server.pre_shutdown()
        await self._server.shutdown(max(grace_s, NO_GRACE_S))
        if self._ticker is not None:
            self._ticker.cancel()
        for task in tuple(self._tasks):
            task.cancel()
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
    clock: Clock = time.monotonic,
    wall_clock: WallClock = time.time,
) -> Gateway:
    """Start a gateway in the running event loop.

    Args:
        host, port: instead of the configuration's; port 0 takes any free one.
        access_log: where the lines go, None for nowhere.
        spliced: False keeps to aiohttp's public interfaces; None asks the self-check.
        local_only: tenants refused to requests that came through a proxy.

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
