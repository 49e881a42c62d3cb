"""Who asks for something of the admin API, and whether they may."""

import hmac
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from aiohttp import web
from pydantic import SecretStr

from gateway.admin.refusals import AdminError
from gateway.admin.settings import AdminSettings


class Role(IntEnum):
    """What somebody may do: each role may what the one before it may."""

    VIEWER = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a key; ``name`` is who the audit says it was."""

    role: Role
    name: str


_ADMIN = Caller(Role.ADMIN, "admin key")
_VIEWER = Caller(Role.VIEWER, "viewer key")
_NO_DIGEST = bytes(sha256().digest_size)
"""Compared with where there is no key, so that it takes equally long. No secret is known to have it."""


class Access:
    """Knows callers by their keys.

    Only digests are kept and compared, each in constant time, and always both: how long it takes says nothing of
    the keys, nor of which one was meant.
    """

    def __init__(self, settings: AdminSettings) -> None:
        self._digests = [(_digest(settings.key), _ADMIN), (_digest(settings.viewer_key), _VIEWER)]
        self._is_open = settings.key is not None or settings.viewer_key is not None

    def identify(self, request: web.BaseRequest) -> Caller:
        """Return who asks.

        Raises:
            AdminError: ``admin_closed`` where no key is configured, ``unauthorized`` for none, a wrong one or several.
        """
        if not self._is_open:
            raise AdminError(
                "admin_closed",
                "The admin API is closed, because it has no key. Set admin.key in gateway.yaml, or, where that says "
                "${ADMIN_KEY:-}, the environment variable ADMIN_KEY, to 16 or more characters, and start again.",
            )
        given = sha256(_credential(request)).digest()
        matching = [caller for digest, caller in self._digests if hmac.compare_digest(digest or _NO_DIGEST, given)]
        if not matching:
            raise _unauthorized("This key is not known here.")
        return matching[0]


def _digest(key: SecretStr | None) -> bytes | None:
    return sha256(key.get_secret_value().encode()).digest() if key is not None else None


def _credential(request: web.BaseRequest) -> bytes:
    given = request.headers.getall("Authorization", [])
    if len(given) + len(request.headers.getall("x-api-key", [])) > 1:
        raise _unauthorized("More than one credential was sent. Send exactly one.")
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("Send the admin key, or the viewer key, as `Authorization: Bearer KEY`.")
    # aiohttp hands over bytes that are not UTF-8 as lone surrogates, which encode() alone refuses
    return token.strip().encode("utf-8", "surrogateescape")


def _unauthorized(message: str) -> AdminError:
    return AdminError("unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
