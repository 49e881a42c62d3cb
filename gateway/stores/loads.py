"""What budgets have spent, read from the ledger for a store that asks for it: once, however many wait."""

import asyncio

from gateway.core.period import Span
from gateway.core.quota import QuotasUnavailable, Scope
from gateway.stores.accounts import LoadSpent

Loaded = tuple[str, int, int]
"""Nano-dollars, the moment from which on they may be out of date, and 1 where the ledger knew of any."""


class Loads:
    """Readings under way.

    Args:
        load_spent: does it.
        load_s: how long it may take.
    """

    def __init__(self, load_spent: LoadSpent, load_s: float) -> None:
        self._load_spent = load_spent
        self._load_s = load_s
        self._loading: dict[tuple[str, Span], asyncio.Task[Loaded]] = {}

    async def load(self, scope: Scope, span: Span, now_us: int) -> Loaded:
        """Read what a scope has spent in a period; who waits and leaves stops it for nobody.

        Raises:
            QuotasUnavailable: it failed, took too long, or :meth:`aclose` came first.
        """
        key = scope.key, span
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._read(scope.key, span.start_s, now_us))
            task.add_done_callback(lambda done: self._loaded(key, done))
        await asyncio.wait((task,))
        if task.cancelled():
            raise QuotasUnavailable(f"what {scope.owner} has spent was not read: the gateway is closing")
        error = task.exception()
        if error is not None:
            raise QuotasUnavailable(f"what {scope.owner} has spent cannot be read") from error
        return task.result()

    async def aclose(self) -> None:
        """Give up what is being read."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)

    async def _read(self, scope_key: str, start_s: float, now_us: int) -> Loaded:
        async with asyncio.timeout(self._load_s):
            spent_nanousd = await self._load_spent(scope_key, start_s)
        return str(spent_nanousd or 0), now_us, int(spent_nanousd is not None)

    def _loaded(self, key: tuple[str, Span], task: asyncio.Task[Loaded]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # who waited raises it; where all have left, nobody needs to know
