"""Tenants and their keys: who a secret belongs to and which models they may use."""

import hashlib
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.core.clock import WallClock
from gateway.core.errors import GatewayError
from gateway.core.routing import Identifier
from gateway.tenancy.drafts import KeyTerms, Moment, TenantDraft
from gateway.tenancy.roll import UNLIMITED, HeldKey, Key, Roll, Tenant

__all__ = [
    "KEY_ENTROPY_BYTES",
    "KEY_PREFIX",
    "UNLIMITED",
    "Identity",
    "Key",
    "KeySettings",
    "Tenant",
    "TenantSettings",
    "Tenants",
    "digest_of",
    "hash_key",
    "new_key",
]

KEY_PREFIX = "agw-"
"""Starts every key that :func:`new_key` makes, so that secret scanners can know it."""

KEY_ENTROPY_BYTES = 32

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_SECRET = re.compile(r"[\x21-\x7e]{1,512}")

log = logging.getLogger("gateway")


def _check_hash(value: str) -> str:
    if _HASH.fullmatch(value) is None:
        raise ValueError("must be sha256: and 64 lower-case hex digits; aigateway keygen prints a key and its hash")
    return value


class KeySettings(KeyTerms):
    """One key of a tenant; only its hash is kept."""

    id: Identifier
    """Name of the key in logs; unique within its tenant."""
    hash: Annotated[str, AfterValidator(_check_hash)] = Field(repr=False)
    """sha256:<64 hex digits> of the whole key, as aigateway keygen prints it."""
    expires: Moment = None
    """From this moment on the key is refused; a date is its first instant in UTC."""

    @property
    def digest(self) -> bytes:
        """The hash as bytes."""
        return bytes.fromhex(self.hash.removeprefix("sha256:"))


class TenantSettings(TenantDraft):
    """One tenant: somebody whose requests are counted together."""

    keys: tuple[KeySettings, ...] = ()
    """The keys that authenticate it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking, and with which of their keys."""

    tenant: Tenant
    key: Key


class Tenants:
    """Finds the tenant of a secret, in memory: of the configuration's tenants, then of the database's.

    Secrets are looked up by the digest of the whole, so its time says nothing about the keys that exist. Where both
    sources have a tenant of the same id, or the same secret, the configuration's is the one.

    Args:
        settings: the configuration's tenants; their ids and hashes are unique.
        wall_clock: Unix time, for expiry.
    """

    def __init__(self, settings: Iterable[TenantSettings], wall_clock: WallClock) -> None:
        self._wall_clock = wall_clock
        self._settings: dict[str, TenantSettings] = {}
        self._config = Roll()
        self._database = Roll()
        self._conflicts: dict[str, str] = {}
        self.replace_config(settings)

    @property
    def all(self) -> tuple[Tenant, ...]:
        """Every tenant: in the configuration's order, then the database's."""
        config = self._config.tenants
        return (*config.values(), *(one for one in self._database.tenants.values() if one.id not in config))

    @property
    def config(self) -> Mapping[str, TenantSettings]:
        """The configuration's tenants by id, in its order."""
        return self._settings

    @property
    def conflicts(self) -> Mapping[str, str]:
        """What is left out of the database's tenants, because the configuration has it too: sentences by tenant."""
        return self._conflicts

    def replace_config(self, settings: Iterable[TenantSettings]) -> None:
        """Take in another configuration. A tenant whose settings are equal stays the object that it is."""
        before, self._settings = self._settings, {one.id: one for one in settings}
        changed = {
            tenant_id: self._settings.get(tenant_id)
            for tenant_id in {**self._settings, **before}
            if self._settings.get(tenant_id) != before.get(tenant_id)
        }
        self._config.change(changed, _held(changed, before))
        self._config.sort(self._settings)
        self._tell_conflicts()

    def replace_database(self, tenants: Mapping[str, TenantDraft], keys: Iterable[HeldKey]) -> None:
        """Take in all that the database has."""
        self._database = Roll()
        self.change_database(tenants, keys)

    def change_database(self, tenants: Mapping[str, TenantDraft | None], keys: Iterable[HeldKey]) -> None:
        """Take in what is new in the database: tenants (None: gone) and keys (without secrets: gone)."""
        self._database.change(tenants, keys)
        self._tell_conflicts()

    def authenticate(self, secret: str) -> Identity:
        """Return who a secret belongs to.

        Raises:
            GatewayError: ``unauthorized``, for a malformed, an unknown or an expired key; never quotes it.
        """
        if _SECRET.fullmatch(secret) is None:
            raise GatewayError(
                "unauthorized",
                "The API key is malformed: send 1 to 512 printable ASCII characters without spaces.",
            )
        identity = self._find(digest_of(secret))
        if identity is None:
            raise GatewayError("unauthorized", "The API key is not known here. Check it, or ask your operator for one.")
        if identity.key.expires is not None and self._wall_clock() >= identity.key.expires:
            raise GatewayError("unauthorized", "The API key has expired. Ask your operator for a new one.")
        return identity

    def _find(self, digest: bytes) -> Identity | None:
        held = self._config.by_digest.get(digest)
        if held is not None:
            return Identity(self._config.tenants[held[0]], held[1])
        held = self._database.by_digest.get(digest)
        if held is None or held[0] in self._config.tenants:
            return None
        tenant = self._database.tenants.get(held[0])
        return None if tenant is None else Identity(tenant, held[1])

    def _tell_conflicts(self) -> None:
        config, database = self._config, self._database
        found: dict[str, str] = {}
        for tenant_id in config.tenants.keys() & database.tenants.keys():
            found[tenant_id] = (
                f"The database's tenant {tenant_id} is left out: gateway.yaml has a tenant of this id. Rename that, or "
                "delete this one."
            )
        for digest in config.by_digest.keys() & database.by_digest.keys():
            (its_tenant, its_key), (tenant_id, key) = config.by_digest[digest], database.by_digest[digest]
            found.setdefault(
                tenant_id,
                f"A secret of the database's key {tenant_id}/{key.id} is left out: gateway.yaml has it as "
                f"{its_tenant}/{its_key.id}. Remove that, or revoke this one.",
            )
        for tenant_id, sentence in found.items():
            if self._conflicts.get(tenant_id) != sentence:
                log.warning("%s", sentence)
        self._conflicts = found


def _held(changed: Mapping[str, TenantSettings | None], before: Mapping[str, TenantSettings]) -> list[HeldKey]:
    """Return the keys of changed tenants, with those that are gone."""
    gone = [
        HeldKey(tenant_id, key.id, (), key)
        for tenant_id, now in changed.items()
        if tenant_id in before
        for key in before[tenant_id].keys
        if now is None or key.id not in {one.id for one in now.keys}
    ]
    there = [
        HeldKey(tenant_id, key.id, ((key.digest, key.expires.timestamp() if key.expires else None),), key)
        for tenant_id, now in changed.items()
        if now is not None
        for key in now.keys
    ]
    return gone + there


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret: all that is ever kept of it."""
    return hashlib.sha256(secret.encode()).digest()


def hash_key(secret: str) -> str:
    """Return what the configuration keeps of a key: ``sha256:`` and the hex digest of the whole key."""
    return f"sha256:{digest_of(secret).hex()}"


def new_key(random_bytes: bytes) -> str:
    """Make a key of 32 random bytes: ``agw-`` and 43 URL-safe characters (RFC 4648, section 5), 256 bits.

    Raises:
        ValueError: for any other number of bytes.
    """
    if len(random_bytes) != KEY_ENTROPY_BYTES:
        raise ValueError(f"a key takes {KEY_ENTROPY_BYTES} random bytes, not {len(random_bytes)}")
    return KEY_PREFIX + urlsafe_b64encode(random_bytes).rstrip(b"=").decode()
