"""Grants on the line: what an exchange asks for, what it is told, and what it gives back."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.core.quota import Scope
from gateway.core.tokens import Source, Usage
from gateway.metrics import Metrics
from gateway.proxy.exchange import Exchange
from gateway.proxy.grants import Grants
from gateway.stores.memory import LocalQuotas
from gateway.tenancy.quotas import Entitlement, LimitSettings
from gateway.tenancy.tenants import Identity, Key, Tenant
from tests.metrics.text_format import read_exposition
from tests.surface.exchanges import NOW_S, admitted, attempt, order_of

ASK = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "x" * 38}]}
PROMPT_TOKENS = 14


class House:
    """Limits of one tenant, on a clock that stands still unless it is pushed."""

    def __init__(self, **limits: int) -> None:
        self.now_s = NOW_S
        self.metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
        self.quotas = LocalQuotas(lambda: self.now_s, lambda: self.now_s)
        self._work: list[Coroutine[Any, Any, None]] = []
        self.grants = Grants(self.quotas, self.metrics, self._work.append)
        self.entitlement = Entitlement("acme", LimitSettings(**limits))
        self._asked = 0

    async def take(self, path: str = "/v1/chat/completions", **fields: Any) -> Exchange:
        exchange = admitted(path, {**ASK, **fields})
        self._asked += 1
        exchange.serial = f"serial-{self._asked}"
        order = order_of(exchange)
        order.identity = Identity(Tenant("acme", entitlement=self.entitlement), Key("web"))
        await self.grants.take(exchange, order)
        return exchange

    async def settle(self, exchange: Exchange, *, tried: bool = True, **usage: int) -> None:
        if tried:
            exchange.attempts.append(attempt())
            exchange.usage = Usage(**usage, source=Source.REPORTED)
        self.grants.settle(exchange)
        await self.work()

    async def work(self) -> None:
        work, self._work[:] = self._work[:], []
        await asyncio.gather(*work)

    async def tokens_left(self) -> int:
        scope: Scope = self.entitlement.scopes("web", "gpt-4o-mini")[0]
        tokens = (await self.quotas.standing(scope)).tokens
        assert tokens is not None
        return tokens.remaining

    def refused(self, limit: str) -> tuple[int, int]:
        scrape = read_exposition(self.metrics.render()[0])
        return (
            int(scrape.value("aigateway_rate_limit_hits_total", tenant_id="acme")),
            int(scrape.value("aigateway_limit_rejections_total", tenant_id="acme", limit=limit)),
        )


async def test_who_has_no_limits_takes_nothing() -> None:
    """No grant, so no headers, and nothing to settle."""
    house = House()
    exchange = await house.take()
    assert exchange.grant is None
    await house.settle(exchange)
    assert house.quotas.scopes == 0


@pytest.mark.parametrize(
    ("limits", "limit", "code"),
    [
        ({"requests_per_minute": 60, "burst": 1}, "requests", "rate_limited"),
        ({"tokens_per_minute": 1000}, "tokens", "rate_limited"),
        ({"concurrent": 1}, "concurrent", "too_busy"),
    ],
)
async def test_refusals_are_counted_and_take_nothing(limits: dict[str, int], limit: str, code: str) -> None:
    """The second at once is one too many; it says so, is counted, and whoever waits as told comes through."""
    house = House(**limits)
    first = await house.take()
    with pytest.raises(GatewayError) as caught:
        await house.take()
    assert (caught.value.code, caught.value.status) == (code, 429)
    assert house.refused(limit) == (1, 1)
    if limit == "concurrent":
        await house.settle(first, input=1)
    else:
        assert caught.value.retry_after_s is not None
        house.now_s += caught.value.retry_after_s
    await house.take()


async def test_tokens_are_corrected_to_what_was_used() -> None:
    """Estimated before, counted after: input of every kind and output."""
    house = House(tokens_per_minute=6000)
    exchange = await house.take()
    assert await house.tokens_left() == 600 - PROMPT_TOKENS - 100
    await house.settle(exchange, input=5, cached_input=2, output=3)
    assert await house.tokens_left() == 600 - 10


async def test_what_reached_no_provider_costs_nothing() -> None:
    """An open circuit, a full house: not even the request counts."""
    house = House(requests_per_minute=60, burst=1, tokens_per_minute=6000)
    for _ in range(3):
        await house.settle(await house.take(), tried=False)
    assert await house.tokens_left() == 600


@pytest.mark.parametrize(
    ("path", "fields", "prompts", "output"),
    [
        ("/v1/chat/completions", {"n": 2}, 1, 200),
        ("/v1/embeddings", {"input": "x" * 40}, 1, 0),
        ("/v1/messages/count_tokens", {}, 0, 0),
    ],
)
async def test_estimates(path: str, fields: dict[str, Any], prompts: int, output: int) -> None:
    """All choices; no output where none is written; nothing where the answer is free."""
    house = House(tokens_per_minute=6000)
    exchange = await house.take(path, **fields)
    assert await house.tokens_left() == 600 - prompts * order_of(exchange).view.prompt_tokens - output


async def test_one_request_id_for_all_is_no_way_around() -> None:
    """The client chooses `x-request-id`; what is counted goes by a name of our own."""
    house = House(concurrent=1)
    first = await house.take()
    with pytest.raises(GatewayError, match="too_busy"):
        await house.take()
    assert first.id == (await _again(house, first)).id


async def _again(house: House, first: Exchange) -> Exchange:
    await house.settle(first, input=1)
    return await house.take()


async def test_what_runs_keeps_its_slot() -> None:
    """Renewed at each heartbeat it holds for as long as it takes; without, the slot is free after half a minute."""
    house = House(concurrent=1)
    exchange = await house.take()
    for _ in range(10):
        house.now_s += 10
        house.grants.renew([exchange])
        await house.work()
    with pytest.raises(GatewayError, match="too_busy"):
        await house.take()
    house.now_s += 31
    await house.take()
