"""One request for every operation of the API that succeeds on a fresh house, in an order in which all do."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request for an operation."""

    operation: str
    variables: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None


BETA = {"tenant_id": "beta"}
KEY = {**BETA, "key_id": "web"}

EVERY: tuple[Asked, ...] = (
    Asked("create_tenant", body={"id": "beta", "name": "Beta", "budget": {"usd": 0.1, "window": "day"}}),
    Asked("list_tenants", query={"limit": "1", "after": "acme"}),
    Asked("get_tenant", BETA),
    Asked("replace_tenant", BETA, body={"limits": {"requests_per_minute": 5, "burst": 2}, "models": ["gpt-*"]}),
    Asked("create_key", BETA, body={"id": "web", "label": "for the web", "expires": "2099-01-01"}),
    Asked("list_keys", BETA, query={"limit": "10"}),
    Asked("replace_key", KEY, body={"id": "web", "budget": {"usd": "2.5", "timezone": "Asia/Tokyo"}}),
    Asked("rotate_key", KEY, body={"grace_s": 60}),
    Asked("get_spending", BETA),
    Asked("get_usage", query={"by": "tenant,day,tag:team", "from": "2026-01-01", "to": "2026-12-31T00:00:00Z"}),
    Asked("export_ledger", query={"format": "csv", "tenant": "beta"}),
    Asked("list_providers"),
    Asked("drain_provider", {"name": "near"}),
    Asked("undrain_provider", {"name": "near"}),
    Asked("reset_provider", {"name": "far"}),
    Asked("get_config"),
    Asked("validate_config", body={"yaml": "server: {port: 1}"}),
    Asked("reload_config"),
    Asked("revoke_key", KEY),
    Asked("delete_tenant", BETA),
    Asked("list_audit", query={"limit": "3"}),
    Asked("get_openapi"),
)
