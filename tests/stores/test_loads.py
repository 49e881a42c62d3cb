"""Reading from the ledger what was spent: once for all who wait, whoever leaves."""

import asyncio

import pytest

from gateway.core.period import FOR_EVER
from gateway.core.quota import QuotasUnavailable
from gateway.stores.loads import Loads
from tests.stores.quota_contract import scope


class Ledger:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()

    async def __call__(self, scope_key: str, start_s: float) -> int | None:
        self.asked += 1
        self.begun.set()
        return await asyncio.shield(self.answer)


async def test_one_reading_for_all_who_wait() -> None:
    """Its figure is as old as its beginning; who leaves does not end it."""
    ledger, of = Ledger(), scope()
    loads = Loads(ledger, 20)
    leaving = asyncio.create_task(loads.load(of, FOR_EVER, 1))
    waiting = [asyncio.create_task(loads.load(of, FOR_EVER, n)) for n in (2, 3)]
    await ledger.begun.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    ledger.answer.set_result(70)
    assert await asyncio.gather(*waiting) == [("70", 1, 1)] * 2
    assert await loads.load(of, FOR_EVER, 9) == ("70", 9, 1)
    assert ledger.asked == 2


async def test_a_ledger_that_knows_nothing_says_so() -> None:
    """It is no zero."""
    ledger = Ledger()
    ledger.answer.set_result(None)
    assert await Loads(ledger, 20).load(scope(), FOR_EVER, 5) == ("0", 5, 0)


@pytest.mark.parametrize("trouble", ["fails", "is slow", "closes"])
async def test_what_cannot_be_read_is_unknown(trouble: str) -> None:
    """Never nothing."""
    ledger = Ledger()
    loads = Loads(ledger, 0.01 if trouble == "is slow" else 20)
    waiting = asyncio.create_task(loads.load(scope(), FOR_EVER, 5))
    await ledger.begun.wait()
    if trouble == "fails":
        ledger.answer.set_exception(OSError("gone"))
    elif trouble == "closes":
        await loads.aclose()
    with pytest.raises(QuotasUnavailable, match="the key `web` has spent"):
        await waiting
