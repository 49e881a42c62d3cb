"""Accounts of budgets: read back once, by everybody together, and never in the place of newer ones."""

import asyncio
from zoneinfo import ZoneInfo

import pytest

from gateway.core.account import Balance
from gateway.core.period import Period
from gateway.core.quota import Budget, QuotasUnavailable, Scope
from gateway.stores.accounts import Accounts

DAILY = Budget(1000, Period.DAY, ZoneInfo("UTC"))
ACME = Scope("tenant/acme", "the tenant `acme`", None, DAILY)
MIDNIGHT_S = 20_000 * 86400.0


class Books:
    """A ledger that answers when the test lets it, and a calendar."""

    def __init__(self, load_s: float = 60.0) -> None:
        self.now_s = MIDNIGHT_S - 10
        self.asked: asyncio.Queue[tuple[str, float, asyncio.Future[Balance | int | None]]] = asyncio.Queue()
        self.accounts = Accounts(lambda: self.now_s, self._spent, load_s)

    async def _spent(self, scope_key: str, start_s: float) -> Balance | int | None:
        answer: asyncio.Future[Balance | int | None] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((scope_key, start_s, answer))
        return await answer

    def load(self, scope: Scope = ACME) -> "asyncio.Task[None]":
        return asyncio.create_task(self.accounts.load(scope, DAILY, self.now_s))

    def spent(self, scope: Scope = ACME) -> int | None:
        account = self.accounts.get(scope, DAILY, self.now_s)
        return None if account is None else account.spent_nanousd


async def test_all_who_wait_share_one_question() -> None:
    """About this scope and the beginning of this period."""
    books = Books()
    assert books.spent() is None
    waiting = [books.load() for _ in range(5)]
    scope_key, start_s, answer = await books.asked.get()
    assert (scope_key, start_s) == ("tenant/acme", MIDNIGHT_S - 86400)
    answer.set_result(700)
    await asyncio.gather(*waiting)
    assert books.asked.empty()
    assert books.spent() == 700


async def test_nothing_known_is_nothing_spent() -> None:
    """A tenant's first day."""
    books = Books()
    waiting = books.load()
    (await books.asked.get())[2].set_result(None)
    await waiting
    assert books.spent() == 0


async def test_one_who_leaves_does_not_stop_the_question() -> None:
    """Not even the one who asked it first."""
    books = Books()
    first, second = books.load(), books.load()
    answer = (await books.asked.get())[2]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    answer.set_result(700)
    await second
    assert books.spent() == 700


async def test_a_failure_is_told_to_all_and_not_remembered() -> None:
    """The next one asks anew."""
    books = Books()
    waiting = [books.load() for _ in range(3)]
    (await books.asked.get())[2].set_exception(OSError("gone"))
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, QuotasUnavailable)
        assert isinstance(outcome.__cause__, OSError)
        assert str(outcome) == "what the tenant `acme` has spent cannot be read"
    waiting = [books.load()]
    (await books.asked.get())[2].set_result(5)
    await waiting[0]
    assert books.spent() == 5


async def test_a_failure_after_all_have_left_is_no_noise() -> None:
    """The loop has nothing to complain of."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    books = Books()
    waiting = books.load()
    answer = (await books.asked.get())[2]
    waiting.cancel()
    await asyncio.wait((waiting,))
    answer.set_exception(OSError("gone"))
    del waiting, answer
    for _ in range(10):
        await asyncio.sleep(0)  # timed: a few turns of the loop, in which the failed task ends and is let go
    assert complaints == []


async def test_a_ledger_that_does_not_answer_is_given_up() -> None:
    """After a while, with an error."""
    books = Books(load_s=0.01)
    with pytest.raises(QuotasUnavailable) as unavailable:
        async with asyncio.timeout(60):
            await books.load()
    assert isinstance(unavailable.value.__cause__, TimeoutError)


async def test_closing_gives_up_what_is_asked() -> None:
    """And tells those who wait."""
    books = Books()
    waiting = books.load()
    await books.asked.get()
    await books.accounts.aclose()
    with pytest.raises(QuotasUnavailable, match="closing"):
        await waiting


async def test_an_answer_that_comes_in_the_next_period_replaces_nothing() -> None:
    """The new period's account is there already, with what it holds."""
    books = Books()
    slow = books.load()
    old = (await books.asked.get())[2]
    books.now_s = MIDNIGHT_S
    fast = books.load()
    _, start_s, new = await books.asked.get()
    assert start_s == MIDNIGHT_S
    new.set_result(1)
    await fast
    old.set_result(999)
    await slow
    assert books.spent() == 1


async def test_accounts_of_past_periods_are_forgotten() -> None:
    """A few with each new one; those of this period stay, whatever they hold."""
    accounts = Accounts(lambda: now_s, None)
    now_s = MIDNIGHT_S - 10
    for n in range(1000):
        accounts.get(Scope(f"key/acme/{n}", "a key", None, DAILY), DAILY, now_s)
    assert len(accounts) == 1000
    now_s = MIDNIGHT_S
    for n in range(1000):
        accounts.get(Scope(f"key/beta/{n}", "a key", None, DAILY), DAILY, now_s)
    assert len(accounts) == 1000


async def test_two_windows_of_one_scope_do_not_disturb_each_other() -> None:
    """As while a changed configuration takes over."""
    accounts = Accounts(lambda: MIDNIGHT_S, None)
    weekly = Budget(1000, Period.WEEK, ZoneInfo("UTC"))
    day, week = accounts.get(ACME, DAILY, MIDNIGHT_S), accounts.get(ACME, weekly, MIDNIGHT_S)
    assert day is not None and week is not None and day is not week
    day.held_nanousd = 5
    assert accounts.get(ACME, DAILY, MIDNIGHT_S) is day
    assert accounts.get(ACME, weekly, MIDNIGHT_S) is week


async def found(books: Books, balance: Balance, scope: Scope = ACME) -> None:
    """An account is read back."""
    waiting = books.load(scope)
    (await books.asked.get())[2].set_result(balance)
    await waiting


async def test_what_runs_elsewhere_is_held_until_its_cost_is_known() -> None:
    """Then it is spent; told again, nothing happens."""
    books = Books()
    await found(books, Balance(100, {"x": 300, "y": 400}))
    account = books.accounts.get(ACME, DAILY, books.now_s)
    assert account is not None
    assert (account.spent_nanousd, account.held_nanousd) == (100, 700)
    assert books.accounts.others == {"x", "y"}
    assert books.accounts.settle_other("x", 50) == []
    assert books.accounts.settle_other("x", 50) == []
    assert books.accounts.settle_other("nobody's", 5) == []
    assert (account.spent_nanousd, account.held_nanousd) == (150, 400)
    assert books.accounts.others == {"y"}


async def test_what_runs_elsewhere_counts_in_every_account_that_found_it() -> None:
    """Its tenant's and its key's, each with what it had to hold."""
    books = Books()
    key = Scope("key/acme/web", "the key `web`", None, DAILY)
    await found(books, Balance(0, {"x": 300}))
    await found(books, Balance(5, {"x": 200}), key)
    books.accounts.settle_other("x", 90)
    assert (books.spent(), books.spent(key)) == (90, 95)
    assert not books.accounts.others


async def test_a_threshold_is_crossed_by_what_ran_elsewhere() -> None:
    """Not by its hold, of which most may never be spent."""
    books = Books()
    half = Budget(1000, Period.DAY, ZoneInfo("UTC"), (0.5,))
    waiting = asyncio.create_task(books.accounts.load(ACME, half, books.now_s))
    (await books.asked.get())[2].set_result(Balance(100, {"x": 900, "y": 0}))
    await waiting
    assert books.accounts.settle_other("x", 399) == []
    (crossing,) = books.accounts.settle_other("y", 1)
    assert (crossing.scope, crossing.threshold, crossing.funds.spent_nanousd) == (ACME, 0.5, 500)
