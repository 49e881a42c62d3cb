"""What circuits, balancing, retry budgets and gates cost a request that nothing goes wrong with, in process.

    python -m bench.line

Dispatch is run with an upstream that answers at once, against the same upstream asked directly, in alternating rounds;
so the difference is all that issue-free requests pay for being protected. CPU time, median of the rounds.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from gateway.core.outcome import Outcome
from gateway.core.pricing import Price
from gateway.core.routing import Route, Target
from gateway.metrics import Metrics
from gateway.proxy.answers import Answer, WholeAnswer
from gateway.proxy.circuits import Circuits
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Attempt, Exchange, Order
from gateway.proxy.pins import Pins
from gateway.proxy.upstreams import Upstreams
from gateway.upstream.gate import Gate
from gateway.upstream.provider import Provider
from gateway.upstream.settings import ProviderSettings
from gateway.upstream.targets import Targets
from tests.surface.exchanges import admitted, books_of, order_of, turn

REQUESTS = 20_000
ROUNDS = 11
ANSWER = WholeAnswer(b"{}", {}, "application/json", {})


class AtOnce(Upstreams):
    """Answers without a network."""

    async def ask(self, exchange: Exchange, order: Order, attempt: Attempt, pinned_key: int | None = None) -> Answer:
        return ANSWER


def median_us(call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[float]]:
    """Microseconds of CPU that one call takes, over many."""

    async def round_() -> float:
        since = time.process_time()
        for _ in range(REQUESTS):
            await call()
        return (time.process_time() - since) / REQUESTS * 1e6

    return round_


async def measure() -> tuple[float, float]:
    """Microseconds per request: asked directly, and through dispatch and both gates."""
    names = ("one", "two")
    settings = ProviderSettings.model_validate(
        {"dialect": "openai", "base_url": "http://127.0.0.1:9", "api_keys": ["k"]}
    )
    providers = {name: Provider(name, settings, spliced=False, clock=time.monotonic) for name in names}
    metrics = Metrics("i", "1", ["acme"], ["gpt"], names)
    upstreams = AtOnce(
        providers, metrics, spliced=False, write_timeout_s=60, clock=time.monotonic, wall_clock=time.time
    )
    circuits = Circuits(metrics)
    targets = Targets(providers, [(name, "gpt") for name in names], time.monotonic, random.random, circuits.changed)
    dispatch = Dispatch(
        upstreams, targets, Pins(), books_of(metrics), metrics, spliced=False, clock=time.monotonic, draw=random.random
    )
    exchange = admitted("/v1/chat/completions", {"model": "gpt", "messages": [{"role": "user", "content": "x"}]})
    order = order_of(exchange)
    price = Price.model_validate({"input": 1, "output": 2})
    order.route = Route(
        "gpt", "gpt", tuple(Target(name, "gpt", price=price, circuit="gpt") for name in names), None, None, "openai"
    )
    exchange.started_at, exchange.deadline = time.monotonic(), time.monotonic() + 3600
    gate, free = Gate(20_000, 1000, 1.0, "this gateway"), turn()

    async def directly() -> None:
        attempt = Attempt(order.route.targets[0], time.monotonic(), free)
        exchange.attempts = [attempt]
        await upstreams.ask(exchange, order, attempt)
        attempt.outcome = Outcome.SUCCESS

    async def protected() -> None:
        await gate.enter(60.0)
        exchange.attempts = []
        await dispatch.open(exchange, order)
        cast(Attempt, exchange.served).end(Outcome.SUCCESS, time.monotonic())
        gate.leave()

    rounds = [(await median_us(directly)(), await median_us(protected)()) for _ in range(ROUNDS)]
    for provider in providers.values():
        await provider.close()
    return statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)


def main() -> None:
    plain, whole = asyncio.run(measure())
    print(f"asked directly {plain:.2f} us, protected {whole:.2f} us: {whole - plain:.2f} us per request")


if __name__ == "__main__":
    main()
