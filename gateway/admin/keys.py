"""Keys of tenants over HTTP: list, make, change, rotate, revoke. A secret is shown once, when it is made."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.admin.access import Role
from gateway.admin.figures import Iso, iso_or_none
from gateway.admin.operation import Call, Nothing, Operation
from gateway.admin.tenants import PATH, PageQuery
from gateway.core.quantity import NotSwitch
from gateway.core.settings import Settings
from gateway.tenancy.directory import MOST_GRACE_S, Directory
from gateway.tenancy.drafts import KeyDraft
from gateway.tenancy.quotas import BudgetSettings, LimitSettings
from gateway.tenancy.records import KeyRecord

GRACE_S: Final = 3600.0


class SecretAnswer(Settings):
    """One secret of a key, never the secret itself."""

    fingerprint: str
    """The first digits of its SHA-256, to know it again."""
    created_at: Iso | None
    """When it was made; null of the configuration's."""
    ends_at: Iso | None
    """When it stops to open anything; null: it does not end by itself."""


class KeySettingsAnswer(Settings):
    """What was said of a key: what PUT takes."""

    id: str
    """Its id within its tenant."""
    label: str | None
    """What it is for, for people."""
    expires: Iso | None
    """From this moment on it is refused; null: it does not expire."""
    limits: LimitSettings | None
    """How often and how much at once, within what its tenant may; null: as its tenant."""
    budget: BudgetSettings | None
    """How much may be spent with it, within what its tenant may; null: as its tenant."""


class KeyAnswer(Settings):
    """One key."""

    id: str
    """Its id within its tenant."""
    tenant_id: str
    """Whose it is."""
    source: Literal["config", "database"]
    """Where it is kept: those of gateway.yaml (config) are changed there."""
    settings: KeySettingsAnswer
    """What was said of it: what PUT takes."""
    secrets: tuple[SecretAnswer, ...]
    """Its secrets, the newest first; a revoked key has none."""
    created_at: Iso | None
    """When it was made; null of the configuration's."""
    updated_at: Iso | None
    """When it was last changed; null of the configuration's."""
    revoked_at: Iso | None
    """When it was revoked, for ever; null: it is not."""
    unreadable: str | None
    """Why its settings are not taken, so that it opens nothing."""


class KeysAnswer(Settings):
    """Keys of a tenant, in the order of their ids, revoked ones too."""

    keys: tuple[KeyAnswer, ...]
    """Keys."""
    next_after: str | None
    """What to send as `after` to go on; null: there are no more."""


class NewSecretAnswer(Settings):
    """A key with its new secret, which nobody can ever look up again."""

    key: KeyAnswer
    """The key."""
    secret: str
    """What clients send: shown once, here."""


class Rotation(Settings):
    """How a key is rotated."""

    grace_s: Annotated[float, Field(ge=0, le=MOST_GRACE_S, allow_inf_nan=False), NotSwitch] = GRACE_S
    """Seconds that the secrets before are still good for; 0: they end at once."""


class KeyPages:
    """Shows and changes keys."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        some = PATH + "/{tenant_id}/keys"
        one = some + "/{key_id}"
        return (
            Operation(
                "list_keys",
                "GET",
                some,
                "Keys of a tenant, never their secrets",
                Role.VIEWER,
                self.list,
                PageQuery,
                Nothing,
                KeysAnswer,
            ),
            Operation(
                "create_key",
                "POST",
                some,
                "Make a key; its secret is shown once",
                Role.ADMIN,
                self.create,
                Nothing,
                KeyDraft,
                NewSecretAnswer,
                status=201,
                fails=("conflict",),
            ),
            Operation(
                "replace_key",
                "PUT",
                one,
                "Give a key another expiry, label, limits and budget; its secrets stay",
                Role.ADMIN,
                self.replace,
                Nothing,
                KeyDraft,
                KeyAnswer,
                fails=("conflict",),
                named_by="key_id",
            ),
            Operation(
                "revoke_key",
                "DELETE",
                one,
                "Revoke a key and all its secrets, at once and for ever",
                Role.ADMIN,
                self.revoke,
                Nothing,
                Nothing,
                None,
                status=204,
                fails=("conflict",),
            ),
            Operation(
                "rotate_key",
                "POST",
                one + "/rotate",
                "Give a key a new secret, shown once; those before are good for a while",
                Role.ADMIN,
                self.rotate,
                Nothing,
                Rotation,
                NewSecretAnswer,
                fails=("conflict",),
            ),
        )

    async def list(self, call: Call[PageQuery, Nothing]) -> KeysAnswer:
        """List a part of them."""
        limit, after = call.query.limit, call.query.after
        found = await self._directory.keys(call.path["tenant_id"], after, limit + 1)
        more = len(found) > limit
        return KeysAnswer(keys=tuple(map(_told, found[:limit])), next_after=found[limit - 1].id if more else None)

    async def create(self, call: Call[Nothing, KeyDraft]) -> NewSecretAnswer:
        """Make one."""
        record, secret = await self._directory.create_key(call.caller.name, call.path["tenant_id"], call.body)
        return NewSecretAnswer(key=_told(record), secret=secret)

    async def replace(self, call: Call[Nothing, KeyDraft]) -> KeyAnswer:
        """Change one."""
        path = call.path
        return _told(await self._directory.replace_key(call.caller.name, path["tenant_id"], path["key_id"], call.body))

    async def revoke(self, call: Call[Nothing, Nothing]) -> None:
        """Revoke one."""
        await self._directory.revoke_key(call.caller.name, call.path["tenant_id"], call.path["key_id"])

    async def rotate(self, call: Call[Nothing, Rotation]) -> NewSecretAnswer:
        """Make a new secret for one."""
        path, grace_s = call.path, call.body.grace_s
        record, secret = await self._directory.rotate_key(call.caller.name, path["tenant_id"], path["key_id"], grace_s)
        return NewSecretAnswer(key=_told(record), secret=secret)


def _told(record: KeyRecord) -> KeyAnswer:
    return KeyAnswer(
        id=record.id,
        tenant_id=record.tenant_id,
        source=record.source,
        settings=KeySettingsAnswer(
            id=record.id,
            label=record.label,
            expires=iso_or_none(record.expires_at_us),
            limits=record.limits,
            budget=record.budget,
        ),
        secrets=tuple(
            SecretAnswer(
                fingerprint=one.fingerprint,
                created_at=iso_or_none(one.created_at_us),
                ends_at=iso_or_none(one.ends_at_us),
            )
            for one in record.secrets
        ),
        created_at=iso_or_none(record.created_at_us),
        updated_at=iso_or_none(record.updated_at_us),
        revoked_at=iso_or_none(record.revoked_at_us),
        unreadable=record.unreadable,
    )
