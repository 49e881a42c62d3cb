"""The way to Redis: bounded in time, with a circuit breaker, so that a dead or slow Redis costs next to nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from gateway.core.breaker import BreakerSettings, CircuitBreaker, Permit, State, Transition
from gateway.core.clock import Clock
from gateway.core.quota import QuotasUnavailable
from gateway.stores.redis_scripts import Script

COMMAND_S: Final = 0.05
"""Longest that a verb waits for Redis, from the wait for a connection to the answer."""

LAG_S: Final = 0.01
"""From so much on it was this process that was late, not Redis."""

GRACE_S: Final = 0.01
"""What is granted on top then, for an answer that may have come meanwhile."""

CONNECT_S: Final = 1.0
"""How long a probe may take to connect; no request waits for it."""

CONNECTIONS: Final = 32

PROBE_EVERY_S: Final = 1.0
"""Redis is tried again so often while it is down, by one connection: half of the time in which it must be back."""

BREAKER: Final = BreakerSettings(
    consecutive_failures=3,
    quiet_s=COMMAND_S,
    min_requests=10,
    window_s=5,
    cooldown_s=PROBE_EVERY_S,
    max_cooldown_s=PROBE_EVERY_S,
    jitter=0,
)
"""Three waits in vain, one after the other, or half of ten: the next ones are spared."""

Answer = list[bytes]

T = TypeVar("T")


class RedisGone(QuotasUnavailable):
    """Redis gave no answer, or none that helps.

    Attributes:
        doubtful: the command may have been carried out, or still may be, once Redis is back.
        refused: Redis answered, with an error.
    """

    def __init__(self, why: str, *, doubtful: bool = False, refused: bool = False) -> None:
        super().__init__(why)
        self.doubtful = doubtful
        self.refused = refused


class RedisLink:
    """Runs scripts on one Redis, and knows whether it is worth asking.

    Args:
        url: ``redis://`` or ``rediss://``.
        clock: of the breaker, and for ``observe``.
        command_s: see :data:`COMMAND_S`.
        connections: most at the same time; who finds none free waits for one.
        on_transition: told when the breaker changes.
        observe: told of every script that was run, or tried in vain: its name, and how many seconds it took.

    Attributes:
        waits: calls that ended without an answer after waiting for it.
        refusals: calls that Redis answered with an error: no memory, a key of another type.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        command_s: float = COMMAND_S,
        connections: int = CONNECTIONS,
        on_transition: Callable[[Transition], None] = lambda _: None,
        observe: Callable[[str, float], None] = lambda _, __: None,
    ) -> None:
        self._command_s = command_s
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=None,
            socket_timeout=None,  # one bound around all of it, below; connecting is in it
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )
        self._client: Redis = Redis.from_pool(self._pool)
        self.on_transition = on_transition
        self._observe = observe
        self._clock = clock
        self._breaker = CircuitBreaker(BREAKER, clock, lambda: 0.0, self._changed)
        self.waits = 0
        self.refusals = 0

    def _changed(self, change: Transition) -> None:
        self.on_transition(change)

    @property
    def is_open_to(self) -> bool:
        """Whether requests ask Redis: its circuit is closed."""
        return self._breaker.state is State.CLOSED

    async def run(self, script: Script, key: str, *arguments: str | int) -> Answer:
        """Run a script: one round trip, two where Redis has never seen it.

        Raises:
            RedisGone: no answer in time, an error, or the circuit is not closed, which takes no time.
        """
        # Only probes find out whether it is back: a request would have to wait for it.
        permit = self._breaker.acquire(self._command_s) if self.is_open_to else None
        if not isinstance(permit, Permit):
            raise RedisGone("Redis is not asked: it did not answer lately")
        began_s = self._clock()
        try:
            return await self._bounded(permit, lambda: self._evaluate(script, key, arguments))
        finally:
            self._observe(script.name, self._clock() - began_s)

    async def probe(self) -> bool:
        """Try whether Redis is back, at most once in :data:`PROBE_EVERY_S`; where the circuit is closed it is.

        Returns:
            Whether the circuit is closed now.
        """
        if self.is_open_to:
            return True
        permit = self._breaker.acquire(CONNECT_S + self._command_s)
        if not isinstance(permit, Permit):
            return False
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            await self._pool.release(connection)
        except (RedisError, OSError, TimeoutError):
            permit.fail()
            return False
        except BaseException:
            permit.neutral()
            raise
        try:
            await self._bounded(permit, self._client.ping)
        except RedisGone:
            return False
        return self.is_open_to

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._pool.disconnect()

    async def _evaluate(self, script: Script, key: str, arguments: tuple[str | int, ...]) -> Answer:
        try:
            return await self._client.evalsha(script.sha, 1, key, *arguments)  # type: ignore[no-any-return]
        except NoScriptError:
            return await self._client.eval(script.text, 1, key, *arguments)  # type: ignore[no-any-return]

    async def _bounded(self, permit: Permit, call: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + self._command_s

        def out_of_time() -> None:
            late_s = loop.time() - due_s
            bound.reschedule(loop.time() + (GRACE_S if late_s > LAG_S else 0))

        try:
            async with asyncio.timeout(None) as bound:
                timer = loop.call_at(due_s, out_of_time)
                try:
                    answer = await call()
                finally:
                    timer.cancel()
        except ResponseError as error:
            self.refusals += 1
            if str(error).startswith(("WRONGTYPE", "ERR")):  # of one key or one call; others may do
                permit.succeed()
            else:
                permit.fail()
            raise RedisGone(f"Redis refused: {error}", refused=True) from error
        except (RedisError, OSError, TimeoutError) as error:
            self.waits += 1
            permit.fail()
            raise RedisGone("Redis does not answer", doubtful=True) from error
        except BaseException:
            permit.neutral()
            raise
        permit.succeed()
        return answer
