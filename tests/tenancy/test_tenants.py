"""Whose secret it is, until when, and for which models."""

import re
import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.errors import GatewayError
from gateway.tenancy.drafts import KeyTerms, TenantDraft
from gateway.tenancy.roll import HeldKey
from gateway.tenancy.tenants import KeySettings, Tenant, Tenants, TenantSettings, digest_of, hash_key, new_key

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


def configured(tenant_id: str, name: str | None = None, **secrets: str) -> TenantSettings:
    keys = [{"id": key_id, "hash": hash_key(secret)} for key_id, secret in secrets.items()]
    return TenantSettings.model_validate({"id": tenant_id, "name": name, "keys": keys})


def stored(tenant_id: str, key_id: str, secret: str) -> HeldKey:
    """A key of the database."""
    return HeldKey(tenant_id, key_id, ((digest_of(secret), None),), KeyTerms())


def opens(known: Tenants, secret: str) -> str | None:
    """Whose a secret is: ``tenant/key``, or nobody's."""
    try:
        identity = known.authenticate(secret)
    except GatewayError:
        return None
    return f"{identity.tenant.id}/{identity.key.id}"


def test_another_configuration_takes_the_place_of_the_first() -> None:
    """Tenants and keys come, change and go; who asked before keeps what they had."""
    known = Tenants([configured("a", k="1", l="2"), configured("b", k="3")], Calendar(0))
    running = known.authenticate("1")
    known.replace_config([configured("c", k="4"), configured("a", "new", k="1", m="3")])
    assert [opens(known, secret) for secret in "1234"] == ["a/k", None, "a/m", "c/k"]
    assert [one.id for one in known.all] == ["c", "a"]
    assert (running.tenant.name, known.authenticate("1").tenant.name) == (None, "new")
    known.replace_config([])
    assert [opens(known, secret) for secret in "1234"] == [None] * 4
    assert known.all == ()


def test_a_tenant_that_does_not_change_stays_the_object_that_it_is() -> None:
    """With all that its entitlement remembers, wherever it stands in the file."""
    known = Tenants([configured("a", k="1"), configured("b", k="2")], Calendar(0))
    a, b = known.all
    known.replace_config([configured("b", "new", k="2"), configured("a", k="1")])
    after = {one.id: one for one in known.all}
    assert list(after) == ["b", "a"] and after["a"] is a and after["b"] is not b


def test_tenants_of_the_database_stand_behind_those_of_the_configuration() -> None:
    """Each source is replaced by itself."""
    known = Tenants([configured("z", k="1")], Calendar(0))
    known.replace_database({"a": TenantDraft(id="a")}, [stored("a", "k", "2")])
    assert [one.id for one in known.all] == ["z", "a"]
    known.replace_config([configured("y", k="3")])
    assert [opens(known, secret) for secret in "123"] == [None, "a/k", "y/k"]
    known.replace_database({"b": TenantDraft(id="b")}, [stored("b", "k", "4")])
    assert [opens(known, secret) for secret in "1234"] == [None, None, "y/k", "b/k"]


@pytest.mark.parametrize("config_first", [True, False])
def test_of_two_tenants_with_one_id_the_configurations_is_the_one(
    config_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever came first; the other is back when that goes, and one warning tells of it."""
    known = Tenants([configured("a", k="1")] if config_first else [], Calendar(0))
    known.replace_database({"a": TenantDraft(id="a", name="stored")}, [stored("a", "l", "2")])
    if not config_first:
        assert opens(known, "2") == "a/l"
        known.replace_config([configured("a", k="1")])
    assert [opens(known, secret) for secret in "12"] == ["a/k", None]
    assert [one.name for one in known.all] == [None]
    known.change_database({"b": TenantDraft(id="b")}, [])
    assert list(known.conflicts) == ["a"] and caplog.text.count("gateway.yaml has a tenant of this id") == 1
    known.replace_config([])
    assert [opens(known, secret) for secret in "12"] == [None, "a/l"]
    assert (known.conflicts, [one.name for one in known.all]) == ({}, ["stored", None])


def test_of_two_keys_with_one_secret_the_configurations_is_the_one(caplog: pytest.LogCaptureFixture) -> None:
    """The other keys of that tenant go on."""
    known = Tenants([configured("a", k="1")], Calendar(0))
    known.replace_database({"b": TenantDraft(id="b")}, [stored("b", "same", "1"), stored("b", "own", "2")])
    assert [opens(known, secret) for secret in "12"] == ["a/k", "b/own"]
    sentence = "A secret of the database's key b/same is left out: gateway.yaml has it as a/k."
    assert known.conflicts == {"b": f"{sentence} Remove that, or revoke this one."}
    assert caplog.text.count(sentence) == 1


def test_a_key_without_its_tenant_opens_nothing() -> None:
    """Its settings could not be read, perhaps."""
    known = Tenants([], Calendar(0))
    known.change_database({}, [stored("a", "k", "1")])
    assert opens(known, "1") is None
    known.change_database({"a": TenantDraft(id="a")}, [])
    assert opens(known, "1") == "a/k"
