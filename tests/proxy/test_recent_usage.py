"""Sums that are read once for all who ask, kept for a while, and never many at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.proxy.recent_usage import KEEP_S, KEEP_TIMES, KEPT, MODELS, RecentUsage
from gateway.stores.sql.group import DatabaseDown
from gateway.stores.sql.usage import MAX_LINES, UsageLine

MONTH = (1_000, 2_000)


class Ledger:
    """Answers when the test says so; a clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.took_s = 0.0
        self.asked: list[tuple[tuple[str, ...], int, int, str]] = []
        self.running = self.most_running = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.entered = asyncio.Event()
        self.trouble: Exception | None = None
        self.models = 2
        self.usage = RecentUsage(self._read, lambda: self.now_s, lambda: 1_000_000 + self.now_s, wait_s=60)

    async def _read(
        self, by: Sequence[str], from_us: int, to_us: int, tenant_id: str, *, limit: int
    ) -> list[UsageLine]:
        self.asked.append((tuple(by), from_us, to_us, tenant_id))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.entered.set()
        try:
            await self.answers.wait()
        finally:
            self.running -= 1
        self.now_s += self.took_s
        if self.trouble is not None:
            raise self.trouble
        if not by:
            return [UsageLine((), self.models, *(7 * [self.models]))]
        return [UsageLine((f"m{n}",), *range(1, 9)) for n in range(self.models)][:limit]


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    there = Ledger()
    yield there
    await there.usage.aclose()


async def test_models_add_up_to_the_whole(ledger: Ledger) -> None:
    """By one read; the figures are as old as its beginning."""
    ledger.took_s = 3
    used = await ledger.usage.of("acme", *MONTH)
    assert used.whole == UsageLine((), *(2 * n for n in range(1, 9)))
    assert [line.by for line in used.models] == [("m0",), ("m1",)]
    assert (used.as_of_s, used.more_models) == (1_000_100, 0)
    assert ledger.asked == [(("model",), 1_000, 2_000, "acme")]


async def test_nothing_was_used(ledger: Ledger) -> None:
    """Zeros, and no model."""
    ledger.models = 0
    used = await ledger.usage.of("acme", *MONTH)
    assert (used.whole, used.models) == (UsageLine((), *(8 * [0])), ())


async def test_more_models_than_have_lines(ledger: Ledger) -> None:
    """Who asks for ever new names under a pattern gets the dearest, and the sum of all."""
    ledger.models = MODELS + 3
    used = await ledger.usage.of("acme", *MONTH)
    assert (len(used.models), used.more_models, used.whole.exchanges) == (MODELS, 3, MODELS + 3)
    ledger.models = MAX_LINES + 1
    used = await ledger.usage.of("other", *MONTH)
    assert used.whole.exchanges == MAX_LINES + 1
    assert [by for by, *_ in ledger.asked[1:]] == [("model",), ()]


@pytest.mark.parametrize(("took_s", "kept_s"), [(0.0, KEEP_S), (0.1, KEEP_S), (3.0, KEEP_TIMES * 3.0)])
async def test_what_was_read_is_kept_for_longer_the_dearer_it_was(ledger: Ledger, took_s: float, kept_s: float) -> None:
    """Whoever asks again and again costs a tenth of one thread."""
    ledger.took_s = took_s
    first = await ledger.usage.of("acme", *MONTH)
    ledger.now_s += kept_s - 0.001
    assert await ledger.usage.of("acme", *MONTH) is first
    ledger.now_s += 0.001
    assert await ledger.usage.of("acme", *MONTH) is not first
    assert len(ledger.asked) == 2


async def test_tenants_and_times_are_kept_apart(ledger: Ledger) -> None:
    """Nobody sees another's."""
    for wish in (("acme", 1, 2), ("acme", 1, 3), ("acme", 0, 2), ("other", 1, 2)):
        await ledger.usage.of(*wish)
    assert len({asked[1:] for asked in ledger.asked}) == len(ledger.asked) == 4


async def test_all_who_ask_at_once_share_one_read(ledger: Ledger) -> None:
    """And one of them leaving does not stop it for the others."""
    ledger.answers.clear()
    asking = [asyncio.create_task(ledger.usage.of("acme", *MONTH)) for _ in range(50)]
    await ledger.entered.wait()
    asking[0].cancel()
    await asyncio.wait(asking[:1])
    ledger.answers.set()
    answers = await asyncio.gather(*asking[1:])
    assert len(ledger.asked) == 1
    assert all(answer is answers[0] for answer in answers)


async def test_one_sum_is_read_at_a_time(ledger: Ledger) -> None:
    """Whoever it is for, whatever its time: the database has requests to serve. Each gets its own all the same."""
    asked = [(tenant_id, from_us, 9_000) for tenant_id in ("a", "b", "c") for from_us in range(4)]
    ledger.answers.clear()
    asking = [asyncio.create_task(ledger.usage.of(*wish)) for wish in asked]
    while len(ledger.usage._reading) < 3:
        await _others_run()
    for _ in range(3):  # as many turns as it takes a task to begin and to come to its read
        await _others_run()
    assert ledger.running == 1
    ledger.answers.set()
    await asyncio.gather(*asking)
    assert ledger.most_running == 1
    assert sorted((tenant_id, from_us, to_us) for _, from_us, to_us, tenant_id in ledger.asked) == asked


async def test_a_tenant_of_many_wishes_does_not_fill_the_line(ledger: Ledger) -> None:
    """It waits behind itself: who comes later is the next but one."""
    ledger.answers.clear()
    greedy = [asyncio.create_task(ledger.usage.of("greedy", n, 9_000)) for n in range(100)]
    await ledger.entered.wait()
    modest = asyncio.create_task(ledger.usage.of("modest", *MONTH))
    while len(ledger.usage._reading) < 2:
        await _others_run()
    ledger.answers.set()
    await asyncio.gather(modest, *greedy)
    assert [tenant_id for *_, tenant_id in ledger.asked].index("modest") == 1


async def test_trouble_is_everybody_s_and_is_not_kept(ledger: Ledger) -> None:
    """The next who asks finds out anew."""
    ledger.trouble = DatabaseDown("gone")
    ledger.answers.clear()
    asking = [asyncio.create_task(ledger.usage.of("acme", *MONTH)) for _ in range(3)]
    await ledger.entered.wait()
    ledger.answers.set()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in told] == [DatabaseDown] * 3
    assert len(ledger.asked) == 1
    ledger.trouble = None
    await ledger.usage.of("acme", *MONTH)


async def test_nobody_waits_for_ever(ledger: Ledger) -> None:
    """The sum is read to its end for the next who asks."""
    ledger.usage._wait_s = 0.0
    ledger.answers.clear()
    with pytest.raises(TimeoutError):
        await ledger.usage.of("acme", *MONTH)
    await ledger.entered.wait()
    ledger.usage._wait_s = 60.0
    again = asyncio.create_task(ledger.usage.of("acme", *MONTH))
    ledger.answers.set()
    await again
    assert len(ledger.asked) == 1


async def test_what_is_kept_is_bounded(ledger: Ledger) -> None:
    """The oldest goes first."""
    for n in range(KEPT + 5):
        await ledger.usage.of("acme", n, 9_000)
    assert len(ledger.usage._kept) == KEPT
    before = len(ledger.asked)
    await ledger.usage.of("acme", KEPT + 4, 9_000)
    assert len(ledger.asked) == before
    await ledger.usage.of("acme", 0, 9_000)
    assert len(ledger.asked) == before + 1


async def test_closing_ends_what_is_read() -> None:
    """Who waits is told; nothing is left behind."""
    ledger = Ledger()
    ledger.answers.clear()
    asking = [asyncio.create_task(ledger.usage.of("acme", n, 9_000)) for n in range(3)]
    await ledger.entered.wait()
    await ledger.usage.aclose()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in told] == [DatabaseDown] * 3
    assert (len(ledger.asked), ledger.running) == (1, 0)


async def _others_run() -> None:
    """Let every task that can go on do so."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn
