"""From a document to the immutable :class:`Config` that the gateway starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gateway.admin.settings import AdminSettings
from gateway.config.crosscheck import Whole, cross_check
from gateway.config.document import Document, read_document
from gateway.config.explain import Explainer
from gateway.config.mistakes import ConfigError, KeyPath, Mistake
from gateway.config.refused import refused, without_refused
from gateway.config.root import RootSettings
from gateway.core.pricing import Price, PriceTable
from gateway.core.routing import ModelTable
from gateway.proxy.settings import OpsSettings, ServerSettings
from gateway.stores.settings import LedgerSettings, StoresSettings
from gateway.tenancy.tenants import TenantSettings
from gateway.tracing.settings import TelemetrySettings
from gateway.upstream.settings import ProviderSettings


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was decided before the start; ``source`` is the file, or what stands for it."""

    source: str
    server: ServerSettings
    ops: OpsSettings
    providers: Mapping[str, ProviderSettings]
    models: ModelTable
    tenants: tuple[TenantSettings, ...]
    prices: PriceTable
    stores: StoresSettings
    ledger: LedgerSettings
    admin: AdminSettings
    telemetry: TelemetrySettings


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: with every mistake in it.
    """
    source = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(source, [Mistake("", f"is not UTF-8 text (byte {error.start})")]) from None
    except OSError as error:
        raise ConfigError(source, [Mistake("", f"cannot be read: {error.strerror}")]) from None
    return assemble(read_document(text, environ), source)


def assemble(document: Document, source: str) -> Config:
    """Check a document and build what the gateway starts from.

    Raises:
        ConfigError: with every mistake in it.
    """
    prices = shipped_prices()
    mistakes = [*document.mistakes, *refused(document)]
    tree = {key: value for key, value in without_refused(document.tree).items() if value is not None}
    document = replace(document, tree=tree)
    broken: set[KeyPath] = set()
    try:
        root = RootSettings.model_validate(document.tree)
    except ValidationError as error:
        mistakes += Explainer(RootSettings).explain(error, document)
        broken = {_item_of(details["loc"]) for details in error.errors(include_url=False, include_input=False)}
        root = RootSettings.model_validate(_without(document.tree, broken))
    mistakes += cross_check(_whole(root, prices, broken, document))
    if mistakes:
        raise ConfigError(source, sorted(mistakes, key=lambda m: m.line or 0))
    return Config(
        source=source,
        server=root.server,
        ops=root.ops,
        providers=root.providers,
        models=ModelTable(
            root.models,
            {name: provider.dialect for name, provider in root.providers.items()},
            prices,
            root.pricing.fallback,
        ),
        tenants=root.tenants,
        prices=prices,
        stores=root.stores,
        ledger=root.ledger,
        admin=root.admin,
        telemetry=root.telemetry,
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``gateway.yaml``, as ``check --schema`` prints it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RootSettings.model_json_schema()}


@cache
def shipped_prices() -> PriceTable:
    """Read the price table that comes with the package, once: it stays what it is while the package does."""
    text = resources.files("gateway").joinpath("data/prices.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    prices = {name: Price.model_validate(price) for name, price in table["models"].items()}
    as_of = table["as_of"]
    if not isinstance(as_of, date):
        raise ValueError("prices.yaml: as_of must be a date")  # noqa: TRY004 (a wrong value)
    return PriceTable(prices, as_of)


def _item_of(loc: KeyPath) -> KeyPath:
    """Return the smallest part of the file that can be left out so that the rest is still checked."""
    return loc[:2] if loc[0] in {"providers", "models", "tenants"} else loc[:1]


def _without(tree: Mapping[str, object], broken: set[KeyPath]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for section, value in tree.items():
        if (section,) in broken:
            continue
        if isinstance(value, dict):
            kept[section] = {k: v for k, v in value.items() if (section, k) not in broken}
        elif isinstance(value, list):
            kept[section] = [v for i, v in enumerate(value) if (section, i) not in broken]
        else:
            kept[section] = value
    return kept


def _whole(root: RootSettings, prices: PriceTable, broken: set[KeyPath], document: Document) -> Whole:
    tenants = document.tree.get("tenants")
    count = len(tenants) if isinstance(tenants, list) and ("tenants",) not in broken else 0
    return Whole(
        root=root,
        prices=prices,
        broken=lambda path: path in broken or path[:1] in broken,
        tenant_positions=[i for i in range(count) if ("tenants", i) not in broken],
        line_of=document.lines.get,
    )
