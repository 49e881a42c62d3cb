"""Exchanges of other processes that budgets were found to hold: asked after until it is known what they cost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import Final

from gateway.core.quota import Crossing
from gateway.stores.accounts import Accounts
from gateway.stores.sql.group import DatabaseDown

LOOK_S: Final = 5.0
"""How often they are asked after: no budget is wrong by more than what they held, nor for much longer than they ran."""

AT_ONCE: Final = 500
"""Ids of one question."""

log = logging.getLogger("gateway")


class Others:
    """Tells accounts what became of exchanges that another process had open when the account was read back.

    The other one may have died, and somebody settles what it left; or it is still there, because this one takes over
    from it, and ends its streams by itself.

    Args:
        accounts: which of them there are.
        ended: from ids to the cost, in nano-dollars, of those that have ended.
        on_crossed: told of thresholds that are crossed by it.
    """

    def __init__(
        self,
        accounts: Accounts,
        ended: Callable[[Collection[str]], Awaitable[Mapping[str, int]]],
        on_crossed: Callable[[Crossing], None],
    ) -> None:
        self._accounts = accounts
        self._ended = ended
        self._on_crossed = on_crossed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look every :data:`LOOK_S`, until :meth:`aclose`."""
        self._task = asyncio.create_task(self._run(), name="others")

    async def look(self) -> None:
        """Ask after all of them once; costs nothing where there are none."""
        waiting = iter(list(self._accounts.others))
        while some := list(islice(waiting, AT_ONCE)):
            for exchange_id, cost_nanousd in (await self._ended(some)).items():
                for crossing in self._accounts.settle_other(exchange_id, cost_nanousd):
                    self._on_crossed(crossing)

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
                failing = False
            except Exception as trouble:
                if not failing:
                    expected = isinstance(trouble, DatabaseDown)
                    log.warning("what others have spent cannot be read yet: %s", trouble, exc_info=not expected)
                failing = True
