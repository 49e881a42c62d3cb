"""Budgets in metrics: gauges that are true, of whoever has a budget now, read a few at a time."""

import asyncio
from zoneinfo import ZoneInfo

from gateway.core.period import Period, span_at
from gateway.core.quota import Scope, Standing
from gateway.metrics.registry import MAX_TENANT_LABELS
from gateway.proxy.spending import AT_ONCE
from gateway.stores.sql.group import DatabaseDown
from tests.proxy.spending_house import DAY_S, USD, House, budget

BERLIN = ZoneInfo("Europe/Berlin")


async def test_a_budget_is_shown_as_it_stands() -> None:
    """Ratio, limit, spent, and when it begins again; nothing before it was read, nothing where there is none."""
    house = House()
    house.tenant("acme", budget(40, window="month"))
    house.tenant("other-one", None)
    await house.spend("acme", 10)
    assert house.shown("acme") == {}
    await house.spending.refresh()
    assert house.shown("acme") == {
        "usage_ratio": 0.25,
        "limit_usd": 40,
        "spent_usd": 10,
        "reset_timestamp_seconds": span_at(Period.MONTH, BERLIN, house.now_s).end_s,
    }
    assert house.shown("other-one") == {}
    assert house.read == ["acme"]


async def test_what_the_ledger_has_counts_from_the_start() -> None:
    """A restart does not show an untouched budget."""
    house = House()
    house.ledger["tenant/acme"] = 30 * USD
    house.tenant("acme", budget(40))
    await house.spending.refresh()
    assert house.shown("acme")["usage_ratio"] == 0.75


async def test_a_budget_of_nothing_is_used_up() -> None:
    """Zero of zero is no share; alerts on 1 see it."""
    house = House()
    house.tenant("acme", budget(0))
    await house.spending.refresh()
    assert (house.shown("acme")["usage_ratio"], house.shown("acme")["limit_usd"]) == (1, 0)


async def test_a_ratio_may_pass_one() -> None:
    """Where the cost was above the hold."""
    house = House()
    house.tenant("acme", budget(10))
    await house.spend("acme", 12, hold=1)
    await house.spending.refresh()
    assert house.shown("acme")["usage_ratio"] == 1.2


async def test_what_never_begins_again_has_no_reset() -> None:
    """Also where it did before."""
    house = House()
    house.tenant("acme", budget(10, window="day"))
    await house.spending.refresh()
    assert "reset_timestamp_seconds" in house.shown("acme")
    house.tenant("acme", budget(10, window="total"))
    await house.spending.refresh()
    assert house.shown("acme") == {"usage_ratio": 0, "limit_usd": 10, "spent_usd": 0}


async def test_the_next_period_begins_at_nothing() -> None:
    """Nobody has to ask for anything in it first."""
    house = House()
    house.tenant("acme", budget(10, window="day"))
    await house.spend("acme", 5)
    await house.spending.refresh()
    before = house.shown("acme")
    house.now_s += DAY_S
    await house.spending.refresh()
    after = house.shown("acme")
    assert (before["usage_ratio"], after["usage_ratio"]) == (0.5, 0)
    assert after["reset_timestamp_seconds"] == before["reset_timestamp_seconds"] + DAY_S


async def test_who_has_gone_is_no_longer_shown() -> None:
    """A tenant that was deleted, and one whose budget was taken away; who comes back is shown again."""
    house = House()
    for tenant_id in ("acme", "other-one"):
        house.tenant(tenant_id, budget(10))
    await house.spending.refresh()
    assert house.shown("acme") and house.shown("other-one")
    del house.tenants["acme"]
    house.tenant("other-one", None)
    await house.spending.refresh()
    assert house.shown("acme") == house.shown("other-one") == {}
    house.tenant("acme", budget(20))
    await house.spending.refresh()
    assert house.shown("acme")["limit_usd"] == 20


async def test_who_shares_a_label_is_not_shown() -> None:
    """The sum of two ratios is nothing; only the first tenants have labels of their own."""
    house = House(*(f"t{n}" for n in range(MAX_TENANT_LABELS + 1)))
    house.tenant("t0", budget(10))
    house.tenant(f"t{MAX_TENANT_LABELS}", budget(10))
    house.tenant("unheard", budget(10))
    await house.spending.refresh()
    assert house.read == ["t0"]
    assert house.shown("t0") and not house.shown("other")


async def test_what_cannot_be_read_stays_as_it_was() -> None:
    """And does not keep the others from being read the next time."""
    house = House()
    for tenant_id in ("acme", "other-one"):
        house.tenant(tenant_id, budget(10, window="day"))
        await house.spend(tenant_id, 5)
    await house.spending.refresh()
    house.now_s += DAY_S
    house.ledger["tenant/acme"] = DatabaseDown("gone")
    house.spending.touched("acme")
    await house.spending.refresh()
    assert [house.shown(name)["usage_ratio"] for name in ("acme", "other-one")] == [0.5, 0.5]
    await house.spending.refresh()
    assert [house.shown(name)["usage_ratio"] for name in ("acme", "other-one")] == [0.5, 0]
    del house.ledger["tenant/acme"]
    await house.spending.refresh()
    assert house.shown("acme")["usage_ratio"] == 0


async def test_each_refresh_reads_a_few_and_all_have_their_turn() -> None:
    """Who has just spent comes soon, but never keeps the others waiting for long."""
    names = [f"t{n}" for n in range(3 * AT_ONCE)]
    house = House(*names)
    for name in names:
        house.tenant(name, budget(10))
    for first in range(0, len(names), AT_ONCE):
        house.read.clear()
        await house.spending.refresh()
        assert house.read == names[first : first + AT_ONCE]
    spenders = names[-AT_ONCE:]
    seen: set[str] = set()
    for _ in range(-(-len(names) // (AT_ONCE // 2))):
        for name in spenders:
            house.spending.touched(name)
        house.read.clear()
        await house.spending.refresh()
        assert len(house.read) == AT_ONCE
        assert len(set(spenders) & set(house.read)) >= AT_ONCE // 2
        seen |= set(house.read)
    assert seen == set(names)


async def test_who_is_new_comes_first() -> None:
    """A tenant made just now is not without figures until all others have had their turn."""
    names = [f"t{n}" for n in range(2 * AT_ONCE)]
    house = House(*names, "new")
    for name in names:
        house.tenant(name, budget(10))
    await house.spending.refresh()
    house.tenant("new", budget(10))
    house.read.clear()
    await house.spending.refresh()
    assert house.read[:2] == ["new", names[AT_ONCE]]


async def test_one_touch_is_one_reading() -> None:
    """Afterwards it waits in line like the others."""
    names = [f"t{n}" for n in range(2 * AT_ONCE)]
    house = House(*names)
    for name in names:
        house.tenant(name, budget(10))
    await house.spending.refresh()
    house.spending.touched("t0")
    house.spending.touched("nobody")
    await house.spending.refresh()
    assert house.read[AT_ONCE] == "t0"
    house.read.clear()
    await house.spending.refresh()
    assert house.read[0] == names[-1]


async def test_a_refresh_that_hangs_is_not_doubled() -> None:
    """The ticker goes on; a slow database is asked once."""
    house = House()
    house.tenant("acme", budget(10))
    entered, answer = asyncio.Event(), asyncio.Event()
    looks = house.standing

    async def slow(scope: Scope) -> Standing:
        entered.set()
        await answer.wait()
        return await looks(scope)

    house.standing = slow  # type: ignore[method-assign]
    first = asyncio.create_task(house.spending.refresh())
    await entered.wait()
    await house.spending.refresh()
    assert house.read == []
    answer.set()
    await first
    assert house.read == ["acme"]
