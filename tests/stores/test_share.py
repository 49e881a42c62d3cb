"""One process' part: together the parts are never more than the whole, and what is told is about the whole."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.quota import RELEASE_HINT_S, Ask, Denied, Grant, Limit, Limits
from gateway.stores.share import Share, part_of
from tests.stores.local_house import NEW_YEARS_EVE_S
from tests.stores.quota_contract import ask, budget, scope


def share(parts: int, spent: int | None = None, unwritten: int = 0) -> Share:
    """A part, where so much was spent by all."""

    async def load(scope_key: str, start_s: float) -> int | None:
        return spent

    async def own(scope_key: str) -> int:
        return unwritten

    return Share(parts, lambda: 0.0, lambda: NEW_YEARS_EVE_S, load, own)


FIGURE = st.integers(1, 10**6) | st.none()


@given(FIGURE, FIGURE, FIGURE, FIGURE, st.integers(1, 50))
def test_limits_are_divided_and_never_nothing(
    requests: int | None, tokens: int | None, concurrent: int | None, burst: int | None, parts: int
) -> None:
    """Where there is less than one for each, one."""
    whole = Limits(requests, tokens, concurrent, burst)
    part = part_of(whole, parts)
    for name in ("requests_per_minute", "tokens_per_minute", "concurrent", "burst"):
        has, had = getattr(part, name), getattr(whole, name)
        assert (has is None) == (had is None)
        if had is not None:
            assert has * parts <= max(had, parts)
            assert had // parts in (has, 0)


@given(
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(1, 7),
    st.lists(st.integers(0, 3000), max_size=5),
    st.data(),
)
def test_all_parts_together_hold_no_more_than_is_left(
    whole: int, spent: int, parts: int, unwritten: list[int], data: st.DataObject
) -> None:
    """With what each of them knows and the ledger does not."""
    unwritten = (unwritten + [0] * parts)[:parts]

    async def fill() -> int:
        of, held = scope(None, budget(whole)), 0
        for own in unwritten:
            part = share(parts, spent, own)
            step = data.draw(st.integers(1, 2000))
            while isinstance(await part.admit(ask(of, hold=step)), Grant):
                held += step
        return held

    held = asyncio.run(fill())
    assert held == 0 or held + spent <= whole


async def test_a_refusal_speaks_of_the_whole() -> None:
    """And asks to come again soon, unless not even the whole is enough."""
    of = scope(Limits(concurrent=9), budget(900))
    part = share(3, 300)
    assert isinstance(await part.admit(ask(of, hold=200)), Grant)
    told = await part.admit(ask(of, hold=10))
    assert isinstance(told, Denied)
    assert (told.limit, told.scope, told.retry_after_s) == (Limit.BUDGET, of, RELEASE_HINT_S)
    assert told.funds is not None
    assert (told.funds.limit_nanousd, told.funds.spent_nanousd, told.funds.held_nanousd) == (900, 300, 600)
    never = await part.admit(ask(of, hold=901))
    assert isinstance(never, Denied)
    assert never.retry_after_s is None
    standing = await part.standing(of)
    assert (standing.funds, standing.in_flight) == (told.funds, 1)


@pytest.mark.parametrize("parts", [1, 3])
async def test_a_step_asks_the_budgets_alone(parts: int) -> None:
    """The exchange has its slot and its request already."""
    of = scope(Limits(requests_per_minute=1, concurrent=1), budget(300))
    part = share(parts)
    running = ask(of, hold=300 // parts - 30)
    assert isinstance(await part.admit(running), Grant)
    assert isinstance(await part.admit(replace(running, exchange_id="another")), Denied)
    free = Ask(running.exchange_id, "acme", (*running.scopes, scope(Limits(concurrent=1))), 0, 0)
    assert await part.step(free, 0, 20) is not None
    assert await part.step(free, 1, 11) is None
    assert await part.step(free, 1, 10) is not None
