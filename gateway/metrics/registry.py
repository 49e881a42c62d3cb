"""Every metric of one process: labels kept inside closed sets, cells bound once, rendered for the scrape."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from aioprometheus.collectors import Registry

from gateway.metrics.bundles import ProviderCells, RouteCells, TargetCells
from gateway.metrics.declarations import NONE, OTHER, Declarations
from gateway.metrics.exposition import ReadyTextFormatter
from gateway.metrics.known import Configured, bind_known_series
from gateway.metrics.process import ProcessMetrics

MAX_TENANT_LABELS = 200
"""More tenants than this share the label ``other``."""


class Metrics:
    """Built once per application.

    ``declared`` reaches every collector; ``route``, ``target`` and ``provider`` give the bundles of cells
    that a request keeps. The stock ``aioprometheus.render`` takes ``registry`` just as well.
    """

    def __init__(
        self,
        instance_id: str,
        version: str,
        tenants: Iterable[str] = (),
        models: Iterable[str] = (),
        providers: Iterable[str] = (),
        *,
        targets: Iterable[tuple[str, str]] | None = None,
    ) -> None:
        """Arguments are those of :meth:`configure`."""
        self._routes: dict[tuple[str, str, str], RouteCells] = {}
        self._target_cells: dict[tuple[str, str], TargetCells] = {}
        self._provider_cells: dict[str, ProviderCells] = {}
        self._formatter = ReadyTextFormatter()

        self.registry = Registry()
        self.declared = Declarations(self.registry)
        self.process = ProcessMetrics(self.registry)
        self.declared.instance_info.labels(instance_id, version).set(1)
        self._configured: Configured | None = None
        self.configure(tenants, models, providers, targets=targets)

    def configure(
        self,
        tenants: Iterable[str],
        models: Iterable[str],
        providers: Iterable[str],
        *,
        targets: Iterable[tuple[str, str]] | None = None,
    ) -> None:
        """Know the names of a configuration too; what was known stays, for no counter may disappear.

        Args:
            models: the names and patterns of the configuration.
            targets: the (provider, model) pairs that it can route, by default every pair: they decide only which
                series exist at 0 from the start.
        """
        known = self._configured or Configured((), (), (), ())
        models, providers = tuple(models), tuple(providers)
        pairs = product(providers, models) if targets is None else targets
        self._know(
            Configured(
                tuple(dict.fromkeys((*known.tenants, *tenants)))[:MAX_TENANT_LABELS],
                tuple(dict.fromkeys((*known.models, *models))),
                tuple(dict.fromkeys((*known.providers, *providers))),
                tuple(dict.fromkeys((*known.targets, *pairs))),
            )
        )

    def know_tenants(self, tenants: Iterable[str]) -> None:
        """Know these tenants too, as far as there is room for labels."""
        self.configure(tenants, (), ())

    def _know(self, configured: Configured) -> None:
        if configured == self._configured:
            return
        self._configured = configured
        self._tenant_labels = frozenset((*configured.tenants, NONE))
        self._model_labels = frozenset((*configured.models, NONE))
        self._provider_labels = frozenset((*configured.providers, NONE))
        bind_known_series(self.declared, configured)

    def tenant_label(self, tenant_id: str) -> str:
        """The tenant's label: itself, ``none``, or ``other`` where it is unknown or beyond the first 200."""
        return tenant_id if tenant_id in self._tenant_labels else OTHER

    def model_label(self, name: str) -> str:
        """The model's label: the configuration's name or pattern, ``none``, or ``other``."""
        return name if name in self._model_labels else OTHER

    def provider_label(self, name: str) -> str:
        """The provider's label: the configuration's name, ``none``, or ``other``."""
        return name if name in self._provider_labels else OTHER

    def route(self, tenant: str, provider: str, model: str) -> RouteCells:
        """The cells of one tenant, provider and model; unknown names share the cells of ``other``."""
        cells = self._routes.get((tenant, provider, model))
        if cells is None:
            labels = self.tenant_label(tenant), self.provider_label(provider), self.model_label(model)
            cells = self._routes.get(labels)
            if cells is None:
                cells = self._routes[labels] = RouteCells(self.declared, *labels)
        return cells

    def target(self, provider: str, model: str) -> TargetCells:
        """The cells of one provider and model; unknown names share the cells of ``other``."""
        cells = self._target_cells.get((provider, model))
        if cells is None:
            labels = self.provider_label(provider), self.model_label(model)
            cells = self._target_cells.get(labels)
            if cells is None:
                cells = self._target_cells[labels] = TargetCells(self.declared, *labels)
        return cells

    def provider(self, provider: str) -> ProviderCells:
        """The cells of one provider; an unknown name shares those of ``other``."""
        cells = self._provider_cells.get(provider)
        if cells is None:
            label = self.provider_label(provider)
            cells = self._provider_cells.get(label)
            if cells is None:
                cells = self._provider_cells[label] = ProviderCells(self.declared, label)
        return cells

    def render(self, accept: Sequence[str] = ()) -> tuple[bytes, dict[str, str]]:
        """The scrape's body and headers; text format 0.0.4 whatever ``accept`` asks: there is no other."""
        return self._formatter.marshall(self.registry), self._formatter.get_headers()

    def slices(self) -> Iterator[bytes]:
        """The same body in pieces of about 1 ms of work: a scrape can let streams run in between."""
        return self._formatter.slices(self.registry)
