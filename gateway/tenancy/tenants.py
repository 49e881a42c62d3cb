"""Tenants and their keys: who a secret belongs to and which models they may use."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.core.clock import WallClock
from gateway.core.errors import GatewayError
from gateway.core.routing import ANY, Identifier, ModelPattern
from gateway.core.settings import Settings
from gateway.tenancy.quotas import Entitlement, LimitSettings

KEY_PREFIX = "agw-"
"""Starts every key that :func:`new_key` makes, so that secret scanners can know it."""

KEY_ENTROPY_BYTES = 32

UNLIMITED = Entitlement("")
"""Of a tenant that nothing is said about."""

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_SECRET = re.compile(r"[\x21-\x7e]{1,512}")


def _check_hash(value: str) -> str:
    if _HASH.fullmatch(value) is None:
        raise ValueError("must be sha256: and 64 lower-case hex digits; aigateway keygen prints a key and its hash")
    return value


def _as_moment(value: object) -> object:
    if isinstance(value, str):
        try:
            whole_day = len(value) == len("2027-01-01")
            value = date.fromisoformat(value) if whole_day else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a date or a moment: 2027-01-01 or 2027-01-01T12:00:00+00:00") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if value is None:
        return None
    raise ValueError("must be a date or a moment: 2027-01-01 or 2027-01-01T12:00:00+00:00")


class KeySettings(Settings):
    """One key of a tenant; only its hash is kept."""

    id: Identifier
    """Name of the key in logs; unique within its tenant."""
    hash: Annotated[str, AfterValidator(_check_hash)] = Field(repr=False)
    """sha256:<64 hex digits> of the whole key, as aigateway keygen prints it."""
    expires: Annotated[datetime | None, BeforeValidator(_as_moment)] = None
    """From this moment on the key is refused; a date is its first instant in UTC."""
    limits: LimitSettings | None = None
    """How often and how much at once with this key, within what its tenant may."""


class TenantSettings(Settings):
    """One tenant: somebody whose requests are counted together."""

    id: Identifier
    """Name in metrics and logs; unique."""
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Name for people."""
    keys: tuple[KeySettings, ...] = ()
    """The keys that authenticate it."""
    models: tuple[ModelPattern, ...] = (ANY,)
    """Which models it may use: names, or patterns with a * at the end."""
    limits: LimitSettings | None = None
    """How often and how much at once, all its keys together."""
    model_limits: Mapping[ModelPattern, LimitSettings] = Field(default_factory=dict)
    """The same for single models, by their configured names, or by patterns: then for each model that matches."""

    @property
    def entitlement(self) -> Entitlement:
        """What it may use, ready to be asked for each request."""
        keys = {key.id: (key.limits, None) for key in self.keys if key.limits is not None}
        return Entitlement(self.id, self.limits, keys=keys, models=self.model_limits)


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
class Identity:
    """Who is asking, and with which of their keys."""

    tenant: Tenant
    key: Key


class Tenants:
    """Finds the tenant of a secret.

    Secrets are looked up by the digest of the whole, so its time says nothing about the keys that exist.

    Args:
        settings: tenants whose ids and hashes are unique.
        wall_clock: Unix time, for expiry.
    """

    def __init__(self, settings: Iterable[TenantSettings], wall_clock: WallClock) -> None:
        self._wall_clock = wall_clock
        self._by_digest: dict[bytes, Identity] = {}
        tenants = []
        for one in settings:
            tenant = Tenant(id=one.id, models=one.models, name=one.name, entitlement=one.entitlement)
            tenants.append(tenant)
            for key in one.keys:
                digest = bytes.fromhex(key.hash.removeprefix("sha256:"))
                expires = key.expires.timestamp() if key.expires else None
                self._by_digest[digest] = Identity(tenant, Key(key.id, expires))
        self._tenants = tuple(tenants)

    @property
    def all(self) -> tuple[Tenant, ...]:
        """Every tenant, in the configuration's order."""
        return self._tenants

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
        identity = self._by_digest.get(_digest(secret))
        if identity is None:
            raise GatewayError("unauthorized", "The API key is not known here. Check it, or ask your operator for one.")
        if identity.key.expires is not None and self._wall_clock() >= identity.key.expires:
            raise GatewayError("unauthorized", "The API key has expired. Ask your operator for a new one.")
        return identity


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def hash_key(secret: str) -> str:
    """Return what the configuration keeps of a key: ``sha256:`` and the hex digest of the whole key."""
    return f"sha256:{_digest(secret).hex()}"


def new_key(random_bytes: bytes) -> str:
    """Make a key of 32 random bytes: ``agw-`` and 43 URL-safe characters (RFC 4648, section 5), 256 bits.

    Raises:
        ValueError: for any other number of bytes.
    """
    if len(random_bytes) != KEY_ENTROPY_BYTES:
        raise ValueError(f"a key takes {KEY_ENTROPY_BYTES} random bytes, not {len(random_bytes)}")
    return KEY_PREFIX + urlsafe_b64encode(random_bytes).rstrip(b"=").decode()
