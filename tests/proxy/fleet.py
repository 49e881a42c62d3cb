"""Providers that answer as they are told, behind the real dispatch, targets, circuits, gates, keys and settlement."""

import asyncio
import io
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from gateway.core.breaker import State
from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome, Verdict
from gateway.core.routing import Balance, HedgeSettings, Route, Target
from gateway.metrics import Metrics
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.answers import Answer, StreamAnswer
from gateway.proxy.circuits import Circuits
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Exchange, Phase
from gateway.proxy.pins import Pins
from gateway.proxy.settlement import Settlement
from gateway.proxy.upstreams import Upstreams
from gateway.upstream.provider import Provider
from gateway.upstream.targets import Targets, TargetState
from tests.metrics.text_format import read_exposition
from tests.quick_loop import QuickLoop
from tests.surface.exchanges import NOW_S, PRICE, HandProvider, admitted, books_of, order_of

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ASK = {"model": "gpt", "messages": [{"role": "user", "content": "x"}], "input": "x", "stream": True}
NEVER_OPEN = {"consecutive_failures": 1_000_000, "min_requests": 1_000_000}


class Hang:
    """An answer that is not here until somebody says how it ends.

    Attributes:
        left: whoever asked has gone.
    """

    def __init__(self, after_s: float | None = None, ending: "Ending" = None) -> None:
        self.left = False
        self._after_s = after_s
        self._ending = ending

    async def answer(self) -> "Ending":
        try:
            if self._after_s is None:
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(self._after_s or 0.0)  # timed: by a loop that never waits
        except asyncio.CancelledError:
            self.left = True
            raise
        return self._ending


Ending = str | BaseException | Hang | None
"""A code of ours, an error, something that takes its time, or None: an answer."""


class Asked(NamedTuple):
    """One question that reached a provider."""

    provider: str
    key: str | None
    at_s: float


class Stream:
    """Stands for an answer that has content, and that somebody has to close."""

    def __init__(self) -> None:
        self.is_open = True

    def abort(self) -> None:
        self.is_open = False


class Told(HandProvider):
    """A provider of the fleet."""

    def __init__(self, fleet: "Fleet", name: str, keys: Sequence[str], **settings: Any) -> None:
        super().__init__(name, fleet.loop.time, keys, usage="as_asked", **settings)
        self.endings: deque[Ending] = deque()
        self.always: Ending = None
        self.streams: list[Stream] = []
        self._fleet = fleet

    async def post(self, operation: object, body: object, headers: object, key: str | None) -> Any:
        self._fleet.asked.append(Asked(self.name, key, self._fleet.loop.time()))
        ending = self.endings.popleft() if self.endings else self.always
        while isinstance(ending, Hang):
            ending = await ending.answer()
        if isinstance(ending, str):
            raise GatewayError(ending, "As told.")
        if ending is not None:
            raise ending.with_traceback(None)
        self.streams.append(Stream())
        return StreamAnswer(cast(Any, self.streams[-1]), cast(Any, None), {"by": self.name})


class _ToldUpstreams(Upstreams):
    """The real ones, less the network: what a provider of the fleet returns is the answer."""

    async def _answer(self, call: Any, response: Any) -> Answer:
        call.attempt.phase = Phase.STREAMING if isinstance(response, StreamAnswer) else Phase.UNARY
        return cast(Answer, response)


class Fleet:
    """Providers by their names, and requests that go to them in this order unless the model says otherwise.

    Args:
        settings: of each provider, or of those named in `only`.
        route: `balance`, `hedge`, `slow_first_token_s` of the model.
        draw: chance, everywhere.
    """

    def __init__(
        self,
        *names: str,
        keys: int = 1,
        only: Mapping[str, Mapping[str, Any]] | None = None,
        balance: Balance = "ordered",
        hedge: HedgeSettings | None = None,
        slow_first_token_s: float | None = None,
        draw: float = 0.0,
        early_s: float = 0.0,
        **settings: Any,
    ) -> None:
        self.loop = QuickLoop(NOW_S, early_s)
        self.asked: list[Asked] = []
        self.draw = draw
        secrets = [f"sk-{n}" for n in range(keys)]
        self.providers = {
            name: Told(self, name, secrets, **{**settings, **(only or {}).get(name, {})}) for name in names
        }
        providers = cast(Mapping[str, Provider], self.providers)
        self.metrics = Metrics("i", "1", ["acme"], ["gpt"], names)
        self.circuits = Circuits(self.metrics)
        circuits = [(name, "gpt") for name in names]
        self.targets = Targets(providers, circuits, self.loop.time, lambda: self.draw, self.circuits.changed)
        self.circuits.watch(self.targets)
        upstreams = _ToldUpstreams(
            providers,
            self.metrics,
            spliced=False,
            write_timeout_s=60,
            clock=self.loop.time,
            wall_clock=self.loop.time,
        )
        self.pins = Pins()
        self._books = books_of(self.metrics)
        self.dispatch = Dispatch(
            upstreams,
            self.targets,
            self.pins,
            self._books,
            self.metrics,
            spliced=False,
            clock=self.loop.time,
            draw=lambda: self.draw,
        )
        self._written = io.StringIO()
        self._log = AccessLog(self._written)
        self._settlement = Settlement(self.metrics, self._log, self._books, self.pins.remember, self.loop.time)
        self.route = Route(
            "gpt",
            "gpt",
            tuple(Target(name, "gpt", price=PRICE, circuit="gpt") for name in names),
            None,
            None,
            "openai",
            balance=balance,
            hedge=hedge,
            slow_first_token_s=slow_first_token_s,
        )

    def tell(self, name: str, *endings: Ending) -> None:
        """How the next questions to a provider end; those after them get an answer."""
        self.providers[name].endings.extend(endings)

    def always(self, ending: Ending, *names: str) -> None:
        """How all questions to these providers (to all, if none is named) end that nothing else was told of."""
        for name in names or tuple(self.providers):
            self.providers[name].always = ending

    def exchange(self, path: str = CHAT, **fields: Any) -> Exchange:
        """A request that admission has let in just now."""
        exchange = admitted(path, {**ASK, **fields}, label="gpt")
        exchange.started_at, exchange.deadline = self.loop.now, self.loop.now + 60
        order_of(exchange).route = self.route
        return exchange

    async def serve(self, exchange: Exchange, ending: Outcome = Outcome.SUCCESS) -> str:
        """Take a request down the line; returns who served, or the code of the refusal.

        Args:
            ending: of the answer, once it has begun.
        """
        try:
            answer = await self.dispatch.open(exchange, order_of(exchange))
            exchange.outcome = ending
            answer.drop()
            return answer.headers["by"]
        except GatewayError as error:
            exchange.outcome, exchange.error = error.outcome, error
            return error.code
        except asyncio.CancelledError:
            exchange.outcome = Outcome.CLIENT_CLOSED
            raise
        finally:
            self._settlement.settle(exchange)

    def ask(self, ending: Outcome = Outcome.SUCCESS, **fields: Any) -> str:
        """One request from its beginning to its end. Nothing of it is left anywhere."""
        return self.hear(self.exchange(**fields), ending)

    def hear(self, exchange: Exchange, ending: Outcome = Outcome.SUCCESS) -> str:
        """The same for a request that a test wants to look at."""
        said = self.loop.tell(self.serve(exchange, ending))
        self.is_at_rest()
        return said

    def ask_together(self, count: int, **fields: Any) -> list[str]:
        """As many requests at the same moment."""

        async def together() -> list[str]:
            return await asyncio.gather(*(self.serve(self.exchange(**fields)) for _ in range(count)))

        said = self.loop.tell(together())
        self.is_at_rest()
        return said

    async def serve_leaver(self, exchange: Exchange, after_s: float) -> None:
        """Take a request down the line whose client leaves after so long."""
        task = asyncio.create_task(self.serve(exchange))
        await asyncio.wait([task], timeout=after_s)
        assert not task.done(), "it had its answer before the client left"
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    def ask_and_leave(self, after_s: float, **fields: Any) -> Exchange:
        """The same from its beginning to its end. Nothing of it is left anywhere."""
        exchange = self.exchange(**fields)
        self.loop.tell(self.serve_leaver(exchange, after_s))
        self.is_at_rest()
        return exchange

    def is_at_rest(self) -> None:
        """Nothing runs: every place is free, every answer closed, no probe is out."""
        for name, provider in self.providers.items():
            state = self.state(name)
            assert (state.in_flight, state.gate.in_use, state.gate.waiting) == (0, 0, 0), name
            assert state.breaker.snapshot().probes_out == 0, name
            assert not any(stream.is_open for stream in provider.streams), name

    def state(self, name: str) -> TargetState:
        return self.targets.of(Target(name, "gpt", circuit="gpt"))

    def circuit(self, name: str) -> State:
        return self.state(name).breaker.state

    def open_circuit(self, *names: str) -> None:
        """Let so many failures be heard as it takes."""
        for name in names:
            while self.circuit(name) is not State.OPEN:
                turn = self.state(name).take_turn(60)
                turn.end(Verdict.FAILURE)  # type: ignore[union-attr]

    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.loop.now += seconds

    def order(self) -> list[str]:
        """Who was asked, in order; forgotten with this look."""
        asked, self.asked = self.asked, []
        return [question.provider for question in asked]

    def counted(self, name: str) -> dict[tuple[str, ...], int]:
        """The series of a counter that have moved, by their label values in the order of declaration."""
        family = next(family for family in self.metrics.declared.families() if family.name == f"aigateway_{name}")
        read = read_exposition(self.metrics.render()[0])
        moved = {
            values: int(read.value(family.name, **dict(zip(family.label_names, values, strict=True))))
            for values in family.cells()
        }
        return {values: value for values, value in moved.items() if value}

    def lines(self) -> list[dict[str, Any]]:
        """The access log."""
        self._log.flush()
        return [json.loads(line) for line in self._written.getvalue().splitlines()]

    def close(self) -> None:
        self.loop.close()
