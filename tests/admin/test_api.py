"""What holds for every route: who may, what an answer carries, and that nothing of ours shows when something fails."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from gateway.admin.settings import AdminSettings
from gateway.core.quota import QuotasUnavailable
from gateway.stores.sql.group import DatabaseDown
from tests.admin.house import ADMIN_KEY, VIEWER_KEY, House, error_of, open_house
from tests.raw_client import RawClient, request_wire

DEEP = b'{"id": ' + b"[" * 5000 + b"]" * 5000 + b"}"
HUGE = b'{"id": "' + b"x" * (1024 * 1024) + b'"}'
SECRET = "agw-never-shown"


def raised(error: Exception) -> Callable[..., NoReturn]:
    """Something that fails."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


async def test_without_a_key_everything_is_closed(migrated: Path) -> None:
    """403 that says how to open it, on every route, on none, and whatever is sent along."""
    async with open_house(migrated, settings=AdminSettings()) as house:
        paths = {operation.path.replace("{", "").replace("}", "") for operation in house.table.operations}
        for path in sorted(paths | {"/admin", "/admin/", "/admin/nothing"}):
            for key in (None, ADMIN_KEY, ""):
                answer = await house.ask("GET", path, key=key)
                assert (answer.status, error_of(answer)["code"]) == (403, "admin_closed")
        assert "admin.key" in error_of(answer)["message"]


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/nothing", "/admin/tenants/", "/admin//tenants", "/"])
async def test_what_is_not_there(house: House, path: str) -> None:
    """404 for those who may know, 401 for others; the same for every method."""
    for method in ("GET", "POST", "DELETE", "PATCH"):
        answer = await house.ask(method, path)
        assert (answer.status, error_of(answer)["code"]) == (404, "not_found")
        assert (await house.ask(method, path, key="wrong")).status == 401


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/admin/tenants", "GET, HEAD, POST"),
        ("/admin/tenants/acme", "GET, HEAD, DELETE, PUT"),
        ("/admin/tenants/acme/keys/web", "DELETE, PUT"),
        ("/admin/config/reload", "POST"),
        ("/admin/openapi.json", "GET, HEAD"),
    ],
)
async def test_wrong_methods_are_told_the_right_ones(house: House, path: str, allowed: str) -> None:
    """405 and `Allow`, and no permission for other origins."""
    for method in ("PATCH", "OPTIONS", "PROPFIND"):
        answer = await house.ask(method, path, None, ("Origin", "http://elsewhere"))
        assert (answer.status, answer.head.get("allow")) == (405, allowed)
        assert error_of(answer)["code"] == "method_not_allowed"
        assert not [name for name, _ in answer.head.headers if name.lower().startswith("access-control")]


async def test_head_is_get_without_the_body(house: House) -> None:
    """The same head, not a byte behind it; a file is not even made."""
    for path in ("/admin/tenants", "/admin/ledger?format=csv", "/admin/tenants/nobody"):
        bearer = ("Authorization", f"Bearer {ADMIN_KEY}")
        async with await RawClient.connect(house.url) as client:
            await client.send(request_wire("HEAD", path, ("Host", "g"), bearer))
            alone = await client.answer_head()
            await client.send(request_wire("GET", path, ("Host", "g"), bearer))
            answer = await client.answer()
        ours = {"content-length", "transfer-encoding", "date", "x-request-id"}
        assert alone.status == answer.status
        assert {n.lower() for n, _ in alone.headers} - ours == {n.lower() for n, _ in answer.head.headers} - ours
        assert answer.body


async def test_keys_change_at_once(house: House) -> None:
    """A reload brings others: the old ones are nobody's from then on."""
    new = "another-key-0123456789"
    house.admin.configure(AdminSettings(key=SecretStr(new)))
    assert (await house.get("/admin/tenants")).status == 401
    assert (await house.get("/admin/tenants", key=VIEWER_KEY)).status == 401
    assert (await house.get("/admin/tenants", key=new)).status == 200
    house.admin.configure(AdminSettings())
    assert (await house.get("/admin/tenants", key=new)).status == 403


@pytest.mark.parametrize("token", [b"\xff\xfe", b"a, Bearer b", b"\xc3\xbc" * 10, b"x" * 7000], ids=range(4))
async def test_any_bytes_may_be_a_wrong_key(house: House, token: bytes) -> None:
    """401 all the same."""
    head = b"GET /admin/tenants HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
    async with await RawClient.connect(house.url) as client:
        await client.send(head)
        assert (await client.answer()).status == 401


async def test_two_credentials_are_none(house: House) -> None:
    """Even if each would do."""
    for header in (("Authorization", f"Bearer {ADMIN_KEY}"), ("x-api-key", ADMIN_KEY)):
        answer = await house.get("/admin/tenants", header)
        assert (answer.status, answer.head.get("www-authenticate")) == (401, "Bearer")


BODIES: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"{", 400),
    "no object": (b"[1]", 400),
    "a key twice": (b'{"id": "a", "id": "b"}', 400),
    "too deep": (DEEP, 400),
    "too large": (HUGE, 413),
    "a huge number": (b'{"id": "a", "limits": {"concurrent": 99999999999999999999}}', 400),
    "a name that marks keys": (b'{"id": "a", "[key]": 1}', 400),
    "a name that is empty": (b'{"id": "a", "": 1}', 400),
    "a name of control characters": (b'{"id": "a", "\\u0000\\n\\u001b[31m": 1}', 400),
    "a name without end": (b'{"id": "a", "' + b"n" * 500_000 + b'": 1}', 400),
    "thousands of names": (b'{"id": "a"' + b"".join(b', "n%d": 1' % n for n in range(50_000)) + b"}", 400),
    "nothing": (b"", 400),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("path", ["/admin/tenants", "/admin/tenants/acme/keys"])
async def test_no_body_is_too_bad_for_an_answer(house: House, path: str, case: str) -> None:
    """Short, whole, and nothing is made of it."""
    body, status = BODIES[case]
    answer = await house.post(path, body, ("Content-Type", "application/json"))
    assert answer.status == status
    assert error_of(answer)["message"]
    assert len(answer.body) < 200_000
    assert await house.audited() == []


async def test_every_mistake_of_a_body_is_told_at_once(house: House) -> None:
    """By its key, with what is allowed and the nearest valid name."""
    document = {"id": "Acme Inc", "budjet": {"usd": 1}, "limits": {"concurrent": -1, "tokens_per_minut": 5}}
    error = await house.post("/admin/tenants", document)
    assert error_of(error)["param"] == "id"
    told = {one["key"]: one["message"] for one in error.json()["mistakes"]}
    assert set(told) == {"id", "budjet", "limits.concurrent", "limits.tokens_per_minut"}
    assert "Did you mean budget?" in told["budjet"]
    assert "Did you mean tokens_per_minute?" in told["limits.tokens_per_minut"]
    assert "from 1 to 1000000000 or null; found -1" in told["limits.concurrent"]


@pytest.mark.parametrize("verb", ["read", "write"])
async def test_a_database_that_is_away_is_a_clear_503(
    house: House, verb: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On every route that asks it, with nothing of the driver's words; operators read more in the log."""
    monkeypatch.setattr(type(house.database), verb, raised(DatabaseDown("sqlite gone: /var/secret/path")))
    asked = {
        "read": ["/admin/tenants", "/admin/usage", "/admin/audit", "/admin/ledger?format=csv", "/admin/ledger"],
        "write": [],
    }[verb]
    for path in asked:
        answer = await house.get(path)
        assert (answer.status, error_of(answer)["code"]) == (503, "database_down")
        assert "secret" not in answer.body.decode()
        assert answer.head.get("retry-after") == "1"
    if verb == "write":
        for path, body in (
            ("/admin/tenants", {"id": "b"}),
            ("/admin/providers/near/drain", {}),
            ("/admin/config/reload", {}),
        ):
            answer = await house.post(path, body)
            assert (answer.status, error_of(answer)["code"]) == (503, "database_down")
        # What cannot be written down is not done.
        assert (house.providers.orders, house.configuration.reloads) == ([], 0)
    assert "sqlite gone" in caplog.text
    assert (await house.get("/admin/providers")).status == 200


async def test_quotas_that_are_away_are_a_clear_503(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spending cannot be told then; anything else can."""
    monkeypatch.setattr(type(house.quotas), "standing", raised(QuotasUnavailable()))
    answer = await house.get("/admin/tenants/acme/spending")
    assert (answer.status, error_of(answer)["code"]) == (503, "store_down")
    assert (await house.get("/admin/tenants/acme")).status == 200


async def test_a_failure_of_ours_shows_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 and the id to look for; where it was goes to the log, the exception's own words nowhere."""
    monkeypatch.setattr(type(house.directory), "tenants", raised(RuntimeError(SECRET)))
    answer = await house.get("/admin/tenants")
    assert (answer.status, error_of(answer)["code"]) == (500, "internal")
    told = answer.body.decode() + caplog.text
    assert SECRET not in told and "RuntimeError" in caplog.text
    assert (answer.head.get("x-request-id") or "none") in caplog.text
    assert "Traceback" not in answer.body.decode() and "house.py" not in answer.body.decode()


NASTY = [
    "'; DROP TABLE tenants; --",
    '" OR "1"="1',
    "acme' UNION SELECT digest FROM key_secrets --",
    "a\r\nadmin: forged by the admin key: 200",
    "\0",
    "../../etc/passwd",
    "${ADMIN_KEY}",
    "%s%n{0}",
    "ü" * 100,
    "\u202e\u2028",
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_no_text_is_more_than_a_text(house: House, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """As an id, a name, a parameter: refused, not found or empty; no table is gone and no log forged."""
    caplog.set_level(logging.DEBUG)
    await house.post("/admin/tenants", {"id": "beta"})
    there = quote(text, safe="")
    for path in (f"/admin/tenants/{there}", f"/admin/tenants/{there}/keys", f"/admin/tenants/{there}/spending"):
        assert (await house.get(path)).status == 404
    assert (await house.post(f"/admin/providers/{there}/drain")).status == 404
    assert (await house.delete(f"/admin/tenants/beta/keys/{there}")).status == 404
    assert (await house.put(f"/admin/tenants/{there}", {})).status in (400, 404)
    assert (await house.post("/admin/tenants", {"id": text})).status == 400
    assert (await house.post("/admin/tenants/beta/keys", {"id": text})).status == 400
    for path in (f"/admin/usage?tenant={there}", f"/admin/usage?key={there}", f"/admin/ledger?tenant={there}"):
        answer = await house.get(path)
        assert answer.status == 200
        assert not answer.body or answer.json()["lines"] == []
    for query in (f"by={there}", f"by=tag:{there}", f"from={there}", f"{there}=1", f"limit={there}"):
        assert (await house.get(f"/admin/usage?{query}")).status == 400
    assert [one["id"] for one in (await house.get("/admin/tenants")).json()["tenants"]] == ["acme", "beta"]
    assert await house.audited() == [("admin key", "tenant.create", "tenant/beta")]
    for record in caplog.records:
        assert all(character.isprintable() for character in record.getMessage())
        assert "forged" not in record.getMessage()


async def test_no_log_has_a_secret(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Neither of a caller nor of a key, whatever becomes of the request."""
    caplog.set_level(logging.DEBUG)
    await house.post("/admin/tenants", {"id": "beta"})
    secret = await house.secret_of("beta")
    await house.post("/admin/tenants/beta/keys", {"id": "k"})
    await house.get("/admin/tenants", key=SECRET)
    await house.post("/admin/tenants", {"id": SECRET.upper(), "hash": SECRET})
    await house.get(f"/admin/tenants?key={SECRET}")
    written = caplog.text + str(await house.directory.audit(100))
    for hidden in (ADMIN_KEY, VIEWER_KEY, secret, SECRET):
        assert hidden not in written
    assert "admin: create_key by the admin key: 201 (req_" in caplog.text


async def test_answers_have_ids_of_their_own(house: House) -> None:
    """Each another one."""
    ids: list[Any] = [(await house.get("/admin/config")).head.get("x-request-id") for _ in range(3)]
    assert len(set(ids)) == 3
