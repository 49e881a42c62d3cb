"""The composition root: a configuration goes in, a listening gateway comes out. Nothing else builds things.

Long because all that lasts is put together here, and taken apart in the reverse order.
"""

import asyncio
import logging
import secrets
import socket
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from gateway import __version__, splice
from gateway.admin.api import Admin
from gateway.admin.table import table_of
from gateway.administration import Administration
from gateway.config import Config, changes, refuse_fixed
from gateway.config.explain import mistakes_of
from gateway.core.clock import Clock, WallClock
from gateway.core.ledger import ID_RANDOM_BYTES, new_exchange_id
from gateway.core.quota import Crossing
from gateway.draining import Drain
from gateway.listening import listen
from gateway.metrics import Metrics
from gateway.ops import Ops
from gateway.plan import Lasting, Plans
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.books import Books
from gateway.proxy.circuits import Circuits
from gateway.proxy.doorkeeper import Doorkeeper
from gateway.proxy.exchange import request_id
from gateway.proxy.grants import HEARTBEAT_S, Grants
from gateway.proxy.live import SWEEP_S, LiveStreams
from gateway.proxy.pins import Pins
from gateway.proxy.recent_usage import RecentUsage
from gateway.proxy.relay import Relay
from gateway.proxy.routes import Routes
from gateway.proxy.settlement import Journal, Settlement
from gateway.proxy.spending import REFRESH_S, Spending
from gateway.reloading import NO_SOURCE, ConfigSource, Reloading
from gateway.state import State
from gateway.stores.sql.spending import mark_told
from gateway.stores.sql.usage import usage
from gateway.tenancy.tenants import Tenants
from gateway.ticking import Ticker
from gateway.tracing.journal import TracedJournal
from gateway.tracing.settings import TelemetrySettings
from gateway.upstream.gate import Gate

if TYPE_CHECKING:
    from gateway.tracing.export import Traces

log = logging.getLogger("gateway")

CLOSE_S = 5.0
"""How long the ledger may take at the end to write what waits."""

LINGER_S = 2.0
"""How long the rest of a refused body is read, so that the client can read the refusal."""


class Gateway:
    """A running gateway: what outlives a configuration, and the plan that follows from the one of now.

    Attributes:
        config: what holds now.
        url: where it listens.
        descriptors: of the sockets on which it listens.
        reloading: takes another configuration.
        circuits: tells of the providers, and operates them.
        administration: serves the admin API.
        metrics, live, plans: for tests and for the process around it.
    """

    def __init__(self, config: Config, *, clock: Clock, wall_clock: WallClock) -> None:
        self.config = config
        self.url = ""
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._traces: Traces | None = None

    async def open(
        self,
        host: str,
        port: int,
        *,
        access_log: TextIO | None,
        spliced: bool | None,
        local_only: frozenset[str],
        source: ConfigSource,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Build everything and listen.

        Raises:
            OSError: the address cannot be listened on.
            StoresUnusable: the database cannot be used.
        """
        config, clock, server = self.config, self._clock, self.config.server
        spliced = await _can_splice() if spliced is None else spliced
        pins = Pins()
        instance_id = secrets.token_hex(8)
        self.metrics = metrics = Metrics(instance_id=instance_id, version=__version__)
        self.tenants = Tenants(config.tenants, self._wall_clock)
        self.state = state = await State.open(
            config.stores,
            config.ledger,
            self.tenants,
            metrics,
            instance_id=instance_id,
            clock=clock,
            wall_clock=self._wall_clock,
            on_crossed=self._on_crossed,
        )
        state.directory.on_change = self._know_tenants
        self._spending = Spending(state.quotas, self.tenants, metrics, self._mark_told, self._start)
        self._grants = Grants(state.quotas, metrics, self._spending, self._start)
        self._usage = RecentUsage(partial(usage, state.database), clock, self._wall_clock)
        self._books = Books(state.ledger, self._grants, instance_id, clock, self._wall_clock)
        self._log_to = access_log
        self._access_log = AccessLog(None)
        settlement = Settlement(
            metrics, self._open_journal(config.telemetry, instance_id), self._books, pins.remember, clock
        )
        self.live = LiveStreams(metrics, self._books, server.keepalive_s, clock, self._start)
        self._gate = Gate(server.max_in_flight, server.max_queued, server.queue_s, "this gateway")
        self.circuits = Circuits(metrics)
        self._lasting = Lasting(
            clock=clock,
            wall_clock=self._wall_clock,
            spliced=spliced,
            local_only=local_only,
            new_serial=partial(next, _serials(self._wall_clock)),
            start=self._start,
            metrics=metrics,
            circuits=self.circuits,
            tenants=self.tenants,
            grants=self._grants,
            books=self._books,
            quotas=state.quotas,
            usage=self._usage,
            gate=self._gate,
            live=self.live,
            pins=pins,
            relay=Relay(self._books, self._grants, settlement, metrics, clock),
            settlement=settlement,
            spans=None if self._traces is None else self._traces.spans,
        )
        self._ops = Ops(config.ops, metrics, self.circuits.page)
        self.reloading = Reloading(self, source, metrics, self._wall_clock)
        self.plans = Plans(config, self._lasting)
        self._know_tenants()
        plan = self.plans.current
        operations = table_of(
            state.directory,
            state.database,
            self.tenants,
            state.quotas,
            self.circuits,
            self.reloading,
            self._wall_clock,
        )
        self._admin = Admin(config.admin, operations, mistakes_of, self._new_id)
        self.administration = Administration(self._admin, config.admin.port)
        self._routes = Routes(plan.line, plan.catalogue, self._ops.pages, plan.account, self.administration.page)
        self._server = splice.DownstreamServer(
            self._routes,
            max_body_bytes=server.max_body_bytes,
            lingering_time=LINGER_S,
            logger=logging.getLogger("gateway.http"),
        )
        metrics.declared.active_connections.labels().read_from(lambda: len(self._server.connections))
        self._configure()
        try:
            factory = splice.connection_factory(self._server, self._routes.bad_request)
            listener = await listen(factory, host, port, sockets)
            try:
                await self.administration.open(host, self._routes, succeeds=bool(sockets))
            except OSError:
                listener.close()
                raise
        except OSError:
            await self._close_plans()
            await state.aclose(0)
            raise
        self.url, self.descriptors = listener.url, listener.descriptors
        self._ticker = Ticker(
            metrics.declared.event_loop_lag.labels(),
            (SWEEP_S, self._sweep),
            (HEARTBEAT_S, lambda: self._grants.renew(self.live)),
            (REFRESH_S, lambda: self._start(self._spending.refresh())),
        )
        self._drain = Drain(self._server, listener, self.live, self._tasks)
        self.plans.warm_up()
        self._ticker.start()
        self._ops.ready = True

    def _open_journal(self, settings: TelemetrySettings, instance_id: str) -> Journal:
        """Where settled exchanges are told: in the access log, and where they are traced, to their spans too."""
        if settings.otlp_endpoint is None:
            return self._access_log
        # Only here: it needs the extra, and takes a quarter of a second to import.
        from gateway.tracing.export import Traces

        self._traces = Traces(settings, settings.otlp_endpoint, instance_id)
        return TracedJournal(self._access_log, self._traces.spans)

    def reload(self, config: Config) -> list[str]:
        """Go by another configuration from now on; requests under way stay with the one that they began with.

        Returns:
            What has changed, by dotted key and without any value.

        Raises:
            ConfigError: it changes what cannot change while a gateway runs; nothing has changed then.
        """
        changed = changes(self.config, config)
        refuse_fixed(changed, config.source)
        self.plans.replace(config)
        self.tenants.replace_config(config.tenants)
        self.config = config
        plan = self.plans.current
        self._routes.lead_to(plan.line, plan.catalogue, plan.account)
        self._configure()
        self.plans.warm_up()
        return [str(change) for change in changed]

    def _new_id(self) -> str:
        return request_id(self._lasting.new_serial())

    def _know_tenants(self) -> None:
        self.metrics.know_tenants(tenant.id for tenant in self.tenants.all)

    def _on_crossed(self, crossing: Crossing) -> None:
        self._spending.on_crossed(crossing)

    async def _mark_told(self, scope: str, period_start_us: int, threshold_ppm: int) -> bool:
        now_us = int(self._wall_clock() * 1_000_000)
        return await mark_told(self.state.database, scope, period_start_us, threshold_ppm, now_us)

    def _configure(self) -> None:
        """Have what lasts go by the configuration of now."""
        server = self.config.server
        self._access_log.configure(self._log_to if server.access_log else None, server.log_level)
        self.live.keepalive_s = server.keepalive_s
        self._gate.resize(server.max_in_flight, server.max_queued, server.queue_s)
        self._server.configure(server.max_body_bytes, keepalive_timeout=server.idle_timeout_s)
        loop_time = asyncio.get_running_loop().time
        self._doorkeeper = Doorkeeper(server.head_timeout_s, server.write_timeout_s, loop_time)
        self._ops.configure(self.config.ops)
        self._admin.configure(self.config.admin)

    def _sweep(self) -> None:
        self.live.sweep()
        self._doorkeeper.sweep(self._server.connections)
        self._doorkeeper.sweep(self.administration.connections)

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
        if handed_over:
            self.administration.give_up()
        settings = self.config.server
        await self._drain.in_order(settings.ready_grace_s, settings.drain_s, handed_over=handed_over)
        await self._free()

    async def close(self, grace_s: float = 0.0) -> None:
        """Stop at once, giving running exchanges `grace_s` seconds to end. To cut a drain short, cancel it before."""
        self._ops.ready = False
        await self._drain.at_once(grace_s)
        await self._free()

    async def _free(self) -> None:
        self._ticker.stop()
        self.plans.end_unfinished()
        await self._books.flushed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.administration.close()
        await self._close_plans()
        await self._usage.aclose()
        await self.state.aclose(CLOSE_S)
        self._access_log.flush()

    async def _close_plans(self) -> None:
        """Close the connections to providers, and have the last of what was traced sent."""
        await self.plans.close()
        if self._traces is not None:
            await self._traces.aclose()


async def start(
    config: Config,
    *,
    host: str | None = None,
    port: int | None = None,
    access_log: TextIO | None = sys.stdout,
    spliced: bool | None = None,
    local_only: frozenset[str] = frozenset(),
    source: ConfigSource = NO_SOURCE,
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
        source: where the configuration came from, and is read again.
        sockets: that listen already and are used instead of any address.

    Raises:
        OSError: the address cannot be listened on.
    """
    gateway = Gateway(config, clock=clock, wall_clock=wall_clock)
    await gateway.open(
        config.server.host if host is None else host,
        config.server.port if port is None else port,
        access_log=access_log,
        spliced=spliced,
        local_only=local_only,
        source=source,
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


def _serials(wall_clock: WallClock) -> Iterator[str]:
    """Names that nobody can guess, in the order of time; their random bits come from the system by the thousand."""
    while True:
        drawn = secrets.token_bytes(ID_RANDOM_BYTES * 1024)
        for at in range(0, len(drawn), ID_RANDOM_BYTES):
            yield new_exchange_id(int(wall_clock() * 1_000_000), drawn[at : at + ID_RANDOM_BYTES])
