"""Tenants over HTTP: made, read back as they were said, replaced whole, deleted; those of the file only shown."""

from pathlib import Path
from typing import Any

import pytest

from gateway.tenancy.tenants import TenantSettings
from tests.admin.house import CONFIG_TENANT, House, error_of, open_house

WHOLE: dict[str, Any] = {
    "id": "beta",
    "name": "Beta & Söhne",
    "models": ["gpt-*", "claude-sonnet-4-5"],
    "limits": {"requests_per_minute": 600, "tokens_per_minute": 400_000, "concurrent": 20, "burst": 30},
    "model_limits": {
        "gpt-*": {"requests_per_minute": 10, "tokens_per_minute": None, "concurrent": None, "burst": None}
    },
    "budget": {
        "usd": "500.000001",
        "window": "week",
        "timezone": "Europe/Berlin",
        "soft_at": [0.25, 1.0],
        "when_exhausted": "finish",
    },
}
DEFAULTS: dict[str, Any] = {"name": None, "models": ["*"], "limits": None, "model_limits": {}, "budget": None}


async def test_a_tenant_is_read_back_as_it_was_said(house: House) -> None:
    """And what was read can be written again, unchanged."""
    made = await house.post("/admin/tenants", WHOLE)
    assert (made.status, made.head.get("location")) == (201, "/admin/tenants/beta")
    found = (await house.get("/admin/tenants/beta")).json()
    assert found == made.json()
    assert found["settings"] == WHOLE
    moment = "2026-09-21T14:13:20.250000Z"
    assert [found[name] for name in ("id", "source", "created_at", "updated_at", "conflict", "unreadable")] == [
        "beta",
        "database",
        moment,
        moment,
        None,
        None,
    ]
    again = await house.put("/admin/tenants/beta", found["settings"])
    assert (again.status, again.json()["settings"]) == (200, WHOLE)


async def test_what_is_left_out_falls_back(house: House) -> None:
    """PUT is the whole of it, and the path may name it alone."""
    await house.post("/admin/tenants", WHOLE)
    house.now_s += 60
    answer = await house.put("/admin/tenants/beta", {"name": "B"})
    assert answer.json()["settings"] == {**DEFAULTS, "id": "beta", "name": "B"}
    assert answer.json()["updated_at"] == "2026-09-21T14:14:20.250000Z"


async def test_the_path_and_the_body_agree(house: House) -> None:
    """An id stays what it is."""
    await house.post("/admin/tenants", WHOLE)
    answer = await house.put("/admin/tenants/beta", {"id": "gamma"})
    assert (answer.status, error_of(answer)["param"]) == (400, "id")
    assert (await house.put("/admin/tenants/beta", {"id": None})).status == 400


async def test_no_tenant_is_made_twice(house: House) -> None:
    """Neither of the database nor of the configuration."""
    await house.post("/admin/tenants", {"id": "beta"})
    for taken in ("beta", "acme"):
        answer = await house.post("/admin/tenants", {"id": taken})
        assert (answer.status, error_of(answer)["code"]) == (409, "conflict")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_the_configuration_s_tenants_are_changed_there(house: House, method: str) -> None:
    """409 that says so; their keys too."""
    for path in ("/admin/tenants/acme", "/admin/tenants/acme/keys/web"):
        answer = await house.ask(method, path, {} if method == "PUT" else None)
        assert (answer.status, error_of(answer)["code"]) == (409, "conflict")
        assert "gateway.yaml" in error_of(answer)["message"]
    for path, body in (("keys", {"id": "new"}), ("keys/web/rotate", {})):
        answer = await house.post(f"/admin/tenants/acme/{path}", body)
        assert (answer.status, error_of(answer)["code"]) == (409, "conflict")
    shown = (await house.get("/admin/tenants/acme")).json()
    assert (shown["source"], shown["settings"]["name"], shown["created_at"]) == ("config", "Acme", None)


async def test_a_deleted_tenant_is_gone_with_its_keys(house: House) -> None:
    """At once: it cannot be read, listed, changed or used."""
    await house.post("/admin/tenants", WHOLE)
    secret = await house.secret_of("beta")
    assert house.tenants.authenticate(secret).tenant.id == "beta"
    answer = await house.delete("/admin/tenants/beta")
    assert (answer.status, answer.body) == (204, b"")
    with pytest.raises(Exception, match="unauthorized"):
        house.tenants.authenticate(secret)
    assert [one["id"] for one in (await house.get("/admin/tenants")).json()["tenants"]] == ["acme"]
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/keys"), ("GET", "/spending")):
        answer = await house.ask(method, f"/admin/tenants/beta{path}", {} if method == "PUT" else None)
        assert (answer.status, error_of(answer)["code"]) == (404, "not_found")


async def test_pages_join_without_a_seam(house: House) -> None:
    """Each tenant once, in the order of ids, however large the pages; the last one says that it is."""
    ids = ["acme", "b1", "b2", "b3", "z-9"]
    for one in ids[1:]:
        await house.post("/admin/tenants", {"id": one})
    for limit in (1, 2, 4, 5, 6):
        found: list[str] = []
        after: str | None = ""
        pages = 0
        while after is not None:
            page = (await house.get(f"/admin/tenants?limit={limit}" + (f"&after={after}" if after else ""))).json()
            found += [one["id"] for one in page["tenants"]]
            after = page["next_after"]
            pages += 1
        assert (found, pages) == (ids, -(-len(ids) // limit))


async def test_a_tenant_that_is_in_the_file_too_says_so(house: House, migrated: Path) -> None:
    """After a restart with another file: the file's holds, and the database's is shown with what is wrong."""
    await house.post("/admin/tenants", {"id": "beta", "name": "of the database"})
    beta = TenantSettings.model_validate({"id": "beta", "name": "of the file"})
    async with open_house(migrated, config=(CONFIG_TENANT, beta)) as other:
        one = (await other.get("/admin/tenants/beta")).json()
        assert (one["source"], one["settings"]["name"]) == ("config", "of the file")
        listed = (await other.get("/admin/tenants")).json()["tenants"]
        assert [(each["id"], each["source"], each["conflict"] is not None) for each in listed] == [
            ("acme", "config", False),
            ("beta", "config", True),
        ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({}, "id: is missing"),
    "an id of capitals": ({"id": "Beta"}, "id: "),
    "a negative limit": ({"limits": {"concurrent": -1}}, "limits.concurrent: must be a whole number from 1"),
    "half a request": ({"limits": {"requests_per_minute": 0.5}}, "limits.requests_per_minute: must be a whole number"),
    "a switch for a limit": ({"limits": {"concurrent": True}}, "must be a number, not true or false"),
    "a budget of nothing said": ({"budget": {}}, "budget.usd: is missing"),
    "a budget of null": ({"budget": {"usd": None}}, "budget.usd: must be US dollars, 0 for nothing at all"),
    "a negative budget": ({"budget": {"usd": -0.01}}, "budget.usd: must be a number from 0 to 1000000000"),
    "less than a micro-dollar": ({"budget": {"usd": "0.0000001"}}, "budget.usd: must have at most 6 decimals"),
    "no zone": ({"budget": {"usd": 1, "timezone": "Mars/Olympus"}}, "budget.timezone: is no time zone"),
    "no window": ({"budget": {"usd": 1, "window": "dayy"}}, "Did you mean day?"),
    "a threshold of nothing": ({"budget": {"usd": 1, "soft_at": [0]}}, "budget.soft_at.0: must be a number above 0"),
    "no pattern": ({"models": ["a*b"]}, "models.0: "),
    "keys": ({"keys": [{"id": "k"}]}, "keys: is not a key of this section"),
    "a hash": ({"hash": "sha256:00"}, "hash: is not a key of this section"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_cannot_be_is_refused_in_a_sentence(house: House, method: str, case: str) -> None:
    """Made or replaced; nothing changes."""
    document, sentence = BAD[case]
    if method == "PUT" and case == "no id":
        return
    await house.post("/admin/tenants", {"id": "there"})
    where = "/admin/tenants" + ("/there" if method == "PUT" else "")
    whole = document if method == "PUT" or case == "no id" else {"id": "beta", **document}
    answer = await house.ask(method, where, whole)
    assert answer.status == 400
    if case != "an id of capitals" or method == "POST":
        assert sentence in error_of(answer)["message"]
    assert len(await house.audited()) == 1


async def test_a_budget_of_0_is_not_the_same_as_none(house: House) -> None:
    """Nothing may be spent; null is no budget."""
    nothing = await house.post("/admin/tenants", {"id": "poor", "budget": {"usd": 0}})
    no_budget = await house.post("/admin/tenants", {"id": "free", "budget": None})
    assert nothing.json()["settings"]["budget"]["usd"] == "0"
    assert no_budget.json()["settings"]["budget"] is None


async def test_every_write_is_in_the_audit(house: House) -> None:
    """By whom, and what it was before."""
    await house.post("/admin/tenants", {"id": "beta", "name": "B"})
    await house.put("/admin/tenants/beta", {"name": "C"})
    await house.delete("/admin/tenants/beta")
    assert await house.audited() == [
        ("admin key", "tenant.create", "tenant/beta"),
        ("admin key", "tenant.replace", "tenant/beta"),
        ("admin key", "tenant.delete", "tenant/beta"),
    ]
    entries = (await house.get("/admin/audit")).json()["entries"]
    assert '"B"' in str(entries[1]["details"]).replace("'", '"')
