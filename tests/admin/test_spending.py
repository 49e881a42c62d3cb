"""Where a tenant stands: what its keys have spent and hold, and when it begins again."""

from gateway.core.quota import Ask, Denied, Grant
from tests.admin.house import House, error_of

NANO = 10**9


async def use(house: House, key_id: str, tokens: int, hold_nanousd: int) -> Grant:
    """Begins an exchange of the tenant of the configuration."""
    tenant = next(one for one in house.tenants.all if one.id == "acme")
    scopes = tenant.entitlement.scopes(key_id, "gpt")
    grant = await house.quotas.admit(Ask(f"x{tokens}", "acme", scopes, tokens, hold_nanousd))
    assert not isinstance(grant, Denied)
    return grant


async def test_what_is_spent_and_held_is_told_to_the_nano_dollar(house: House) -> None:
    """Of the tenant, in its own time zone, and of the key, which has a budget that never begins again."""
    await house.quotas.settle(await use(house, "web", 10, NANO // 2), 10, 123_456_789)
    house.now_s += 1
    await use(house, "web", 20, NANO // 4)
    answer = (await house.get("/admin/tenants/acme/spending")).json()
    assert answer["tenant_id"] == "acme"
    tenant, key = answer["standings"]
    assert (tenant["scope"], tenant["key_id"], key["scope"], key["key_id"]) == ("tenant", None, "key", "web")
    assert tenant["budget"] == {
        "limit_nanousd": 1_500_000_000,
        "limit_usd": "1.5",
        "spent_nanousd": 123_456_789,
        "spent_usd": "0.123456789",
        "held_nanousd": 250_000_000,
        "held_usd": "0.25",
        "window": "day",
        "timezone": "Europe/Berlin",
        "began_at": "2026-09-20T22:00:00.000000Z",
        "resets_at": "2026-09-21T22:00:00.000000Z",
    }
    assert (key["budget"]["spent_usd"], key["budget"]["resets_at"]) == ("0.123456789", None)
    assert key["budget"]["began_at"] == "1970-01-01T00:00:00.000000Z"


async def test_limits_are_told_too(house: House) -> None:
    """What is left, and how many run; what is not limited is null."""
    await use(house, "web", 10, 0)
    tenant, key = (await house.get("/admin/tenants/acme/spending")).json()["standings"]
    assert (tenant["requests"]["limit"], tenant["requests"]["remaining"], tenant["in_flight"]) == (60, 0, 1)
    assert 0 < tenant["requests"]["reset_s"] <= 1
    assert tenant["tokens"] is None
    assert (key["requests"], key["tokens"], key["in_flight"]) == (None, None, None)


async def test_who_has_no_limits_has_no_standings(house: House) -> None:
    """And who does not exist is not found; a tenant of the database is, from the moment it is made."""
    assert (await house.get("/admin/tenants/beta/spending")).status == 404
    await house.post("/admin/tenants", {"id": "beta"})
    assert (await house.get("/admin/tenants/beta/spending")).json() == {"tenant_id": "beta", "standings": []}
    await house.put("/admin/tenants/beta", {"budget": {"usd": 0, "window": "total"}})
    (own,) = (await house.get("/admin/tenants/beta/spending")).json()["standings"]
    assert (own["budget"]["limit_usd"], own["budget"]["resets_at"]) == ("0", None)


async def test_it_takes_no_query(house: House) -> None:
    """A parameter that means nothing is a mistake."""
    answer = await house.get("/admin/tenants/acme/spending?key=web")
    assert (answer.status, error_of(answer)["param"]) == (400, "key")
