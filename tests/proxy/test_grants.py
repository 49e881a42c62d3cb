"""Grants on the line: what an exchange asks for, what it is told, and what it gives back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from typing import Any, cast

import pytest

from gateway.core.errors import GatewayError
from gateway.core.hold import DEFAULT_MAX_OUTPUT_TOKENS, STEP_TOKENS
from gateway.core.pricing import Price, cost_nanousd
from gateway.core.quota import Scope, WhenExhausted
from gateway.core.tokens import Source, Usage
from gateway.metrics import Metrics
from gateway.proxy.exchange import Exchange
from gateway.proxy.grants import ALL, Grants
from gateway.stores.memory import LocalQuotas
from gateway.tenancy.quotas import BudgetSettings, Entitlement, LimitSettings
from gateway.tenancy.tenants import Identity, Key, Tenant
from gateway.upstream.stream import UpstreamStream
from tests.metrics.text_format import read_exposition
from tests.surface.exchanges import NOW_S, HandSpending, admitted, attempt, hand_spending, order_of

ASK = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "x" * 38}]}
PROMPT_TOKENS = 14


class House:
    """Limits of one tenant, on a clock that stands still unless it is pushed."""

    def __init__(self, **limits: int) -> None:
        self.now_s = NOW_S
        self.metrics = Metrics("i", "1", ["acme"], ["gpt-4o-mini"], ["one"])
        self.quotas = LocalQuotas(lambda: self.now_s, lambda: self.now_s)
        self._work: list[Coroutine[Any, Any, None]] = []
        self.told = HandSpending()
        self.grants = Grants(self.quotas, self.metrics, hand_spending(self.told), self._work.append)
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
        await self.grants.settle(exchange)

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
    assert exchange.holding is None
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


SMALL = Price(input=Decimal(1), output=Decimal(2))


def hold(prompt_tokens: int, output_tokens: int) -> int:
    return cost_nanousd(Usage(input=prompt_tokens, output=output_tokens), SMALL)


def with_budget(usd: str, when_exhausted: WhenExhausted = "cut", soft_at: tuple[float, ...] = ()) -> House:
    house = House()
    budget = BudgetSettings(usd=Decimal(usd), when_exhausted=when_exhausted, soft_at=soft_at)
    house.entitlement = Entitlement("acme", budget=budget)
    return house


async def held(house: House) -> int:
    (scope,) = house.entitlement.scopes("web", "gpt-4o-mini")
    funds = (await house.quotas.standing(scope)).funds
    assert funds is not None
    return funds.held_nanousd


@pytest.mark.parametrize(
    ("fields", "when", "output", "steps"),
    [
        ({}, "cut", 100, False),
        ({"n": 3}, "cut", 300, False),
        ({"max_tokens": 50_000}, "cut", 50_000, False),
        ({"max_tokens": None}, "cut", DEFAULT_MAX_OUTPUT_TOKENS, False),
        ({"stream": True}, "cut", 100, False),
        ({"stream": True, "max_tokens": 50_000}, "cut", STEP_TOKENS, True),
        ({"stream": True, "max_tokens": None}, "cut", STEP_TOKENS, True),
        ({"stream": True, "max_tokens": 50_000}, "finish", 50_000, False),
        ({"stream": True, "max_tokens": None}, "finish", DEFAULT_MAX_OUTPUT_TOKENS, False),
    ],
)
async def test_holds(fields: dict[str, Any], when: WhenExhausted, output: int, steps: bool) -> None:
    """The most that the answer can cost; of a stream that may be cut, its first step."""
    house = with_budget("1", when)
    exchange = await house.take(**fields)
    assert exchange.holding is not None
    assert exchange.holding.nanousd == await held(house) == hold(PROMPT_TOKENS, output)
    assert (exchange.holding.steps is not None, exchange.holding.covered_tokens) == (steps, output if steps else 0)


async def test_embeddings_hold_their_input() -> None:
    """They write nothing."""
    house = with_budget("1")
    exchange = await house.take("/v1/embeddings", input="x" * 40)
    assert await held(house) == hold(order_of(exchange).view.prompt_tokens, 0)


async def test_what_is_free_holds_nothing() -> None:
    """Counting tokens passes a budget of nothing."""
    house = with_budget("0")
    await house.take("/v1/messages/count_tokens")
    assert await held(house) == 0


async def test_over_budget() -> None:
    """402, told to whoever watches budgets, and no rate limit's hit."""
    house = with_budget("0")
    with pytest.raises(GatewayError, match="may spend 0 USD") as caught:
        await house.take()
    assert (caught.value.code, caught.value.status) == ("over_budget", 402)
    assert house.refused("budget") == (0, 1)
    assert [denied.limit for denied in house.told.denied] == ["budget"]


async def test_thresholds_are_told() -> None:
    """By the settlement that crosses them, once."""
    house = with_budget("0.001", soft_at=(0.1,))
    for _ in range(2):
        exchange = await house.take()
        exchange.cost_nanousd = 120_000 if not house.told.crossed else 1
        await house.settle(exchange, input=1)
    assert [crossing.threshold for crossing in house.told.crossed] == [0.1]
    assert house.told.changed == ["acme", "acme"]


class Extended:
    """Stands for a stream: keeps what it may relay, and how to ask for more."""

    def allow(self, tokens: int, more: Callable[[], Awaitable[int | None]]) -> None:
        self.tokens, self.more = tokens, more


async def allowed(house: House, **fields: Any) -> Extended:
    stream = Extended()
    house.grants.allow(await house.take(stream=True, **fields), cast(UpstreamStream, stream))
    return stream


async def test_a_stream_asks_for_its_steps() -> None:
    """Step by step up to its whole hold; beyond it there is nothing left to ask."""
    house = with_budget("1")
    stream = await allowed(house, max_tokens=5000)
    assert stream.tokens == STEP_TOKENS
    assert [await stream.more() for _ in range(3)] == [2 * STEP_TOKENS, 5000, ALL]
    assert await held(house) == hold(PROMPT_TOKENS, 5000)


async def test_a_stream_without_a_bound_asks_as_long_as_it_goes_on() -> None:
    """Nobody has told the provider where to stop, so the budget does."""
    house = with_budget("0.020")
    stream = await allowed(house, max_tokens=None)
    granted = []
    while (tokens := await stream.more()) is not None:
        granted.append(tokens)
    assert granted == [2 * STEP_TOKENS, 3 * STEP_TOKENS, 4 * STEP_TOKENS]
    assert await held(house) == hold(PROMPT_TOKENS, 4 * STEP_TOKENS)


async def test_a_budget_that_cannot_be_read_is_no_budget() -> None:
    """503, and a stream that asks for more is cut."""

    async def unreadable(scope_key: str, start_s: float) -> int | None:
        raise OSError

    house = with_budget("1")
    stream = await allowed(house, max_tokens=5000)
    lost = LocalQuotas(lambda: house.now_s, lambda: house.now_s, unreadable)
    house.grants = Grants(lost, house.metrics, hand_spending(), asyncio.ensure_future)
    with pytest.raises(GatewayError, match="cannot be found out") as caught:
        await house.take()
    assert (caught.value.code, caught.value.retry_after_s) == ("overloaded", 1.0)
    assert await stream.more() is not None
