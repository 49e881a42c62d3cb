"""Asking the same target again: when it is worth it, how long to wait before, and how often at most."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from gateway.core.breaker import State
from gateway.core.errors import GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome
from gateway.proxy.answers import ProviderFailure, Rests
from gateway.proxy.exchange import Attempt
from gateway.upstream.targets import TargetState

T = TypeVar("T")

SHORT_WAIT_S = 2.0
"""A rest up to this long is waited for, a longer one is a reason to go elsewhere."""

MAX_REPEATS = 2
"""Repeats of one request, whatever the retry budget has left: more hardly ever help, and somebody is waiting."""

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
"""Full jitter: a wait is drawn from 0 to 0.1 s, 0.2 s, 0.4 s … 2 s
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)."""

WAKES_EARLY_S = 0.001
"""uvloop's timers count in milliseconds, and a sleep may be over so much before its time: a rest would not be."""

_KEYS = frozenset({Rests.KEY, Rests.KEY_REFUSED, Rests.KEY_EXHAUSTED})
_NOT_AGAIN = frozenset({Outcome.PROVIDER_AUTH, Outcome.PROVIDER_MISROUTED})
_BACKOFF = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)


class Failed(NamedTuple):
    """An attempt, and how it failed."""

    attempt: Attempt
    error: GatewayError


def is_soon_over(failed: Failed) -> bool:
    """Whether what went wrong passes by itself before it is worth asking somebody else.

    So where the target itself asks for a short rest, and where only the key is at fault and there is another one. An
    overloaded provider that says nothing (Anthropic's 529) may need a second or an hour: others come first.
    """
    error, state = failed.error, failed.attempt.turn.state
    if not isinstance(error, ProviderFailure) or not _may_be_asked_soon(state):
        return False
    return _has_another_key(failed) or (error.rests in (Rests.KEY, Rests.TARGET) and not error.is_guess)


def may_pass(failed: Failed) -> bool:
    """Whether the same target may answer the same request, asked again a little later.

    Never where the request, the key or the model's name is at fault, nor where a quota is used up.
    """
    error, state = failed.error, failed.attempt.turn.state
    if is_soon_over(failed):
        return True
    if not CONSEQUENCES[error.outcome].may_move_on or error.outcome in _NOT_AGAIN:
        return False
    if isinstance(error, ProviderFailure) and error.rests is Rests.KEY_EXHAUSTED:
        return False
    return _may_be_asked_soon(state) and (error.retry_after_s or 0.0) <= SHORT_WAIT_S


def wait_out_s(rest_s: float, draw: Callable[[], float]) -> float:
    """Seconds after which a rest is over for certain; not all who wait for it come at once."""
    return rest_s + WAKES_EARLY_S + FIRST_WAIT_S * draw()


def _may_be_asked_soon(state: TargetState) -> bool:
    return state.rests_for() <= SHORT_WAIT_S and state.breaker.state is not State.OPEN


def _has_another_key(failed: Failed) -> bool:
    """Whether the key alone is at fault, and another one may be used now."""
    error, attempt = failed.error, failed.attempt
    if not isinstance(error, ProviderFailure) or error.rests not in _KEYS:
        return False
    return attempt.turn.state.provider.keys.has_other(attempt.key_index)


class Repeats:
    """What one request may still ask again.

    Args:
        left_s: seconds that the request has left.
    """

    __slots__ = ("_repeats", "left_s")

    def __init__(self, left_s: Callable[[], float]) -> None:
        self.left_s = left_s
        self._repeats = 0

    async def ask_again(
        self, last: Callable[[], Failed], is_worth_it: Callable[[Failed], bool], ask: Callable[[], Awaitable[T]]
    ) -> T:
        """Wait and ask until there is an answer, or until it is not worth it any more, or nothing more is allowed.

        Args:
            last: the attempt that failed last; all are at one target.
            ask: one attempt more.

        Raises:
            GatewayError: the last failure.
        """
        state = last().attempt.turn.state

        def wait_s(retry: RetryCallState) -> float:
            failed, rest_s = last(), state.rests_for()
            if not rest_s and _has_another_key(failed):
                return 0.0
            if not isinstance(failed.error, ProviderFailure):
                rest_s = max(rest_s, failed.error.retry_after_s or 0.0)
            return _BACKOFF(retry) + (rest_s + WAKES_EARLY_S if rest_s else 0.0)

        def is_over(retry: RetryCallState) -> bool:
            if self._repeats >= MAX_REPEATS or retry.upcoming_sleep >= self.left_s() or not state.retries.withdraw():
                return True
            self._repeats += 1
            return False

        retrying = AsyncRetrying(
            wait=wait_s,
            stop=is_over,
            retry=retry_if_exception(lambda error: isinstance(error, GatewayError) and is_worth_it(last())),
            sleep=asyncio.sleep,
            reraise=True,
        )
        async for again in retrying:
            with again:
                # tenacity begins with an attempt; that one has been made, and failed
                if again.retry_state.attempt_number == 1:
                    raise last().error
                return await ask()
        raise last().error
