"""Telling Redis late how exchanges have ended: until it has answered, no more of them than fit, none twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core.quota import Crossing, Settled
from gateway.stores import endings as module
from gateway.stores.endings import Ending, Endings
from gateway.stores.redis_link import RedisGone
from tests.redis_server import RedisServer, redis_server
from tests.stores.quota_contract import admit, ask, budget, money, scope
from tests.stores.redis_house import RedisHouse, open_house

__all__ = ["redis_server"]


@pytest.fixture
async def house(redis_server: RedisServer) -> AsyncIterator[RedisHouse]:
    """One process."""
    async with open_house(redis_server, 1, asyncio.get_running_loop().time) as house:
        yield house


class Deaf:
    """A Redis that answers nothing; or an error."""

    now_us = 1

    def __init__(self, *, refused: bool) -> None:
        self.refused = refused
        self.forgotten: list[str] = []

    async def end(self, *_: object, **__: object) -> Settled:
        raise RedisGone("deaf", refused=self.refused)

    def forget(self, exchange_id: str) -> None:
        self.forgotten.append(exchange_id)


def ending(exchange_id: str, cost: int = 1) -> Ending:
    """Of an exchange that Redis had admitted."""
    return Ending("acme", exchange_id, 0, cost)


async def test_what_is_told_late_counts_once(house: RedisHouse) -> None:
    """With the thresholds that it crosses."""
    (redis,), crossed = house.replicas, list[Crossing]()
    endings, of = Endings(redis, crossed.append), scope(None, budget(1000, soft_at=(0.5,)))
    for _ in range(40):
        endings.keep(ending((await admit(redis, ask(of, hold=20))).exchange_id, 15))
    assert len(endings) == 40
    await endings.tell_all()
    assert (len(endings), endings.told, endings.forgotten) == (0, 40, 0)
    assert await money(redis, of) == (600, 0)
    assert [(crossing.scope, crossing.threshold) for crossing in crossed] == [(of, 0.5)]


async def test_what_is_not_heard_is_kept() -> None:
    """And taken for told: it will be."""
    endings = Endings(Deaf(refused=False), crossed_never)  # type: ignore[arg-type]
    assert await endings.tell(ending("a")) == Settled(True)
    assert "a" in endings
    with pytest.raises(RedisGone):
        await endings.tell_all()
    assert (len(endings), endings.told) == (1, 0)


async def test_what_redis_refuses_is_not_told_for_ever() -> None:
    """It would be refused again."""
    deaf = Deaf(refused=True)
    endings = Endings(deaf, crossed_never)  # type: ignore[arg-type]
    await endings.tell(ending("a"))
    endings.keep(ending("b"))
    await endings.tell_all()
    assert (len(endings), endings.forgotten, deaf.forgotten) == (0, 2, ["a", "b"])


async def test_no_more_than_fit_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes."""
    monkeypatch.setattr(module, "MOST_TO_TELL", 3)
    endings = Endings(Deaf(refused=False), crossed_never)  # type: ignore[arg-type]
    for name in "abcde":
        endings.keep(ending(name))
    assert [name in endings for name in "abcde"] == [False, False, True, True, True]
    assert endings.forgotten == 2


def crossed_never(_: Crossing) -> None:
    """Nothing is crossed here."""
    raise AssertionError("nothing was settled")
