"""Exchanges of other processes: asked after until their cost is known, and no longer."""

import asyncio
import logging
from collections.abc import Collection, Iterable
from zoneinfo import ZoneInfo

import pytest

from gateway.core.account import Balance
from gateway.core.period import Period
from gateway.core.quota import Budget, Crossing, Scope
from gateway.stores import others
from gateway.stores.accounts import Accounts
from gateway.stores.others import AT_ONCE, Others
from gateway.stores.sql.group import DatabaseDown

TOTAL = Budget(1000, Period.TOTAL, ZoneInfo("UTC"), (0.5,))
ACME = Scope("tenant/acme", "the tenant `acme`", None, TOTAL)


class Elsewhere:
    """A budget that other processes hold, and a ledger that knows what has ended."""

    def __init__(self, running: Iterable[str]) -> None:
        self._running = dict.fromkeys(running, 10)
        self.costs: dict[str, int] = {}
        self.trouble: Exception | None = None
        self.asked: list[list[str]] = []
        self.told: asyncio.Queue[Crossing] = asyncio.Queue()
        self.failed = asyncio.Event()
        self.accounts = Accounts(lambda: 0.0, self._load)
        self.others = Others(self.accounts, self._ended, self.told.put_nowait)

    async def begin(self) -> None:
        await self.accounts.load(ACME, TOTAL, 0.0)

    @property
    def money(self) -> tuple[int, int]:
        account = self.accounts.get(ACME, TOTAL, 0.0)
        assert account is not None
        return account.spent_nanousd, account.held_nanousd

    async def _load(self, scope_key: str, start_s: float) -> Balance:
        return Balance(0, self._running)

    async def _ended(self, names: Collection[str]) -> dict[str, int]:
        self.asked.append(sorted(names))
        if self.trouble is not None:
            self.failed.set()
            raise self.trouble
        return {name: self.costs[name] for name in names if name in self.costs}


async def test_what_has_ended_is_settled_and_the_rest_asked_after_again() -> None:
    """Until nothing is left; then nobody is asked."""
    house = Elsewhere(["x", "y"])
    await house.begin()
    house.costs["x"] = 3
    await house.others.look()
    assert house.money == (3, 10)
    house.costs["y"] = 4
    await house.others.look()
    await house.others.look()
    assert house.money == (7, 0)
    assert house.asked == [["x", "y"], ["y"]]


async def test_a_crash_of_thousands_is_asked_after_in_parts() -> None:
    """Each of them once."""
    names = [f"{n:04}" for n in range(2 * AT_ONCE + 1)]
    house = Elsewhere(names)
    await house.begin()
    house.costs = dict.fromkeys(names, 1)
    await house.others.look()
    assert sorted(map(len, house.asked)) == [1, AT_ONCE, AT_ONCE]
    assert sorted(name for some in house.asked for name in some) == names
    assert house.money == (len(names), 0)


async def test_crossings_are_told() -> None:
    """Nobody here settled it, so nobody else can tell."""
    house = Elsewhere(["x"])
    await house.begin()
    house.costs["x"] = 600
    await house.others.look()
    assert house.told.get_nowait().threshold == 0.5


@pytest.mark.parametrize(
    ("trouble", "traces"), [(DatabaseDown("gone"), False), (ValueError("a mistake"), True)], ids=["down", "mistake"]
)
async def test_it_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Exception, traces: bool
) -> None:
    """Through a time in which nobody answers, which is one line in the log."""
    monkeypatch.setattr(others, "LOOK_S", 0.001)
    house = Elsewhere(["x"])
    await house.begin()
    house.costs["x"], house.trouble = 700, trouble
    house.others.start()
    for _ in range(3):
        await house.failed.wait()
        house.failed.clear()
    house.trouble = None
    assert (await house.told.get()).threshold == 0.5
    await house.others.aclose()
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(trouble) in line.getMessage()
    assert bool(line.exc_info) is traces


async def test_closed_before_it_began() -> None:
    """No matter."""
    await Elsewhere([]).others.aclose()
