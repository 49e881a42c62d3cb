"""What a configuration decides, swapped whole: a request follows one plan from its beginning to its end."""

import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.config import Config
from gateway.core.clock import Clock, WallClock
from gateway.core.quota import Quotas
from gateway.metrics import Metrics
from gateway.proxy.account_page import AccountPage
from gateway.proxy.admission import Admission
from gateway.proxy.books import Books
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.circuits import Circuits
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Opening
from gateway.proxy.grants import Grants
from gateway.proxy.handler import Line
from gateway.proxy.live import LiveStreams
from gateway.proxy.pins import Pins
from gateway.proxy.recent_usage import RecentUsage
from gateway.proxy.relay import Relay
from gateway.proxy.settlement import Settlement
from gateway.proxy.unfinished import Unfinished
from gateway.proxy.upstreams import Upstreams
from gateway.proxy.wishes import Wishes
from gateway.tenancy.tenants import Tenants
from gateway.tracing.upstreams import Spans, TracedUpstreams
from gateway.upstream.gate import Gate
from gateway.upstream.pool import Pool
from gateway.upstream.provider import Provider
from gateway.upstream.targets import Targets

log = logging.getLogger("gateway")


@dataclass(frozen=True, slots=True)
class Lasting:
    """What stays when the configuration changes, and what every plan is built on.

    Attributes:
        spliced: the self-check passed.
        local_only: tenants refused to requests that came through a proxy.
        new_serial: makes names that are unique for ever.
        start: starts a task and keeps it.
        spans: what requests are traced by, if they are.
    """

    clock: Clock
    wall_clock: WallClock
    spliced: bool
    local_only: frozenset[str]
    new_serial: Callable[[], str]
    start: Callable[[Coroutine[Any, Any, None]], None]
    metrics: Metrics
    circuits: Circuits
    tenants: Tenants
    grants: Grants
    books: Books
    quotas: Quotas
    usage: RecentUsage
    gate: Gate
    live: LiveStreams
    pins: Pins
    relay: Relay
    settlement: Settlement
    spans: Spans | None = None


class Plan:
    """What one configuration decides.

    Args:
        before: the plan that this one replaces. A provider with the same settings stays as it is, with its connections
            and the rests of its keys; what :class:`Targets` says of a target stays too.

    Attributes:
        providers: by name.
        line: takes requests through the phases.
        catalogue: lists models.
        account: shows tenants what they have used.
    """

    def __init__(self, config: Config, lasting: Lasting, before: "Plan | None" = None) -> None:
        self.config = config
        self.providers = {name: _provider(name, config, lasting, before) for name in config.providers}
        clock, metrics = lasting.clock, lasting.metrics
        self.targets: Targets = Targets(
            self.providers,
            config.models.circuits(),
            clock,
            random.random,
            lasting.circuits.changed,
            before.targets if before is not None else None,
        )
        admission = Admission(
            config.server,
            lasting.tenants,
            config.models,
            Wishes(config.ledger.tags),
            lasting.books,
            lasting.grants,
            lasting.local_only,
        )
        ask = Upstreams if lasting.spans is None else partial(TracedUpstreams, lasting.spans)
        upstreams = ask(
            self.providers,
            metrics,
            spliced=lasting.spliced,
            write_timeout_s=config.server.write_timeout_s,
            clock=clock,
            wall_clock=lasting.wall_clock,
        )
        dispatch = Dispatch(
            upstreams,
            self.targets,
            lasting.pins,
            lasting.books,
            metrics,
            spliced=lasting.spliced,
            clock=clock,
            draw=random.random,
        )
        policies = {name: settings.unfinished for name, settings in config.providers.items()}
        self.unfinished = Unfinished(policies, lasting.start)
        self.line = Line(
            Opening(clock, lasting.wall_clock, lasting.new_serial, config.server.deadline_s),
            admission,
            dispatch,
            lasting.relay,
            lasting.settlement,
            lasting.live,
            self.unfinished,
            lasting.gate,
            metrics,
        )
        self.catalogue = Catalogue(admission, config.models, int(lasting.wall_clock()))
        self.account = AccountPage(admission.authenticate, lasting.quotas, lasting.usage, lasting.wall_clock)


def _provider(name: str, config: Config, lasting: Lasting, before: Plan | None) -> Provider:
    settings = config.providers[name]
    kept = before.providers.get(name) if before is not None else None
    if kept is not None and kept.settings == settings:
        return kept
    on_stale = lasting.metrics.declared.stale_connections.labels(name).inc
    return Provider(name, settings, spliced=lasting.spliced, clock=lasting.clock, on_stale=on_stale)


class Plans:
    """The plan that holds now, and those before it that running exchanges still follow.

    A provider that no plan needs any more is closed when the last exchange that could ask it has ended.

    Attributes:
        current: what new requests follow.
        followed: this and those before it that some exchange still follows, oldest first.
    """

    def __init__(self, config: Config, lasting: Lasting) -> None:
        self._lasting = lasting
        self._open: dict[Provider, bool] = {}  # whether its warming up has begun
        self.followed: list[Plan] = []
        self.current = self._follow(Plan(config, lasting))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Every provider that is not closed; of one that has changed, the old one beside the new one."""
        return tuple(self._open)

    def replace(self, config: Config) -> None:
        """Have further requests follow another configuration; those under way stay with theirs."""
        before, self.current = self.current, self._follow(Plan(config, self._lasting, self.current))
        before.line.retire(partial(self._let_go, before))

    def warm_up(self) -> None:
        """Open the first connections to the providers that are new."""
        for provider, begun in self._open.items():
            if not begun:
                self._open[provider] = True
                self._lasting.start(_warm_up(provider))

    def _follow(self, plan: Plan) -> Plan:
        self.followed.append(plan)
        self._open |= {provider: False for provider in plan.providers.values() if provider not in self._open}
        config, metrics = plan.config, self._lasting.metrics
        metrics.configure(
            tenants=[tenant.id for tenant in config.tenants],
            models=config.models.names(),
            providers=tuple(config.providers),
            targets=config.models.labels(),
        )
        self._lasting.circuits.watch(plan.targets)
        declared = metrics.declared
        for name in plan.providers:
            declared.active_streams.labels(name).read_from(partial(self._lasting.live.streaming, name))
            declared.pool_connections.labels(name, "in_use").read_from(partial(self._connections, name, Pool.in_use))
            declared.pool_connections.labels(name, "idle").read_from(partial(self._connections, name, Pool.idle))
        return plan

    def _connections(self, name: str, count: Callable[[Pool], int]) -> int:
        """Those of a provider; where its settings have changed, those of the old one too until it is closed."""
        return sum(count(provider.pool) for provider in self._open if provider.name == name)

    def _let_go(self, plan: Plan) -> None:
        """The last exchange that followed a plan has ended."""
        self.followed.remove(plan)
        needed = {provider for other in self.followed for provider in other.providers.values()}
        for provider in self._open.keys() - needed:
            self._lasting.start(self._close(provider))

    async def _close(self, provider: Provider) -> None:
        await provider.close()
        self._open.pop(provider, None)

    def end_unfinished(self) -> None:
        """Settle every stream that is read on after its client, under whatever plan."""
        for plan in tuple(self.followed):
            plan.unfinished.close()

    async def close(self) -> None:
        """Close all connections to providers."""
        for provider in tuple(self._open):
            await self._close(provider)


async def _warm_up(provider: Provider) -> None:
    wanted = provider.settings.pool.warm
    if wanted and not await provider.warm_up():
        log.warning("the provider %s cannot be reached yet", provider.name)
