"""Who may: exactly one bearer token, compared in constant time; without a key, nobody."""

import contextlib
import hmac
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from pydantic import SecretStr

from gateway.admin.access import Access, Role
from gateway.admin.refusals import AdminError
from gateway.admin.settings import AdminSettings

ADMIN, VIEWER = "admin-key-0123456789", "viewer-key-0123456789"
BOTH = AdminSettings(key=SecretStr(ADMIN), viewer_key=SecretStr(VIEWER))


def ask(access: Access, *headers: tuple[str, str]) -> tuple[str, Role]:
    """Name and role of whoever sends these headers."""
    caller = access.identify(make_mocked_request("GET", "/admin/tenants", CIMultiDict(headers)))
    return caller.name, caller.role


def refused(access: Access, *headers: tuple[str, str]) -> AdminError:
    """How they are refused."""
    with pytest.raises(AdminError) as refusal:
        ask(access, *headers)
    return refusal.value


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_a_key_has_its_role(scheme: str) -> None:
    """The scheme in any case (RFC 9110, section 11.1)."""
    access = Access(BOTH)
    assert ask(access, ("Authorization", scheme + ADMIN)) == ("admin key", Role.ADMIN)
    assert ask(access, ("Authorization", scheme + VIEWER)) == ("viewer key", Role.VIEWER)


WRONG: dict[str, tuple[tuple[str, str], ...]] = {
    "none": (),
    "empty": (("Authorization", ""),),
    "a scheme alone": (("Authorization", "Bearer "),),
    "another scheme": (("Authorization", f"Basic {ADMIN}"),),
    "no scheme": (("Authorization", ADMIN),),
    "a wrong key": (("Authorization", f"Bearer {ADMIN}x"),),
    "the beginning of a key": (("Authorization", f"Bearer {ADMIN[:-1]}"),),
    "two keys": (("Authorization", f"Bearer {ADMIN}, Bearer {VIEWER}"),),
    "the same twice": (("Authorization", f"Bearer {ADMIN}"), ("Authorization", f"Bearer {ADMIN}")),
    "two headers": (("Authorization", f"Bearer {ADMIN}"), ("x-api-key", ADMIN)),
    "the header of SDKs": (("x-api-key", ADMIN),),
}


@pytest.mark.parametrize("case", WRONG)
def test_everybody_else_is_refused(case: str) -> None:
    """401, with the scheme to use and without what was sent."""
    error = refused(Access(BOTH), *WRONG[case])
    assert (error.kind.status, error.answer.error.code) == (401, "unauthorized")
    assert error.headers["WWW-Authenticate"] == "Bearer"
    assert ADMIN not in error.answer.error.message


@pytest.mark.parametrize("headers", [(), (("Authorization", "Bearer "),), (("Authorization", f"Bearer {ADMIN}"),)])
def test_without_a_key_nobody_may(headers: tuple[tuple[str, str], ...]) -> None:
    """403 and how to open it, whatever is sent."""
    error = refused(Access(AdminSettings()), *headers)
    assert (error.kind.status, error.answer.error.code) == (403, "admin_closed")
    assert "admin.key" in error.answer.error.message and "ADMIN_KEY" in error.answer.error.message


def test_one_key_is_enough() -> None:
    """The other one then is nobody's, not even the empty one's."""
    alone = Access(AdminSettings(viewer_key=SecretStr(VIEWER)))
    assert ask(alone, ("Authorization", f"Bearer {VIEWER}")) == ("viewer key", Role.VIEWER)
    assert refused(alone, ("Authorization", f"Bearer {ADMIN}")).kind.status == 401
    assert refused(alone, ("Authorization", "Bearer \0")).kind.status == 401


@pytest.mark.parametrize("token", [ADMIN, VIEWER, "wrong", "x" * 10_000])
def test_every_comparison_is_made_whatever_was_sent(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both keys, as digests of one length, in constant time: the first that fits ends nothing."""
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def noted(one: Any, other: Any) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr("gateway.admin.access.hmac.compare_digest", noted)
    for access in (Access(BOTH), Access(AdminSettings(key=SecretStr(ADMIN)))):
        lengths.clear()
        with contextlib.suppress(AdminError):
            ask(access, ("Authorization", f"Bearer {token}"))
        assert lengths == [(32, 32), (32, 32)]
