"""Tenants of one source in memory: what changes is made anew, and nothing else is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.tenancy.drafts import KeyTerms, TenantDraft
from gateway.tenancy.roll import HeldKey, Roll


def draft(tenant_id: str, **settings: Any) -> TenantDraft:
    return TenantDraft.model_validate({"id": tenant_id, **settings})


def held(tenant_id: str, key_id: str, *secrets: str, ends_s: float | None = None, **terms: Any) -> HeldKey:
    """A key with some secrets, by names that stand for digests; without any it is gone."""
    return HeldKey(tenant_id, key_id, tuple((one.encode(), ends_s) for one in secrets), KeyTerms.model_validate(terms))


def opened(roll: Roll) -> dict[str, str]:
    """Which key each secret opens."""
    return {secret.decode(): f"{tenant}/{key.id}" for secret, (tenant, key) in roll.by_digest.items()}


def scopes(roll: Roll, tenant_id: str, key_id: str) -> list[str]:
    return [scope.key for scope in roll.tenants[tenant_id].entitlement.scopes(key_id, "m")]


def test_keys_come_change_and_go() -> None:
    """Each with all its secrets."""
    roll = Roll()
    roll.change({"a": draft("a")}, [held("a", "k", "1", "2"), held("a", "l", "3", ends_s=7.5)])
    assert opened(roll) == {"1": "a/k", "2": "a/k", "3": "a/l"}
    assert roll.by_digest[b"3"][1].expires == 7.5
    roll.change({}, [held("a", "k", "2", "4")])
    assert opened(roll) == {"2": "a/k", "3": "a/l", "4": "a/k"}
    roll.change({}, [held("a", "k")])
    assert opened(roll) == {"3": "a/l"}


def test_a_secret_may_move_to_another_key_at_once() -> None:
    """Whichever of the two comes first."""
    for order in (1, -1):
        roll = Roll()
        roll.change({"a": draft("a"), "b": draft("b")}, [held("a", "k", "1")])
        roll.change({}, [held("a", "k"), held("b", "l", "1")][::order])
        assert opened(roll) == {"1": "b/l"}


def test_what_does_not_change_stays_the_object_that_it_is() -> None:
    """A key without limits changes no tenant; one with limits changes its own."""
    roll = Roll()
    roll.change({"a": draft("a"), "b": draft("b")}, [])
    a, b = roll.tenants["a"], roll.tenants["b"]
    roll.change({}, [held("a", "k", "1"), held("b", "k", "2", limits={"concurrent": 1})])
    assert roll.tenants["a"] is a and roll.tenants["b"] is not b
    a, b = roll.tenants["a"], roll.tenants["b"]
    roll.change({}, [held("b", "k", "3", limits={"concurrent": 1})])
    assert roll.tenants["b"] is b and opened(roll) == {"1": "a/k", "3": "b/k"}
    roll.change({"a": draft("a", name="A")}, [])
    assert roll.tenants["a"] is not a and roll.tenants["b"] is b


def test_limits_of_keys_come_and_go_with_them() -> None:
    """And survive a change of their tenant."""
    roll = Roll()
    roll.change({"a": draft("a", limits={"concurrent": 9})}, [held("a", "k", "1", budget={"usd": 1})])
    assert scopes(roll, "a", "k") == ["tenant/a", "key/a/k"]
    roll.change({"a": draft("a")}, [])
    assert scopes(roll, "a", "k") == ["key/a/k"]
    roll.change({}, [held("a", "k", "1")])
    assert scopes(roll, "a", "k") == []
    roll.change({}, [held("a", "k", "1", limits={"concurrent": 1})])
    roll.change({}, [held("a", "k")])
    assert scopes(roll, "a", "k") == []


def test_a_tenant_that_is_left_out_comes_back_with_its_keys() -> None:
    """They are still there; whoever asks finds no tenant."""
    roll = Roll()
    roll.change({"a": draft("a")}, [held("a", "k", "1", limits={"concurrent": 1})])
    roll.change({"a": None}, [])
    assert (roll.tenants, opened(roll)) == ({}, {"1": "a/k"})
    roll.change({"a": draft("a")}, [])
    assert scopes(roll, "a", "k") == ["key/a/k"]


def test_keys_may_come_before_their_tenant() -> None:
    """What is read may be newer than the number that it was read under."""
    roll = Roll()
    roll.change({}, [held("a", "k", "1", limits={"concurrent": 1})])
    assert roll.tenants == {}
    roll.change({"a": draft("a")}, [])
    assert scopes(roll, "a", "k") == ["key/a/k"]


def test_tenants_are_in_the_order_of_their_coming() -> None:
    """Unless they are put into another."""
    roll = Roll()
    roll.change({name: draft(name) for name in "cab"}, [])
    assert "".join(roll.tenants) == "cab"
    roll.sort("bca")
    assert "".join(roll.tenants) == "bca"


STEP = st.tuples(
    st.dictionaries(st.sampled_from("ab"), st.booleans(), max_size=2),
    st.dictionaries(
        st.tuples(st.sampled_from("ab"), st.sampled_from("kl")), st.tuples(st.integers(0, 2), st.booleans()), max_size=3
    ),
)


@given(st.lists(STEP, max_size=8))
def test_pieces_make_the_same_as_the_whole(
    steps: list[tuple[dict[str, bool], dict[tuple[str, str], tuple[int, bool]]]],
) -> None:
    """However it came to be, memory is what it would be if all of it had come at once."""
    roll, tenants, keys = Roll(), dict[str, TenantDraft](), dict[tuple[str, str], HeldKey]()
    for number, (changed, touched) in enumerate(steps):
        drafts = {name: draft(name, name=f"n{number}") if there else None for name, there in changed.items()}
        some = [
            held(*whose, *(f"{number}{''.join(whose)}{n}" for n in range(many)), **limits(limited))
            for whose, (many, limited) in touched.items()
        ]
        roll.change(drafts, some)
        tenants.update({name: one for name, one in drafts.items() if one is not None})
        for name, one in drafts.items():
            if one is None:
                tenants.pop(name, None)
        keys.update({(one.tenant_id, one.id): one for one in some})
    whole = Roll()
    whole.change(tenants, [one for one in keys.values() if one.secrets])
    assert opened(roll) == opened(whole)
    assert roll.tenants == whole.tenants
    for name in tenants:
        for key_id in "kl":
            assert scopes(roll, name, key_id) == scopes(whole, name, key_id)


def limits(limited: bool) -> dict[str, Any]:
    return {"limits": {"concurrent": 1}} if limited else {}


def test_digests_are_in_no_representation() -> None:
    """Whatever logs a key."""
    assert "secret" not in repr(held("a", "k", "secret"))
