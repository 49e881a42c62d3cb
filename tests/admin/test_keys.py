"""Keys over HTTP: a secret is seen once, rotates with grace, ends at its time, and is gone when revoked."""

import json

import pytest

from gateway.core.errors import GatewayError
from gateway.tenancy.tenants import hash_key
from tests.admin.house import CONFIG_SECRET, House, error_of

KEYS = "/admin/tenants/beta/keys"


@pytest.fixture
async def beta(house: House) -> House:
    """With a tenant in the database."""
    assert (await house.post("/admin/tenants", {"id": "beta"})).status == 201
    return house


def opens(house: House, secret: str) -> str | None:
    """The key that a secret opens with, None where it opens nothing."""
    try:
        return house.tenants.authenticate(secret).key.id
    except GatewayError:
        return None


async def test_a_secret_is_shown_once(beta: House) -> None:
    """In the answer that makes it, and nowhere after; it opens at once."""
    made = await beta.post(KEYS, {"id": "web", "label": "for the web"})
    assert made.status == 201
    secret = made.json()["secret"]
    assert opens(beta, secret) == "web"
    digest = hash_key(secret).removeprefix("sha256:")
    for path in (KEYS, "/admin/tenants/beta", "/admin/audit", "/admin/tenants/beta/spending"):
        text = (await beta.get(path)).body.decode()
        assert secret not in text and digest not in text
    (listed,) = (await beta.get(KEYS)).json()["keys"]
    assert listed == made.json()["key"]
    assert listed["settings"] == {"id": "web", "label": "for the web", "expires": None, "limits": None, "budget": None}
    assert digest.startswith(listed["secrets"][0]["fingerprint"]) and len(listed["secrets"][0]["fingerprint"]) == 8


async def test_the_configuration_s_keys_are_shown_without_their_hash(house: House) -> None:
    """With as much of it as tells them apart."""
    answer = await house.get("/admin/tenants/acme/keys")
    (one,) = answer.json()["keys"]
    assert (one["id"], one["source"], one["settings"]["budget"]["usd"]) == ("web", "config", "1")
    assert hash_key(CONFIG_SECRET).removeprefix("sha256:")[:16] not in answer.body.decode()


async def test_a_rotated_key_opens_with_both_for_a_while(beta: House) -> None:
    """To the moment; then with the new one alone."""
    old = await beta.secret_of("beta")
    answer = await beta.post(f"{KEYS}/k/rotate", {"grace_s": 60})
    new = answer.json()["secret"]
    assert (answer.status, len(answer.json()["key"]["secrets"])) == (200, 2)
    assert (opens(beta, old), opens(beta, new)) == ("k", "k")
    beta.now_s += 59.9
    assert (opens(beta, old), opens(beta, new)) == ("k", "k")
    beta.now_s += 0.1
    assert (opens(beta, old), opens(beta, new)) == (None, "k")


async def test_no_grace_ends_the_old_one_at_once_and_none_named_is_an_hour(beta: House) -> None:
    """The body may be left out."""
    old = await beta.secret_of("beta")
    new = (await beta.post(f"{KEYS}/k/rotate", {"grace_s": 0})).json()["secret"]
    assert (opens(beta, old), opens(beta, new)) == (None, "k")
    beta.now_s += 60
    newest = await beta.post(f"{KEYS}/k/rotate")
    ends = newest.json()["key"]["secrets"][1]["ends_at"]
    assert ends == "2026-09-21T15:14:20.250000Z"


@pytest.mark.parametrize("grace_s", [-1, 1e300, "soon", None, True, 90 * 86_400 + 1])
async def test_a_grace_that_cannot_be_is_refused(beta: House, grace_s: object) -> None:
    """And nothing has been rotated."""
    secret = await beta.secret_of("beta")
    answer = await beta.post(f"{KEYS}/k/rotate", {"grace_s": grace_s})
    assert (answer.status, error_of(answer)["param"]) == (400, "grace_s")
    assert len((await beta.get(KEYS)).json()["keys"][0]["secrets"]) == 1
    assert opens(beta, secret) == "k"


async def test_a_revoked_key_is_gone_for_ever(beta: House) -> None:
    """With the secrets in grace; its id is not given again, and it can be neither changed nor rotated."""
    old = await beta.secret_of("beta")
    new = (await beta.post(f"{KEYS}/k/rotate")).json()["secret"]
    answer = await beta.delete(f"{KEYS}/k")
    assert (answer.status, answer.body) == (204, b"")
    assert (opens(beta, old), opens(beta, new)) == (None, None)
    (one,) = (await beta.get(KEYS)).json()["keys"]
    assert (one["revoked_at"], one["secrets"]) == ("2026-09-21T14:13:20.250000Z", [])
    for method, path, body in (
        ("POST", KEYS, {"id": "k"}),
        ("PUT", f"{KEYS}/k", {}),
        ("POST", f"{KEYS}/k/rotate", {}),
    ):
        answer = await beta.ask(method, path, body)
        assert (answer.status, error_of(answer)["code"]) == (409, "conflict")


async def test_a_key_expires_and_may_be_given_more_time(beta: House) -> None:
    """A date is its first instant in UTC; what was read can be written again."""
    secret = await beta.secret_of("beta", expires="2026-09-22")
    beta.now_s += 35_000
    assert opens(beta, secret) == "k"
    beta.now_s += 10_000
    assert opens(beta, secret) is None
    settings = (await beta.get(KEYS)).json()["keys"][0]["settings"]
    assert settings["expires"] == "2026-09-22T00:00:00.000000Z"
    answer = await beta.put(f"{KEYS}/k", {**settings, "expires": "2026-10-01T02:00:00+02:00"})
    assert answer.json()["settings"]["expires"] == "2026-10-01T00:00:00.000000Z"
    assert opens(beta, secret) == "k"


async def test_limits_and_budgets_of_a_key_hold_at_once(beta: House) -> None:
    """As scopes of the requests that it authenticates; PUT is the whole of it."""
    secret = await beta.secret_of("beta", limits={"concurrent": 3}, budget={"usd": 2})
    scopes = beta.tenants.authenticate(secret).tenant.entitlement.scopes("k", "gpt")
    assert [(one.key, one.limits and one.limits.concurrent) for one in scopes] == [("key/beta/k", 3)]
    assert (await beta.put(f"{KEYS}/k", {"label": "free"})).json()["settings"]["budget"] is None
    assert beta.tenants.authenticate(secret).tenant.entitlement.scopes("k", "gpt") == ()


@pytest.mark.parametrize(
    ("draft", "param"),
    [
        ({}, "id"),
        ({"id": "../x"}, "id"),
        ({"id": "k", "expires": "tomorrow"}, "expires"),
        ({"id": "k", "expires": "2020-01-01"}, "expires"),
        ({"id": "k", "label": ""}, "label"),
        ({"id": "k", "label": "two\nlines"}, "label"),
        ({"id": "k", "secret": "agw-mine"}, "secret"),
        ({"id": "k", "budget": {"usd": -1}}, "budget.usd"),
    ],
    ids=range(8),
)
async def test_what_cannot_be_a_key_is_refused(beta: House, draft: dict[str, object], param: str) -> None:
    """By its field; no key is made."""
    answer = await beta.post(KEYS, draft)
    assert (answer.status, error_of(answer)["param"]) == (400, param)
    assert (await beta.get(KEYS)).json() == {"keys": [], "next_after": None}


async def test_keys_of_nobody_are_not_there(house: House) -> None:
    """404 for the tenant, 404 for the key."""
    assert (await house.post("/admin/tenants/beta/keys", {"id": "k"})).status == 404
    await house.post("/admin/tenants", {"id": "beta"})
    for method, path in (("PUT", "k"), ("DELETE", "k"), ("POST", "k/rotate")):
        answer = await house.ask(method, f"{KEYS}/{path}", {} if method != "DELETE" else None)
        assert (answer.status, error_of(answer)["code"]) == (404, "not_found")


async def test_pages_of_keys_join_without_a_seam(beta: House) -> None:
    """Revoked ones among them."""
    ids = [f"k{n}" for n in range(5)]
    for one in ids:
        await beta.post(KEYS, {"id": one})
    await beta.delete(f"{KEYS}/k1")
    first = (await beta.get(f"{KEYS}?limit=3")).json()
    second = (await beta.get(f"{KEYS}?limit=3&after={first['next_after']}")).json()
    assert [one["id"] for one in first["keys"] + second["keys"]] == ids
    assert (first["next_after"], second["next_after"]) == ("k2", None)


async def test_every_write_is_in_the_audit_and_no_secret(beta: House) -> None:
    """Neither whole nor hashed."""
    secret = await beta.secret_of("beta")
    new = (await beta.post(f"{KEYS}/k/rotate", {"grace_s": 1})).json()["secret"]
    await beta.put(f"{KEYS}/k", {"label": "x"})
    await beta.delete(f"{KEYS}/k")
    actions = [(action, subject) for _, action, subject in (await beta.audited())[1:]]
    assert actions == [(f"key.{verb}", "key/beta/k") for verb in ("create", "rotate", "replace", "revoke")]
    text = json.dumps((await beta.get("/admin/audit")).json())
    for one in (secret, new):
        assert one not in text and hash_key(one)[7:] not in text
