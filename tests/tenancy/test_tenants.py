"""Whose secret it is, until when, and for which models."""

import re
import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.errors import GatewayError
from gateway.tenancy.tenants import KeySettings, Tenant, Tenants, TenantSettings, hash_key, new_key

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC).timestamp()


class Calendar:
    """A wall clock that stands where the test puts it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def tenants(clock: Calendar | None = None) -> Tenants:
    """Two tenants; the second one's key ends with the year 2026."""
    return Tenants(
        [
            TenantSettings.model_validate(
                {"id": "acme", "keys": [{"id": "web", "hash": hash_key("agw-web")}], "models": ["gpt-*"]}
            ),
            TenantSettings.model_validate(
                {"id": "beta", "keys": [{"id": "app", "hash": hash_key("agw-app"), "expires": "2027-01-01"}]}
            ),
        ],
        clock or Calendar(NEW_YEAR - 1),
    )


def test_a_secret_leads_to_its_tenant_and_key() -> None:
    """Each key belongs to one tenant."""
    known = tenants()
    web, app = known.authenticate("agw-web"), known.authenticate("agw-app")
    assert (web.tenant.id, web.key.id, web.key.expires) == ("acme", "web", None)
    assert (app.tenant.id, app.key.id, app.key.expires) == ("beta", "app", NEW_YEAR)
    assert [t.id for t in known.all] == ["acme", "beta"]


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "malformed"),
        ("agw web", "malformed"),
        ("agw-web\n", "malformed"),
        ("agw-wéb", "malformed"),
        ("\x00", "malformed"),
        ("x" * 513, "malformed"),
        ("x" * 512, "not known"),
        ("agw-we", "not known"),
        ("agw-webb", "not known"),
        ("AGW-WEB", "not known"),
        (hash_key("agw-web"), "not known"),
    ],
)
def test_any_other_secret_is_refused(secret: str, why: str) -> None:
    """Malformed and unknown keys differ in their message; a hash opens nothing."""
    with pytest.raises(GatewayError, match=why) as refusal:
        tenants().authenticate(secret)
    assert refusal.value.code == "unauthorized"


@given(st.text(min_size=5))
def test_a_refusal_never_quotes_the_secret(secret: str) -> None:
    """Nothing of it reaches a log or a body."""
    with pytest.raises(GatewayError) as refusal:
        tenants().authenticate(f"agw-{secret}")
    assert f"agw-{secret}" not in str(refusal.value)


def test_a_key_ends_with_its_date() -> None:
    """Up to the last moment of the day before, and not at midnight UTC."""
    clock = Calendar(NEW_YEAR - 0.001)
    known = tenants(clock)
    assert known.authenticate("agw-app").tenant.id == "beta"
    clock.now = NEW_YEAR
    with pytest.raises(GatewayError, match="expired"):
        known.authenticate("agw-app")


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2027-01-01", NEW_YEAR),
        ("2027-01-01T00:00:00", NEW_YEAR),
        ("2027-01-01 01:00:00+01:00", NEW_YEAR),
        ("2026-12-31T23:59:59Z", NEW_YEAR - 1),
        (datetime(2027, 1, 1, tzinfo=UTC), NEW_YEAR),
        (datetime(2027, 1, 1, tzinfo=UTC).date(), NEW_YEAR),
    ],
)
def test_expiry_is_a_date_or_a_moment(written: object, moment: float) -> None:
    """Without a zone it is UTC."""
    key = KeySettings.model_validate({"id": "k", "hash": hash_key("x"), "expires": written})
    assert key.expires is not None and key.expires.timestamp() == moment


@pytest.mark.parametrize("written", ["tomorrow", "2027-13-01", 20270101, 1.5, True, ""])
def test_anything_else_is_no_expiry(written: object) -> None:
    """A number would be taken for seconds since 1970: refused."""
    with pytest.raises(ValidationError, match="must be a date or a moment"):
        KeySettings.model_validate({"id": "k", "hash": hash_key("x"), "expires": written})


@pytest.mark.parametrize("written", ["agw-secret", "sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 64, "0" * 64])
def test_only_hashes_are_kept(written: str) -> None:
    """A key in the clear is refused."""
    with pytest.raises(ValidationError, match="keygen"):
        KeySettings(id="k", hash=written)


@pytest.mark.parametrize(
    ("models", "name", "may"),
    [
        (("*",), "anything", True),
        (("gpt-*",), "gpt-4o", True),
        (("gpt-*",), "gpt-", True),
        (("gpt-*",), "claude", False),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("a", "b*", "c"), "bee", True),
        ((), "gpt-4o", False),
    ],
)
def test_the_allow_list_covers_names_and_prefixes(models: tuple[str, ...], name: str, may: bool) -> None:
    """An empty list allows nothing."""
    assert Tenant("t", models).may_use(name) is may


def test_new_keys_are_found_by_their_hash() -> None:
    """256 random bits, safe in a header and a URL, known by their prefix."""
    key = new_key(secrets.token_bytes(32))
    assert re.fullmatch(r"agw-[A-Za-z0-9_-]{43}", key)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", hash_key(key))
    known = Tenants([TenantSettings(id="t", keys=(KeySettings(id="k", hash=hash_key(key)),))], Calendar(NEW_YEAR))
    assert known.authenticate(key).key.id == "k"
    assert new_key(bytes(32)) != new_key(bytes(31) + b"\x01")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_keys_take_no_less_and_no_more(length: int) -> None:
    """32 bytes of randomness, exactly."""
    with pytest.raises(ValueError, match="32 random bytes"):
        new_key(bytes(length))


def test_a_hash_is_in_no_representation() -> None:
    """Settings that reach a log show no hash."""
    settings = TenantSettings(id="t", keys=(KeySettings(id="k", hash=hash_key("agw-x")),))
    assert hash_key("agw-x") not in repr(settings)
