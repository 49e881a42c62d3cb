"""Which series exist at 0 before anything happened: no panel is empty, and `rate()` sees the first event."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from math import prod

from gateway.core.outcome import Outcome
from gateway.metrics.collectors import AnyFamily, BoundCounter, BoundGauge
from gateway.metrics.declarations import ATTEMPT_RESULTS, NONE, OTHER, REFUSALS, STORE_OPS, TRANSITIONS, Declarations

MAX_KNOWN_SERIES = 5_000
"""Lines of counters and histograms made beforehand; what lies beyond appears when it is first bound."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The closed sets that label values come from.

    ``targets`` are (provider, model) pairs; ``moves`` are pairs of providers that serve one model.
    """

    tenants: tuple[str, ...]
    models: tuple[str, ...]
    providers: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]

    @property
    def moves(self) -> tuple[tuple[str, str], ...]:
        by_model: dict[str, list[str]] = {}
        for provider, model in self.targets:
            by_model.setdefault(model, []).append(provider)
        pairs = (pair for providers in by_model.values() for pair in permutations(dict.fromkeys(providers), 2))
        return tuple(dict.fromkeys(pairs))


def bind_known_series(declared: Declarations, configured: Configured) -> None:
    """Bind gauges (not those of budgets), then counters and histograms in the order of `_rank` while there is room."""
    room = MAX_KNOWN_SERIES
    for family in sorted(declared.families(), key=_rank):
        if family in declared.budgets:
            continue
        if family is declared.requests:
            rows = _request_labels(configured)
        elif family is declared.circuit_transitions:
            rows = ((provider, *change) for provider, change in product(configured.providers, TRANSITIONS))
        elif family is declared.store_seconds:
            rows = iter(STORE_OPS)
        else:
            rows = _known_labels(family, configured)
        for values in rows:
            if not isinstance(family, BoundGauge):
                room -= family.lines_per_cell
                if room < 0:
                    return
            family.labels(*values)


def _rank(family: AnyFamily) -> tuple[bool, bool, bool, int]:
    """Gauges, counters, histograms; of each kind the products with all tenants last, the largest one last."""
    words = prod(len(values) for values in family.words.values())
    return (
        not isinstance(family, BoundGauge),
        not isinstance(family, BoundCounter),
        "tenant_id" in family.label_names,
        words,
    )


def _known_labels(family: AnyFamily, configured: Configured) -> Iterator[tuple[str, ...]]:
    """Every combination of a metric's labels that the configuration and its declared words make possible."""
    names = set(family.label_names)
    axes: list[tuple[dict[str, str], ...]] = []
    if "tenant_id" in names:
        axes.append(tuple({"tenant_id": tenant} for tenant in configured.tenants))
    if {"provider", "model"} <= names:
        axes.append(tuple({"provider": provider, "model": model} for provider, model in configured.targets))
    elif "provider" in names:
        axes.append(tuple({"provider": provider} for provider in configured.providers))
    elif {"from", "to"} <= names:
        axes.append(tuple({"from": left, "to": taken} for left, taken in configured.moves))
    elif "model" in names:
        axes.append(tuple({"model": model} for model in configured.models))
    axes += [tuple({label: word} for word in words) for label, words in family.words.items()]
    for combination in product(*axes):
        row = {label: value for part in combination for label, value in part.items()}
        # a label that neither a configuration nor a vocabulary bounds has no series to foresee
        if row.keys() == names:
            yield tuple(row[label] for label in family.label_names)


def _request_labels(configured: Configured) -> Iterator[tuple[str, ...]]:
    """As `_known_labels`, less what cannot be: a refusal names no provider, an attempt names one."""
    anonymous = Outcome.UNAUTHORIZED
    for status in REFUSALS:
        yield NONE, NONE, NONE, status
    served = [outcome for outcome in ATTEMPT_RESULTS if outcome is not Outcome.HEDGE_LOST]
    for tenant in configured.tenants:
        for provider, model in configured.targets:
            yield from ((tenant, provider, model, status) for status in served)
        for model in (*configured.models, OTHER):
            yield from ((tenant, NONE, model, status) for status in REFUSALS if status is not anonymous)
