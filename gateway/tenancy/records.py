"""Tenants and keys as operators see them, and how the rows of the database are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic import ValidationError

from gateway.stores.sql.directory import KeyRow, TenantRow
from gateway.tenancy.drafts import KeyDraft, KeyTerms, TenantDraft
from gateway.tenancy.quotas import BudgetSettings, LimitSettings
from gateway.tenancy.roll import HeldKey
from gateway.tenancy.tenants import KeySettings, TenantSettings

Source = Literal["config", "database"]

FINGERPRINT_DIGITS: Final = 8
"""Hex digits of a secret's SHA-256 that are shown: enough to know it again, of no use to anybody else."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Unreadable(Exception):
    """Stored settings that this version does not take; says what is wrong, and no value."""


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """One tenant.

    Attributes:
        settings: None where they cannot be read.
        created_at_us: None of the configuration's; so is ``updated_at_us``.
        conflict: what the database has of this id and is left out, because ``gateway.yaml`` has the same.
        unreadable: why the database's settings are not taken; then nobody gets in.
    """

    id: str
    source: Source
    settings: TenantDraft | None
    created_at_us: int | None = None
    updated_at_us: int | None = None
    conflict: str | None = None
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """One secret of a key, by the first digits of its SHA-256; ``ends_at_us`` None: it does not end by itself."""

    fingerprint: str
    created_at_us: int | None = None
    ends_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key.

    Attributes:
        secrets: the newest first; none of a revoked key.
        created_at_us: None of the configuration's; so is ``updated_at_us``.
        unreadable: why the database's settings are not taken; then it opens nothing.
    """

    tenant_id: str
    id: str
    source: Source
    label: str | None
    expires_at_us: int | None
    limits: LimitSettings | None
    budget: BudgetSettings | None
    secrets: tuple[SecretRecord, ...]
    created_at_us: int | None = None
    updated_at_us: int | None = None
    revoked_at_us: int | None = None
    unreadable: str | None = None


def read_tenant(row: TenantRow) -> TenantDraft:
    """Return a stored tenant's settings.

    Raises:
        Unreadable: an older or newer version, or a hand, wrote something else.
    """
    try:
        draft = TenantDraft.model_validate_json(row.settings)
    except ValidationError as error:
        raise Unreadable(_first_mistake(error)) from None
    if draft.id != row.tenant_id:
        raise Unreadable("id: is another than that of its row")
    return draft


def read_key(row: KeyRow) -> HeldKey:
    """Return a stored key as it is held in memory; without secrets where it is revoked.

    Raises:
        Unreadable: as of :func:`read_tenant`.
    """
    try:
        secrets = tuple(
            (_digest(one.digest), seconds(_earlier(one.ends_at_us, row.expires_at_us))) for one in row.secrets
        )
        return HeldKey(row.tenant_id, row.key_id, secrets, KeyTerms.model_validate_json(row.settings))
    except ValidationError as error:
        raise Unreadable(_first_mistake(error)) from None


def tenant_record(row: TenantRow, conflict: str | None) -> TenantRecord:
    """Return what operators see of a stored tenant."""
    settings, unreadable = None, None
    try:
        settings = read_tenant(row)
    except Unreadable as error:
        unreadable = str(error)
    return TenantRecord(row.tenant_id, "database", settings, row.created_at_us, row.updated_at_us, conflict, unreadable)


def key_record(row: KeyRow) -> KeyRecord:
    """Return what operators see of a stored key."""
    terms, unreadable = KeyTerms(), None
    try:
        terms = read_key(row).terms
    except Unreadable as error:
        unreadable = str(error)
    return KeyRecord(
        row.tenant_id,
        row.key_id,
        "database",
        row.label,
        row.expires_at_us,
        terms.limits,
        terms.budget,
        tuple(SecretRecord(one.digest[:FINGERPRINT_DIGITS], one.created_at_us, one.ends_at_us) for one in row.secrets),
        row.created_at_us,
        row.updated_at_us,
        row.revoked_at_us,
        unreadable,
    )


def config_tenant_record(settings: TenantSettings, conflict: str | None) -> TenantRecord:
    """Return what operators see of a tenant in ``gateway.yaml``."""
    draft = TenantDraft.model_validate(settings.model_dump(exclude={"keys"}, exclude_unset=True))
    return TenantRecord(settings.id, "config", draft, conflict=conflict)


def config_key_record(tenant_id: str, key: KeySettings) -> KeyRecord:
    """Return what operators see of a key in ``gateway.yaml``."""
    secret = SecretRecord(key.digest.hex()[:FINGERPRINT_DIGITS])
    return KeyRecord(tenant_id, key.id, "config", None, microseconds(key.expires), key.limits, key.budget, (secret,))


def stored_tenant(draft: TenantDraft) -> dict[str, Any]:
    """Return what is stored of a tenant: what was said, so that a later version's defaults hold for the rest."""
    return draft.model_dump(mode="json", exclude_unset=True)


def stored_terms(draft: KeyDraft) -> dict[str, Any]:
    """Return what is stored of a key's limits and budget."""
    return draft.model_dump(mode="json", exclude_unset=True, include={"limits", "budget"})


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return each field that differs, with its value before and after; None where there was or is none."""
    return {
        name: {"old": before.get(name), "new": after.get(name)}
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def microseconds(moment: datetime | None) -> int | None:
    """Return a moment as microseconds since the epoch, exactly."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def iso(at_us: int | None) -> str | None:
    """Return microseconds since the epoch as people read them, in UTC; as they are where no calendar has them."""
    if at_us is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=at_us)).isoformat()
    except OverflowError:
        return str(at_us)


def seconds(at_us: int | None) -> float | None:
    """Return microseconds since the epoch as Unix time."""
    return None if at_us is None else at_us / 1_000_000


def _earlier(one_us: int | None, other_us: int | None) -> int | None:
    return min((at_us for at_us in (one_us, other_us) if at_us is not None), default=None)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Unreadable("secrets: one of them is no SHA-256 in hex")
    return digest


def _first_mistake(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The name of a field that is not known is whatever somebody wrote: it reaches a log.
    where = ".".join(map(str, details["loc"])) or "settings"
    return f"{ascii(where)[1:-1][:100]}: {details['msg'].removeprefix('Value error, ')}"
