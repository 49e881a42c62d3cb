"""What every keeper of limits and budgets must do, whether it is this process or Redis: one suite for all of them.

Long because it is one contract, read from top to bottom.

A test module subclasses :class:`QuotaContract` under a name that begins with ``Test`` and gives it a fixture ``house``.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol
from zoneinfo import ZoneInfo

import pytest

from gateway.core.period import Period
from gateway.core.quota import (
    LEASE_S,
    ORPHAN_S,
    RELEASE_HINT_S,
    Ask,
    Budget,
    Denied,
    Funds,
    Grant,
    Limit,
    Limits,
    Quotas,
    Scope,
    Settled,
)

BERLIN = ZoneInfo("Europe/Berlin")
SLACK_S = 0.05
"""What a clock that cannot be stopped may move on between two lines of a test."""

_numbers = count()


class House(Protocol):
    """An implementation whose time is in the test's hands.

    Attributes:
        replicas: the processes that share the state, one or more.
        ledger: nano-dollars spent in the present period by a scope's key, as the ledger knows them.
    """

    replicas: Sequence[Quotas]
    ledger: dict[str, int]

    def now_s(self) -> float:
        """Unix seconds."""

    async def wait(self, seconds: float) -> None:
        """Let time pass, for buckets, leases and periods alike."""


def scope(limits: Limits | None = None, budget: Budget | None = None, tenant: str = "acme") -> Scope:
    """A scope that no other test uses."""
    return Scope(f"key/{tenant}/{next(_numbers)}", "the key `web`", limits, budget)


def budget(nanousd: int, period: Period = Period.MONTH, soft_at: tuple[float, ...] = ()) -> Budget:
    """So much in Berlin."""
    return Budget(nanousd, period, BERLIN, soft_at)


def ask(*scopes: Scope, tokens: int = 0, hold: int = 0) -> Ask:
    """One exchange of its own."""
    return Ask(f"exchange-{next(_numbers)}", "acme", scopes, tokens, hold)


async def admit(quotas: Quotas, asked: Ask) -> Grant:
    """Ask, and be admitted."""
    answer = await quotas.admit(asked)
    assert isinstance(answer, Grant), answer
    return answer


async def refuse(quotas: Quotas, asked: Ask) -> Denied:
    """Ask, and be refused."""
    answer = await quotas.admit(asked)
    assert isinstance(answer, Denied), answer
    return answer


async def funds(quotas: Quotas, of: Scope) -> Funds:
    """Where a budget stands."""
    standing = (await quotas.standing(of)).funds
    assert standing is not None
    return standing


async def money(quotas: Quotas, of: Scope) -> tuple[int, int]:
    """Spent and held."""
    standing = await funds(quotas, of)
    return standing.spent_nanousd, standing.held_nanousd


async def in_flight(quotas: Quotas, of: Scope) -> int | None:
    """Slots taken."""
    return (await quotas.standing(of)).in_flight


class QuotaContract:
    """The suite."""

    @pytest.fixture
    def quotas(self, house: House) -> Quotas:
        """The first process."""
        return house.replicas[0]

    # --- requests and tokens

    async def test_admits_the_burst_and_then_the_rate(self, house: House, quotas: Quotas) -> None:
        """Three at once, then one each second."""
        of = scope(Limits(requests_per_minute=60, burst=3))
        left = [(await admit(quotas, ask(of))).requests for _ in range(3)]
        assert [told and (told.limit, told.remaining) for told in left] == [(60, 2), (60, 1), (60, 0)]
        told = await refuse(quotas, ask(of))
        assert (told.limit, told.scope, told.asked) == (Limit.REQUESTS, of, 1)
        assert told.requests is not None and told.requests.remaining == 0
        assert told.requests.reset_s == pytest.approx(3, abs=SLACK_S)
        for _ in range(2):
            await house.wait(1)
            await admit(quotas, ask(of))
            await refuse(quotas, ask(of))

    @pytest.mark.parametrize(
        ("limits", "tokens"),
        [
            (Limits(requests_per_minute=7), 0),
            (Limits(requests_per_minute=1000, burst=1), 0),
            (Limits(tokens_per_minute=600), 30),
            (Limits(tokens_per_minute=600), 5000),
            (Limits(requests_per_minute=90, tokens_per_minute=7), 100),
        ],
    )
    async def test_waiting_as_told_is_enough(self, house: House, quotas: Quotas, limits: Limits, tokens: int) -> None:
        """And three quarters of it are not, where that is long enough to be sure."""
        of = scope(limits)
        for _ in range(3):
            while isinstance(told := await quotas.admit(ask(of, tokens=tokens)), Grant):
                pass
            wait_s = told.retry_after_s or 0
            assert wait_s > 0
            if wait_s > 4 * SLACK_S:
                await house.wait(wait_s * 0.75)
                wait_s = (await refuse(quotas, ask(of, tokens=tokens))).retry_after_s or 0
                assert wait_s > 0
            await house.wait(wait_s)
            await admit(quotas, ask(of, tokens=tokens))

    async def test_three_minutes_at_five_times_the_rate(self, house: House) -> None:
        """Over all processes: burst + rate x time, within 1 %."""
        of = scope(Limits(requests_per_minute=300))
        began_s, admitted = house.now_s(), 0
        for turn in range(180 * 25):
            answer = await house.replicas[turn % len(house.replicas)].admit(ask(of))
            if isinstance(answer, Grant):
                admitted += 1
                await house.replicas[0].settle(answer, 0, 0)
            await house.wait(1 / 25)
        earned = 5 + 5 * (house.now_s() - began_s)
        assert earned * 0.99 <= admitted <= earned * 1.01

    async def test_tokens_are_charged_by_estimate_and_corrected(self, house: House, quotas: Quotas) -> None:
        """What was not used may be used; what was used beyond is waited for."""
        of = scope(Limits(tokens_per_minute=6000))
        first = await admit(quotas, ask(of, tokens=600))
        told = await refuse(quotas, ask(of, tokens=100))
        assert (told.limit, told.asked) == (Limit.TOKENS, 100)
        assert told.retry_after_s == pytest.approx(1, abs=SLACK_S)
        await quotas.settle(first, 500, 0)
        second = await admit(quotas, ask(of, tokens=100))
        await quotas.settle(second, 300, 0)
        told = await refuse(quotas, ask(of, tokens=100))
        assert told.retry_after_s == pytest.approx(3, abs=SLACK_S)
        assert told.tokens is not None and told.tokens.remaining == 0
        await house.wait(3)
        await admit(quotas, ask(of, tokens=100))

    async def test_a_request_larger_than_the_burst_is_not_refused_for_ever(self, house: House, quotas: Quotas) -> None:
        """It passes when nothing has been used for a while, and the rate is kept after it."""
        of = scope(Limits(tokens_per_minute=600))
        await admit(quotas, ask(of, tokens=3000))
        told = await refuse(quotas, ask(of, tokens=3000))
        assert told.retry_after_s == pytest.approx(300, abs=SLACK_S)
        await house.wait(300)
        await admit(quotas, ask(of, tokens=3000))

    # --- slots

    async def test_slots_are_given_back_on_every_ending(self, quotas: Quotas) -> None:
        """Settled, withdrawn, or found by another process."""
        of = scope(Limits(concurrent=3))
        grants = [await admit(quotas, ask(of)) for _ in range(3)]
        told = await refuse(quotas, ask(of))
        assert (told.limit, told.retry_after_s) == (Limit.CONCURRENT, RELEASE_HINT_S)
        await quotas.settle(grants[0], 0, 0)
        await quotas.withdraw(grants[1])
        await quotas.settle_orphan("acme", grants[2].exchange_id, 0)
        assert await in_flight(quotas, of) == 0
        for _ in range(3):
            await admit(quotas, ask(of))
        await refuse(quotas, ask(of))

    async def test_slots_of_a_crash_come_back(self, house: House, quotas: Quotas) -> None:
        """Not before their lease has lapsed; those that are renewed stay."""
        of = scope(Limits(concurrent=3))
        kept, _, _ = [await admit(quotas, ask(of)) for _ in range(3)]
        for _ in range(3):
            await house.wait(LEASE_S * 0.9)
            await quotas.renew([kept])
        assert await in_flight(quotas, of) == 1
        await quotas.settle(kept, 0, 0)
        assert await in_flight(quotas, of) == 0

    async def test_each_lease_lapses_at_its_own_time(self, house: House, quotas: Quotas) -> None:
        """Neither with the first one nor long after it."""
        of = scope(Limits(concurrent=3))
        taken = []
        for _ in range(3):
            await admit(quotas, ask(of))
            await house.wait(LEASE_S / 2 + 1)
            taken.append(await in_flight(quotas, of))
        await house.wait(LEASE_S / 2)
        assert [*taken, await in_flight(quotas, of)] == [1, 1, 1, 0]

    async def test_a_late_renewal_takes_the_slot_back(self, house: House, quotas: Quotas) -> None:
        """Beyond the limit if need be: it does run. Then its ending gives back one, not two."""
        of = scope(Limits(concurrent=1))
        late = await admit(quotas, ask(of))
        await house.wait(LEASE_S + 1)
        other = await admit(quotas, ask(of))
        await quotas.renew([late])
        assert await in_flight(quotas, of) == 2
        await quotas.settle(late, 0, 0)
        assert await in_flight(quotas, of) == 1
        await refuse(quotas, ask(of))
        await quotas.settle(other, 0, 0)
        await quotas.renew([late, other])
        assert await in_flight(quotas, of) == 0

    async def test_a_lapsed_lease_is_settled_without_a_second_slot(self, house: House, quotas: Quotas) -> None:
        """The slot went when it lapsed."""
        of = scope(Limits(concurrent=2))
        late = await admit(quotas, ask(of))
        await house.wait(LEASE_S + 1)
        await admit(quotas, ask(of))
        assert (await quotas.settle(late, 0, 0)).first
        assert await in_flight(quotas, of) == 1

    # --- all or nothing

    async def test_a_refused_request_costs_nothing(self, quotas: Quotas) -> None:
        """In none of the other scopes, whatever refused it."""
        wide = scope(Limits(requests_per_minute=600, tokens_per_minute=6000, concurrent=9, burst=10), budget(1000))
        narrow = {
            Limit.REQUESTS: scope(Limits(requests_per_minute=1)),
            Limit.TOKENS: scope(Limits(tokens_per_minute=1)),
            Limit.CONCURRENT: scope(Limits(concurrent=1)),
            Limit.BUDGET: scope(None, budget(10)),
        }
        for limit, tight in narrow.items():
            await admit(quotas, ask(tight, tokens=5, hold=10))
            for scopes in ((wide, tight), (tight, wide)):
                assert (await refuse(quotas, ask(*scopes, tokens=5, hold=10))).limit is limit
        standing = await quotas.standing(wide)
        assert standing.requests is not None and (standing.requests.remaining, standing.requests.reset_s) == (10, 0)
        assert standing.tokens is not None and (standing.tokens.remaining, standing.tokens.reset_s) == (600, 0)
        assert (standing.in_flight, await money(quotas, wide)) == (0, (0, 0))

    async def test_of_several_limits_the_longest_wait_is_told(self, house: House, quotas: Quotas) -> None:
        """After it, all of them let the request through."""
        short, long = scope(Limits(requests_per_minute=60)), scope(Limits(tokens_per_minute=60))
        await admit(quotas, ask(short, long, tokens=6))
        told = await refuse(quotas, ask(short, long, tokens=5))
        assert (told.limit, told.scope) == (Limit.TOKENS, long)
        assert told.requests is not None and told.tokens is not None
        assert told.retry_after_s is not None
        await house.wait(told.retry_after_s)
        await admit(quotas, ask(short, long, tokens=5))

    async def test_the_least_of_all_scopes_is_told(self, quotas: Quotas) -> None:
        """Requests of one, tokens of the other."""
        one = scope(Limits(requests_per_minute=60, burst=5, tokens_per_minute=60_000))
        other = scope(Limits(requests_per_minute=6000, tokens_per_minute=6000))
        grant = await admit(quotas, ask(one, other, tokens=100))
        assert grant.requests is not None and (grant.requests.limit, grant.requests.remaining) == (60, 4)
        assert grant.tokens is not None and (grant.tokens.limit, grant.tokens.remaining) == (6000, 500)
        unlimited = await admit(quotas, ask(scope(None, budget(1))))
        assert (unlimited.requests, unlimited.tokens) == (None, None)

    async def test_asking_again_for_the_same_exchange_counts_once(self, house: House, quotas: Quotas) -> None:
        """So that a question whose answer was lost may be repeated."""
        of = scope(Limits(requests_per_minute=60, burst=5, concurrent=5), budget(100))
        asked = ask(of, hold=40)
        grant = await admit(quotas, asked)
        for replica in house.replicas:
            assert await admit(replica, asked) == grant
        assert (await in_flight(quotas, of), await money(quotas, of)) == (1, (0, 40))
        standing = await quotas.standing(of)
        assert standing.requests is not None and standing.requests.remaining == 4

    async def test_a_withdrawn_request_never_was(self, quotas: Quotas) -> None:
        """Its request, its tokens, its slot and its hold are free again; once."""
        of = scope(Limits(requests_per_minute=1, tokens_per_minute=60, concurrent=1), budget(10))
        for _ in range(3):
            grant = await admit(quotas, ask(of, tokens=6, hold=10))
            await quotas.withdraw(grant)
            await quotas.withdraw(grant)
            assert await quotas.settle(grant, 6, 10) == Settled(False)
        assert (await in_flight(quotas, of), await money(quotas, of)) == (0, (0, 0))

    async def test_changed_limits_hold_at_once(self, quotas: Quotas) -> None:
        """For the same scope, from the next request on."""
        of = scope(Limits(concurrent=5), budget(100))
        for _ in range(3):
            await admit(quotas, ask(of, hold=20))
        tight = replace(of, limits=Limits(concurrent=3), budget=budget(1000))
        assert (await refuse(quotas, ask(tight))).limit is Limit.CONCURRENT
        poor = replace(of, limits=Limits(concurrent=9), budget=budget(70))
        assert (await refuse(quotas, ask(poor, hold=20))).limit is Limit.BUDGET
        await admit(quotas, ask(of, hold=20))

    # --- budgets

    async def test_a_budget_is_never_overspent_however_many_ask_at_once(self, house: House) -> None:
        """For exactly 50: of 500 that ask together 50 are admitted, and nothing leaks when they have ended."""
        of, tenant = scope(None, budget(50_000)), scope(None, budget(10**9))
        answers = await asyncio.gather(
            *(house.replicas[n % len(house.replicas)].admit(ask(tenant, of, hold=1000)) for n in range(500))
        )
        grants = [answer for answer in answers if isinstance(answer, Grant)]
        assert len(grants) == 50
        quotas = house.replicas[-1]
        assert await money(quotas, of) == (0, 50_000)
        spent = 0
        for n, grant in enumerate(grants):
            if n % 3 == 0:
                await quotas.settle(grant, 0, 1000)
                spent += 1000
            elif n % 3 == 1:
                await quotas.settle(grant, 0, n)
                spent += n
            else:
                await quotas.withdraw(grant)
        assert await money(quotas, of) == await money(quotas, tenant) == (spent, 0)
        for _ in range((50_000 - spent) // 1000):
            await admit(quotas, ask(tenant, of, hold=1000))
        await refuse(quotas, ask(tenant, of, hold=1000))

    async def test_every_interleaving_conserves_the_money(self, house: House) -> None:
        """Requests that begin, grow and end in any order: spent + held stays within, and ends at what they cost."""
        of, luck = scope(Limits(concurrent=30), budget(20_000)), random.Random(7)
        spent = 0

        async def request(quotas: Quotas) -> None:
            nonlocal spent
            hold = luck.randrange(2000)
            answer = await quotas.admit(ask(of, hold=hold))
            if isinstance(answer, Denied):
                return
            for _ in range(luck.randrange(5)):
                await asyncio.sleep(0)  # timed: lets the others run in between, which is the point
                more = luck.randrange(500)
                if await quotas.top_up(answer, more):
                    hold += more
                spent_now, held_now = await money(quotas, of)
                assert spent_now + held_now <= 20_000
            cost = luck.randrange(hold + 1)
            spent += cost
            assert (await quotas.settle(answer, 0, cost)).first

        await asyncio.gather(*(request(house.replicas[n % len(house.replicas)]) for n in range(200)))
        assert (await money(house.replicas[0], of), await in_flight(house.replicas[0], of)) == ((spent, 0), 0)

    async def test_a_hold_becomes_the_real_cost_once(self, house: House, quotas: Quotas) -> None:
        """Less or more than it; a second settlement, from wherever, changes nothing."""
        of = scope(None, budget(1000))
        cheap, dear = await admit(quotas, ask(of, hold=400)), await admit(quotas, ask(of, hold=600))
        assert await quotas.settle(cheap, 10, 100) == Settled(True)
        assert await money(quotas, of) == (100, 600)
        assert await quotas.settle(dear, 10, 1100) == Settled(True)
        for replica in house.replicas:
            assert await replica.settle(dear, 10, 1100) == Settled(False)
            assert await replica.settle_orphan("acme", cheap.exchange_id, 5) == Settled(False)
            await replica.withdraw(cheap)
            assert not await replica.top_up(dear, 0)
        assert await money(quotas, of) == (1200, 0)
        told = await refuse(quotas, ask(of, hold=1))
        assert told.limit is Limit.BUDGET and told.funds == await funds(quotas, of)
        await admit(quotas, ask(of, hold=0))

    @pytest.mark.parametrize("verb", ["tokens", "cost", "orphan", "more"])
    async def test_figures_below_nothing_are_mistakes(self, quotas: Quotas, verb: str) -> None:
        """They would fill what they should empty; and nothing has changed."""
        of = scope(None, budget(100))
        grant = await admit(quotas, ask(of, hold=10))
        wrong: dict[str, Callable[[], Awaitable[object]]] = {
            "tokens": lambda: quotas.settle(grant, -1, 0),
            "cost": lambda: quotas.settle(grant, 0, -1),
            "orphan": lambda: quotas.settle_orphan("acme", grant.exchange_id, -1),
            "more": lambda: quotas.top_up(grant, -1),
        }
        with pytest.raises(ValueError, match="0 or more"):
            await wrong[verb]()
        assert await money(quotas, of) == (0, 10)

    async def test_nothing_may_be_spent_of_nothing(self, quotas: Quotas) -> None:
        """A budget of 0 admits what is free; no budget admits everything."""
        of = scope(None, budget(0))
        told = await refuse(quotas, ask(of, hold=1))
        assert (told.limit, told.asked, told.retry_after_s) == (Limit.BUDGET, 1, None)
        await admit(quotas, ask(of, hold=0))
        await admit(quotas, ask(scope(Limits(concurrent=1)), hold=10**15))

    async def test_a_hold_grows_only_where_every_budget_has_room(self, quotas: Quotas) -> None:
        """Or in none of them."""
        key, tenant = scope(None, budget(100)), scope(None, budget(1000))
        grant = await admit(quotas, ask(tenant, key, hold=60))
        assert not await quotas.top_up(grant, 41)
        assert await money(quotas, tenant) == (0, 60)
        assert await quotas.top_up(grant, 40)
        assert await quotas.top_up(grant, 0)
        assert not await quotas.top_up(grant, 1)
        assert await money(quotas, tenant) == await money(quotas, key) == (0, 100)
        await quotas.settle(grant, 0, 30)
        assert await money(quotas, tenant) == await money(quotas, key) == (30, 0)

    async def test_tells_what_would_help_against_a_refusal(self, house: House, quotas: Quotas) -> None:
        """The next period; the end of what is in flight; or nothing at all."""
        of, forever = scope(None, budget(100, Period.WEEK)), scope(None, budget(100, Period.TOTAL))
        running = await admit(quotas, ask(of, hold=60))
        told = await refuse(quotas, ask(of, hold=60))
        assert told.retry_after_s == RELEASE_HINT_S
        assert told.funds is not None and told.funds.span == budget(0, Period.WEEK).span_at(house.now_s())
        assert (await refuse(quotas, ask(of, hold=101))).retry_after_s is None
        await quotas.settle(running, 0, 60)
        told = await refuse(quotas, ask(of, hold=60))
        assert told.funds is not None
        assert told.retry_after_s == pytest.approx(told.funds.span.end_s - house.now_s(), abs=SLACK_S)
        await quotas.settle(await admit(quotas, ask(forever, hold=60)), 0, 60)
        assert (await refuse(quotas, ask(forever, hold=60))).retry_after_s is None

    @pytest.mark.parametrize("period", [Period.DAY, Period.WEEK, Period.MONTH])
    async def test_a_period_ends_at_its_second(self, house: House, quotas: Quotas, period: Period) -> None:
        """Up to it nothing is free again; from it on all is, and what began before belongs to before."""
        of = scope(None, budget(100, period))
        await quotas.settle(await admit(quotas, ask(of, hold=50)), 0, 50)
        late = await admit(quotas, ask(of, hold=50))
        end_s = (await funds(quotas, of)).span.end_s
        await house.wait(end_s - house.now_s() - 1)
        await quotas.renew([late])
        told = await refuse(quotas, ask(of, hold=100))
        assert told.retry_after_s == pytest.approx(1, abs=SLACK_S)
        await house.wait(told.retry_after_s or 0)
        assert (await funds(quotas, of)).span.start_s == end_s
        new = await admit(quotas, ask(of, hold=70))
        assert not await quotas.top_up(late, 1)
        assert await quotas.settle(late, 0, 50) == Settled(True)
        assert await money(quotas, of) == (0, 70)
        await quotas.settle(new, 0, 60)
        assert await money(quotas, of) == (60, 0)

    async def test_thresholds_are_told_once_in_each_period(self, house: House, quotas: Quotas) -> None:
        """To whoever settles, over all processes."""
        of = scope(None, budget(1000, Period.DAY, (0.5, 0.8)))
        for _ in range(2):
            crossed = []
            for n, cost in enumerate((400, 99, 1, 200, 200, 50)):
                replica = house.replicas[n % len(house.replicas)]
                grant = await admit(replica, ask(of, hold=cost))
                settled = await replica.settle(grant, 0, cost)
                crossed.append([(c.scope, c.threshold, c.funds.spent_nanousd) for c in settled.crossed])
            assert crossed == [[], [], [(of, 0.5, 500)], [], [(of, 0.8, 900)], []]
            await house.wait((await funds(quotas, of)).span.end_s - house.now_s())

    async def test_what_the_ledger_knows_is_spent_already(self, house: House, quotas: Quotas) -> None:
        """Before the first admission in a period; thresholds passed then are not told again."""
        of = scope(None, budget(1000, soft_at=(0.5, 0.9)))
        house.ledger[of.key] = 600
        assert (await refuse(quotas, ask(of, hold=401))).limit is Limit.BUDGET
        grant = await admit(quotas, ask(of, hold=400))
        assert await quotas.settle(grant, 0, 100) == Settled(True)
        assert await money(quotas, of) == (700, 0)

    # --- orphans

    async def test_the_hold_of_a_crash_waits_for_its_settlement(self, house: House, quotas: Quotas) -> None:
        """Its lease lapses, its money does not come free before somebody says what it cost."""
        of = scope(Limits(concurrent=5), budget(100, Period.TOTAL))
        lost = await admit(quotas, ask(of, hold=60))
        await house.wait(ORPHAN_S / 2)
        assert (await in_flight(quotas, of), await money(quotas, of)) == (0, (0, 60))
        await refuse(quotas, ask(of, hold=41))
        assert (await house.replicas[-1].settle_orphan("acme", lost.exchange_id, 20)).first
        assert await money(quotas, of) == (20, 0)
        assert not (await quotas.settle(lost, 0, 60)).first

    async def test_a_hold_that_nobody_settles_is_spent_in_the_end(self, house: House, quotas: Quotas) -> None:
        """All of it, so a budget is never overspent by what nobody knows of."""
        of = scope(None, budget(100, Period.TOTAL))
        lost = await admit(quotas, ask(of, hold=60))
        await house.wait(LEASE_S + ORPHAN_S + 1)
        assert await money(quotas, of) == (60, 0)
        assert not (await quotas.settle(lost, 0, 10)).first
        await quotas.renew([lost])
        assert not await quotas.top_up(lost, 0)
        assert await money(quotas, of) == (60, 0)
