"""The tenants of one source in memory, changed piece by piece, so that a change costs what it changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.routing import ANY
from gateway.tenancy.drafts import KeyTerms, TenantDraft
from gateway.tenancy.quotas import BudgetSettings, Entitlement, LimitSettings

UNLIMITED = Entitlement("")
"""Of a tenant that nothing is said about."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """An authenticated tenant; ``models`` are names and patterns with ``*`` at the end."""

    id: str
    models: tuple[str, ...] = (ANY,)
    name: str | None = None
    entitlement: Entitlement = field(default=UNLIMITED, repr=False, compare=False)
    _exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _prefixes: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exact", frozenset(m for m in self.models if not m.endswith(ANY)))
        object.__setattr__(self, "_prefixes", tuple(m[:-1] for m in self.models if m.endswith(ANY)))

    def may_use(self, model_name: str) -> bool:
        """Tell whether the allow-list covers a model by the name that was asked for."""
        return model_name in self._exact or model_name.startswith(self._prefixes)


@dataclass(frozen=True, slots=True)
class Key:
    """One key; ``expires`` in Unix seconds, None for never."""

    id: str
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key as it is held in memory.

    Attributes:
        secrets: the SHA-256 of each secret, and when it ends (Unix seconds, None: never); none at all: the key is
            gone.
    """

    tenant_id: str
    id: str
    secrets: tuple[tuple[bytes, float | None], ...] = field(repr=False)
    terms: KeyTerms


class Roll:
    """Tenants by id, and their keys by digest.

    Attributes:
        tenants: in the order in which they came.
        by_digest: the tenant's id and the key of each secret. The tenant may be missing: then the key opens nothing.
    """

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.by_digest: dict[bytes, tuple[str, Key]] = {}
        self._drafts: dict[str, TenantDraft] = {}
        self._digests: dict[tuple[str, str], tuple[bytes, ...]] = {}
        self._limited: dict[str, dict[str, tuple[LimitSettings | None, BudgetSettings | None]]] = {}

    def change(self, tenants: Mapping[str, TenantDraft | None], keys: Iterable[HeldKey]) -> None:
        """Take in what is new of some tenants (None: gone) and of some keys; all others stay the objects they are."""
        for tenant_id, draft in tenants.items():
            if draft is None:
                self._drafts.pop(tenant_id, None)
            else:
                self._drafts[tenant_id] = draft
        keys = list(keys)
        for key in keys:
            # All, before any is written: a secret may have moved from one of them to another.
            for digest in self._digests.pop((key.tenant_id, key.id), ()):
                del self.by_digest[digest]
        stale = dict.fromkeys([*tenants, *(key.tenant_id for key in keys if self._relimit(key))])
        for key in keys:
            if key.secrets:
                self._digests[key.tenant_id, key.id] = tuple(digest for digest, _ in key.secrets)
            for digest, ends_s in key.secrets:
                self.by_digest[digest] = (key.tenant_id, Key(key.id, ends_s))
        for tenant_id in stale:
            self._remake(tenant_id)

    def sort(self, order: Iterable[str]) -> None:
        """Put the tenants into an order, which names all of them."""
        self.tenants = {tenant_id: self.tenants[tenant_id] for tenant_id in order}

    def _relimit(self, key: HeldKey) -> bool:
        """Note what a key may use, and tell whether that is another thing than before."""
        mine = self._limited.setdefault(key.tenant_id, {})
        before = mine.pop(key.id, None)
        terms = (key.terms.limits, key.terms.budget)
        after = terms if key.secrets and terms != (None, None) else None
        if after is not None:
            mine[key.id] = after
        if not mine:
            del self._limited[key.tenant_id]
        return before != after

    def _remake(self, tenant_id: str) -> None:
        draft = self._drafts.get(tenant_id)
        if draft is None:
            self.tenants.pop(tenant_id, None)
            return
        keys = dict(self._limited.get(tenant_id, {}))
        entitlement = Entitlement(tenant_id, draft.limits, draft.budget, keys, draft.model_limits)
        self.tenants[tenant_id] = Tenant(tenant_id, draft.models, draft.name, entitlement)
