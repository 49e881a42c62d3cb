"""What no single key can see: names that lead nowhere, things there twice, no price, what could never act."""

import math
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.config.explain import nearest
from gateway.config.mistakes import KeyPath, Mistake, dotted
from gateway.config.root import RootSettings
from gateway.core.pricing import PriceTable
from gateway.core.routing import ANY, ModelSettings, TargetSettings
from gateway.core.timeouts import merged
from gateway.tenancy.quotas import covers
from gateway.tenancy.tenants import TenantSettings
from gateway.tracing.settings import is_installed
from gateway.upstream.settings import UnfinishedSettings


@dataclass(frozen=True, slots=True)
class Whole:
    """What is checked: the valid parts, and enough of the rest to blame nobody twice.

    ``broken`` tells whether a section or an entry has mistakes of its own, ``tenant_positions`` is the place in
    the file of each valid tenant, ``line_of`` finds the line of a path.
    """

    root: RootSettings
    prices: PriceTable
    broken: Callable[[KeyPath], bool]
    tenant_positions: Sequence[int]
    line_of: Callable[[KeyPath], int | None]

    def mistake(self, path: KeyPath, message: str, hint: str | None = None) -> Mistake:
        return Mistake(dotted(path), message, hint=hint, line=self.line_of(path))


def cross_check(whole: Whole) -> list[Mistake]:
    """Return every mistake between keys."""
    found: list[Mistake] = []
    for name, provider in whole.root.providers.items():
        found += _ca_file(whole, name, provider.tls.ca_file)
        found += _unfinished(whole, name, provider.unfinished)
    for name, model in whole.root.models.items():
        found += _targets(whole, name, model)
        found += _weights(whole, name, model)
        found += _hedge(whole, name, model)
        found += _slow_first_token(whole, name, model)
    found += _tenants(whole)
    found += _admin_port(whole)
    found += _telemetry(whole)
    return found


def _ca_file(whole: Whole, provider: str, ca_file: str | None) -> Iterator[Mistake]:
    if ca_file is None:
        return
    path = ("providers", provider, "tls", "ca_file")
    try:
        ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        yield whole.mistake(path, f"{ca_file} holds no certificate: it must be a PEM file")
    except OSError as error:
        yield whole.mistake(path, f"{ca_file} cannot be read: {error.strerror or 'no such file'}")


def _unfinished(whole: Whole, provider: str, unfinished: UnfinishedSettings) -> Iterator[Mistake]:
    if unfinished.settle == "cancel":
        # who bounds a drain means to have one
        for key in ("max_tokens", "max_s"):
            if key in unfinished.model_fields_set:
                path = ("providers", provider, "unfinished", key)
                yield whole.mistake(path, "does nothing where settle is cancel: write settle: drain, or remove it")


def _targets(whole: Whole, name: str, model: ModelSettings) -> Iterator[Mistake]:
    providers = whole.root.providers
    first_at: dict[tuple[str, str], int] = {}
    dialects: dict[str, str] = {}
    for position, (provider, target_model) in enumerate(model.target_names):
        path = ("models", name, "targets", position)
        target = f"{provider}/{target_model}"
        if (provider, target_model) in first_at:
            yield whole.mistake(path, f"is {target} again, as targets.{first_at[provider, target_model]} is: keep one")
            continue
        first_at[provider, target_model] = position
        if provider in providers:
            dialects.setdefault(providers[provider].dialect, provider)
        elif not whole.broken(("providers", provider)):
            known = ", ".join(providers) or "none"
            yield whole.mistake(
                path,
                f"leads to the provider {provider}, which is not under providers (known: {known})",
                nearest(provider, providers),
            )
        if target_model != ANY or not name.endswith(ANY):
            yield from _price(whole, path, name if target_model == ANY else target_model, model)
    if len(dialects) > 1:
        both = " and ".join(f"{provider} speaks {dialect}" for dialect, provider in dialects.items())
        yield whole.mistake(
            ("models", name, "targets"),
            f"must be of one dialect, as requests are not translated, but {both}: make it two models",
        )


def _price(whole: Whole, path: KeyPath, target_model: str, model: ModelSettings) -> Iterator[Mistake]:
    if whole.broken(("pricing",)) or model.price or whole.root.pricing.fallback or whole.prices.lookup(target_model):
        return
    yield whole.mistake(
        path,
        f"has no price: {target_model} is not in the shipped table, so every request would be refused. Write "
        "price: {input: …, output: …} (USD per million tokens) for this model, or set pricing.unpriced",
    )


def _weights(whole: Whole, name: str, model: ModelSettings) -> Iterator[Mistake]:
    path: KeyPath = ("models", name, "targets")
    if model.balance == "weighted":
        if not any(model.weights):
            yield whole.mistake(path, "have weights that sum to nothing: give at least one of them a weight above 0")
        return
    for position, target in enumerate(model.targets):
        # a written 1 is what holds anyway
        if isinstance(target, TargetSettings) and target.weight != 1:
            yield whole.mistake(
                (*path, position, "weight"),
                f"does nothing where balance is {model.balance}: write balance: weighted, or remove it",
                "To use a target only when the others cannot serve, put it last." if target.weight == 0 else None,
            )


def _hedge(whole: Whole, name: str, model: ModelSettings) -> Iterator[Mistake]:
    if model.hedge is None:
        return
    path: KeyPath = ("models", name, "hedge")
    if len(model.targets) < 2:
        yield whole.mistake(path, "has no second target to start: add one to targets, or remove it")
    yield from _too_late(whole, (*path, "after_s"), model.hedge.after_s, model)


def _slow_first_token(whole: Whole, name: str, model: ModelSettings) -> Iterator[Mistake]:
    if model.slow_first_token_s is not None:
        yield from _too_late(whole, ("models", name, "slow_first_token_s"), model.slow_first_token_s, model)


def _too_late(whole: Whole, path: KeyPath, after_s: float, model: ModelSettings) -> Iterator[Mistake]:
    """Blame a time that is never reached, because a target without a first token is given up before.

    ``server.deadline_s`` bounds all attempts together, so it bounds each one too.
    """
    waits = [] if whole.broken(("server",)) else [(whole.root.server.deadline_s, "server.deadline_s")]
    overrides = model.timeouts is not None and "first_token_s" in model.timeouts.model_fields_set
    for provider, _ in model.target_names:
        if provider in whole.root.providers:
            timeouts = merged(whole.root.providers[provider].timeouts, model.timeouts)
            section = path[:2] if overrides else ("providers", provider)
            waits.append((timeouts.first_token_s, dotted((*section, "timeouts", "first_token_s"))))
    given_up_s, key = min(waits, default=(math.inf, ""))
    if after_s >= given_up_s:
        yield whole.mistake(
            path, f"is never reached, as {key} gives a target up after {given_up_s:g} s: write less than that"
        )


def _admin_port(whole: Whole) -> Iterator[Mistake]:
    port = whole.root.admin.port
    if port and port == whole.root.server.port and not whole.broken(("server",)):
        yield whole.mistake(("admin", "port"), "is server.port too: write another, or null to serve /admin there")


def _telemetry(whole: Whole) -> Iterator[Mistake]:
    if whole.root.telemetry.otlp_endpoint is not None and not is_installed():
        yield whole.mistake(
            ("telemetry", "otlp_endpoint"),
            "needs packages that are not installed: run pip install '.[otel]', or remove it",
        )


def _tenants(whole: Whole) -> Iterator[Mistake]:
    ids: dict[str, KeyPath] = {}
    hashes: dict[str, KeyPath] = {}
    for position, tenant in zip(whole.tenant_positions, whole.root.tenants, strict=True):
        path: KeyPath = ("tenants", position)
        if tenant.id in ids:
            yield whole.mistake((*path, "id"), f"is {tenant.id} again, as {dotted(ids[tenant.id])} is: rename one")
        ids.setdefault(tenant.id, (*path, "id"))
        yield from _keys(whole, path, tenant, hashes)
        yield from _model_limits(whole, path, tenant)


def _model_limits(whole: Whole, path: KeyPath, tenant: TenantSettings) -> Iterator[Mistake]:
    if whole.broken(("models",)) or any(whole.broken(("models", name)) for name in whole.root.models):
        return
    for pattern in tenant.model_limits:
        if not any(covers(pattern, label) for label in whole.root.models):
            known = ", ".join(whole.root.models) or "none"
            yield whole.mistake(
                (*path, "model_limits", pattern),
                f"limits no model: write a name under models, or a pattern that covers one (known: {known})",
                nearest(pattern, whole.root.models),
            )


def _keys(whole: Whole, path: KeyPath, tenant: TenantSettings, hashes: dict[str, KeyPath]) -> Iterator[Mistake]:
    ids: dict[str, KeyPath] = {}
    for position, key in enumerate(tenant.keys):
        at: KeyPath = (*path, "keys", position)
        if key.id in ids:
            yield whole.mistake((*at, "id"), f"is {key.id} again, as {dotted(ids[key.id])} is: rename one")
        ids.setdefault(key.id, (*at, "id"))
        if key.hash in hashes:
            yield whole.mistake(
                (*at, "hash"),
                f"is the same key as {dotted(hashes[key.hash])}: a key belongs to one place, make a new one",
            )
        hashes.setdefault(key.hash, (*at, "hash"))
