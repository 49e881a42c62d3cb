"""Limits and budgets in this process: the contract, exact waits over several scopes, and bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.account import Balance
from gateway.core.period import Period
from gateway.core.quota import LEASE_S, RELEASE_HINT_S, Denied, Grant, Limits, QuotasUnavailable, Scope
from gateway.stores.memory import LocalQuotas
from tests.stores.local_house import NEW_YEARS_EVE_S, LocalHouse, at_once
from tests.stores.quota_contract import QuotaContract, admit, ask, budget, in_flight, money, scope


@pytest.fixture
def house() -> LocalHouse:
    """A process without requests."""
    return LocalHouse()


class TestLocalQuotas(QuotaContract):
    """The suite, for one process."""


@given(
    st.lists(
        st.tuples(st.integers(1, 3000), st.integers(1, 30) | st.none(), st.integers(1, 60_000)), min_size=1, max_size=3
    ),
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40),
)
def test_who_waits_as_told_is_admitted_by_all_scopes(
    figures: list[tuple[int, int | None, int]], asks: list[tuple[int, float, float]]
) -> None:
    """Whatever the limits, sizes and corrections before; and a refusal changes nothing."""
    house = LocalHouse()
    scopes = [scope(Limits(requests_per_minute=rpm, burst=burst, tokens_per_minute=tpm)) for rpm, burst, tpm in figures]
    for tokens, share, pause_s in asks:
        house.pass_time(pause_s)
        told = at_once(house.quotas.admit(ask(*scopes, tokens=tokens)))
        if isinstance(told, Denied):
            assert told.retry_after_s is not None
            assert at_once(house.quotas.admit(ask(*scopes, tokens=tokens))) == told
            house.pass_time(told.retry_after_s)
            told = at_once(house.quotas.admit(ask(*scopes, tokens=tokens)))
        assert isinstance(told, Grant)
        at_once(house.quotas.settle(told, int(tokens * 1.5 * share), 0))


async def test_a_standstill_of_the_process_ends_no_lease(house: LocalHouse) -> None:
    """Stopped for a minute, it renews what runs before anything lapses."""
    of = scope(Limits(concurrent=2), budget(100))
    running = [await admit(house.quotas, ask(of, hold=50)) for _ in range(2)]
    await house.wait(2 * LEASE_S)
    await house.quotas.renew(running)
    assert (await in_flight(house.quotas, of), await money(house.quotas, of)) == (2, (0, 100))


async def test_a_lapsed_lease_finds_its_scope_again(house: LocalHouse) -> None:
    """Forgotten meanwhile, because nothing of it was in use: renewed or settled, it counts where others count."""
    of = scope(Limits(concurrent=1, tokens_per_minute=600))
    late, later = await admit(house.quotas, ask(of, tokens=10)), ask(of, tokens=10)
    await house.wait(2 * LEASE_S)
    for _ in range(10):
        await admit(house.quotas, ask(scope(Limits(requests_per_minute=1))))
    await house.quotas.renew([late])
    assert isinstance(await house.quotas.admit(later), Denied)
    await house.wait(2 * LEASE_S)
    for _ in range(10):
        await admit(house.quotas, ask(scope(Limits(requests_per_minute=1))))
    await house.quotas.settle(late, 70, 0)
    told = await house.quotas.admit(later)
    assert isinstance(told, Denied) and told.retry_after_s == pytest.approx(1)


async def test_without_a_ledger_every_period_begins_at_nothing() -> None:
    """Nothing is asked for."""
    quotas = LocalQuotas(lambda: 0.0, lambda: NEW_YEARS_EVE_S)
    of = scope(None, budget(100))
    await admit(quotas, ask(of, hold=100))
    assert await money(quotas, of) == (0, 100)


async def test_nobody_is_admitted_while_it_is_not_known_what_was_spent() -> None:
    """Not a refusal but an error, and not for scopes without budget; the next request asks again."""
    answers: list[int | OSError] = [OSError("gone"), OSError("still gone"), 70]

    async def load(scope_key: str, start_s: float) -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    quotas = LocalQuotas(lambda: 0.0, lambda: NEW_YEARS_EVE_S, load)
    of, free = scope(Limits(requests_per_minute=1), budget(100)), scope(Limits(concurrent=1))
    with pytest.raises(QuotasUnavailable, match="what the key `web` has spent cannot be read"):
        await quotas.admit(ask(free, of, hold=30))
    with pytest.raises(QuotasUnavailable):
        await quotas.standing(of)
    await admit(quotas, ask(free, of, hold=30))
    assert await money(quotas, of) == (70, 30)


async def test_an_exchange_of_a_process_that_died_is_settled_like_any_other() -> None:
    """It was read back with what it held; somebody finds its row and says what it cost."""

    async def load(scope_key: str, start_s: float) -> Balance:
        return Balance(10, {"dead": 80})

    quotas = LocalQuotas(lambda: 0.0, lambda: NEW_YEARS_EVE_S, load)
    of = scope(None, budget(100))
    denied = await quotas.admit(ask(of, hold=20))
    assert isinstance(denied, Denied) and denied.retry_after_s == RELEASE_HINT_S
    assert await money(quotas, of) == (10, 80)
    assert (await quotas.settle_orphan("acme", "dead", 30)).first
    assert not (await quotas.settle_orphan("acme", "dead", 30)).first
    assert await money(quotas, of) == (40, 0)
    await admit(quotas, ask(of, hold=60))


async def test_a_budget_that_is_added_counts_what_runs_here() -> None:
    """Admitted before there was one, its row has no lease of it; settled, it has cost both what it cost."""
    found: dict[str, Balance] = {}

    async def load(scope_key: str, start_s: float) -> Balance:
        return found.get(scope_key, Balance(0, {}))

    quotas = LocalQuotas(lambda: 0.0, lambda: NEW_YEARS_EVE_S, load)
    of, added = scope(None, budget(100)), scope(None, budget(100))
    grant = await admit(quotas, ask(of, hold=50))
    found[added.key] = Balance(0, {grant.exchange_id: 50})
    other = await admit(quotas, ask(of, added, hold=20))
    assert await money(quotas, added) == (0, 70)
    await quotas.settle(grant, 0, 5)
    await quotas.settle(other, 0, 7)
    assert (await money(quotas, of), await money(quotas, added)) == ((12, 0), (12, 0))


async def test_a_million_scopes_do_not_fill_the_memory(house: LocalHouse) -> None:
    """Those that are as new again are forgotten; who still owes or runs is not."""
    of = scope(Limits(requests_per_minute=1, concurrent=1))
    running = await admit(house.quotas, ask(of))
    largest = 0
    for n in range(20_000):
        brief = Scope(f"model/acme/{n}", "a model", Limits(requests_per_minute=60, tokens_per_minute=600))
        grant = await admit(house.quotas, ask(brief, tokens=5))
        await house.quotas.settle(grant, 1, 0)
        house.pass_time(0.01)
        if n % 100 == 0:
            await house.quotas.renew([running])
            largest = max(largest, house.quotas.scopes)
    assert largest < 500
    assert await in_flight(house.quotas, of) == 1


@pytest.mark.parametrize("step_s", [-3600.0, -60.0, 60.0])
async def test_a_wall_clock_that_jumps_resets_no_budget(house: LocalHouse, step_s: float) -> None:
    """Within an hour; buckets and leases do not look at it."""
    of = scope(Limits(requests_per_minute=1, concurrent=5), budget(100, Period.DAY))
    house.wall_s = NEW_YEARS_EVE_S + 12 * 3600 + 30
    await house.quotas.settle(await admit(house.quotas, ask(of, hold=100)), 0, 100)
    house.wall_s += step_s
    told = await house.quotas.admit(ask(of, hold=1))
    assert isinstance(told, Denied) and told.funds is not None
    assert told.funds.spent_nanousd == 100


async def test_closing_twice_is_no_matter(house: LocalHouse) -> None:
    """What is in memory needs no farewell."""
    await house.quotas.aclose()
    await house.quotas.aclose()
