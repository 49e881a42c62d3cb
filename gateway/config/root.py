"""The whole of ``gateway.yaml`` as one model."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.admin.settings import AdminSettings
from gateway.core.pricing import PricingSettings
from gateway.core.routing import Identifier, ModelPattern, ModelSettings
from gateway.core.settings import Settings
from gateway.proxy.settings import OpsSettings, ServerSettings
from gateway.stores.settings import LedgerSettings, StoresSettings
from gateway.tenancy.tenants import TenantSettings
from gateway.tracing.settings import TelemetrySettings
from gateway.upstream.settings import ProviderSettings


def _freeze_providers(found: Mapping[str, ProviderSettings]) -> Mapping[str, ProviderSettings]:
    return MappingProxyType(dict(found))


def _freeze_models(found: Mapping[str, ModelSettings]) -> Mapping[str, ModelSettings]:
    return MappingProxyType(dict(found))


class RootSettings(Settings):
    """gateway.yaml: every section may be left out."""

    server: ServerSettings = ServerSettings()
    """The listening side."""
    ops: OpsSettings = OpsSettings()
    """Health and metrics."""
    providers: Annotated[Mapping[Identifier, ProviderSettings], AfterValidator(_freeze_providers)] = Field(
        default_factory=dict
    )
    """Where requests can go, by a name of your choice."""
    models: Annotated[Mapping[ModelPattern, ModelSettings], AfterValidator(_freeze_models)] = Field(
        default_factory=dict
    )
    """What clients may ask for: names, or patterns with a * at the end; the longest match wins."""
    tenants: tuple[TenantSettings, ...] = ()
    """Who may ask."""
    stores: StoresSettings = StoresSettings()
    """Where state lives that outlives a request."""
    ledger: LedgerSettings = LedgerSettings()
    """How spending is written down, and for how long."""
    admin: AdminSettings = AdminSettings()
    """The API for operators."""
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    """Traces, beside the metrics that are always there."""
    pricing: PricingSettings = PricingSettings()
    """What happens where no price is known."""
