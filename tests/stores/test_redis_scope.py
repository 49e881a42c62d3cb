"""What Redis is told of scopes: names that cannot collide, texts that are good for one period, and back."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from gateway.core.period import Period
from gateway.core.quota import Limits, Scope
from gateway.stores.redis_scope import Telling, allowance_from, prefix, scopes_from, tenant_of, word
from tests.stores.local_house import NEW_YEARS_EVE_S
from tests.stores.quota_contract import budget, scope

NAME = st.text(st.characters(), max_size=20) | st.text(st.sampled_from("{}:%/. t\ud800"), max_size=6)


@given(NAME, NAME, NAME)
def test_no_tenants_share_a_name_and_each_has_one_slot(one: str, other: str, key: str) -> None:
    """Whatever they are called."""
    assert (prefix(one) == prefix(other)) == (one == other)
    assert not prefix(one).startswith(prefix(other)) or one == other
    assert (word(one) == word(other)) == (one == other)
    tag = prefix(one)[prefix(one).index("{") + 1 : prefix(one).index("}")]
    assert tag
    assert key_slot((prefix(one) + "x:" + word(key)).encode()) == key_slot(f"{{{tag}}}".encode())


@pytest.mark.parametrize(
    ("key", "tenant_id"),
    [("tenant/acme", "acme"), ("key/acme/web", "acme"), ("model/acme/a/b", "acme"), ("key//x", "")],
)
def test_a_scope_names_its_tenant(key: str, tenant_id: str) -> None:
    """As the tenants' scopes are named."""
    assert tenant_of(Scope(key, "somebody")) == tenant_id


def test_a_text_is_good_until_a_period_ends() -> None:
    """And is not made again before."""
    of = (scope(None, budget(100, Period.DAY)), scope(None, budget(100, Period.TOTAL)), scope(Limits(concurrent=1)))
    telling = Telling()
    told = telling.tell(of, NEW_YEARS_EVE_S)
    assert telling.tell(of, NEW_YEARS_EVE_S + 3600) is told
    assert told.span == told.spans[0]
    assert told.spans[2] is None
    tomorrow = telling.tell(of, told.span.end_s)
    assert tomorrow.span.start_s == told.span.end_s
    assert tomorrow.text != told.text
    forever = telling.tell(of[2:], NEW_YEARS_EVE_S)
    assert (forever.span.start_s, forever.span.end_s) == (-math.inf, math.inf)


@given(st.sampled_from(Period), NAME, st.integers(0, 10**18), st.sampled_from([(), (0.1, 0.75), (1.0,)]))
def test_budgets_are_read_back(period: Period, owner: str, nanousd: int, soft_at: tuple[float, ...]) -> None:
    """All but the limits, which nobody needs then."""
    of = Scope(f"key/acme/{owner}", owner, Limits(concurrent=3), budget(nanousd, period, soft_at))
    told = Telling().tell((of, scope(Limits(concurrent=1))), NEW_YEARS_EVE_S)
    (read, span), (nothing, _) = scopes_from(told.text)
    assert read == replace(of, limits=None)
    assert span == told.spans[0]
    assert nothing is None


def test_where_nothing_is_limited_nothing_is_told() -> None:
    """Three empty words."""
    assert allowance_from([b"", b"", b""]) is None
    told = allowance_from([b"60", b"7", b"0.25"])
    assert told is not None
    assert (told.limit, told.remaining, told.reset_s) == (60, 7, 0.25)
