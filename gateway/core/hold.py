"""The most that a request can cost: what is held of a budget before it is sent, at once or in steps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.pricing import Price
from gateway.core.tokens import Usage

DEFAULT_MAX_OUTPUT_TOKENS: Final = 16_384
"""Tokens of one answer where neither request nor configuration says: what GPT-4o and GPT-4o mini may write at most
(https://platform.openai.com/docs/models/gpt-4o)."""

ORDINARY_OUTPUT_TOKENS: Final = 1024
"""Tokens of one answer in the estimate for tokens per minute, where the request names no maximum. A rate is corrected
as soon as the answer has ended; charging all that a model could write would let two requests stop a tenant."""

STEP_TOKENS: Final = 2048
"""Output tokens of one step: 20 s of a fast stream, so that asking for the next one is rare."""


@dataclass(frozen=True, slots=True)
class _Tariff:
    """Pico-dollars per token of the dearest kind of input, per token of output, and per request."""

    input: int
    output: int
    request: int

    def covers(self, other: "_Tariff") -> bool:
        return self.input >= other.input and self.output >= other.output and self.request >= other.request


def _tariff(price: Price) -> _Tariff:
    request = price.cost_picousd(Usage())
    dearest = max(
        price.cost_picousd(usage)
        for usage in (Usage(input=1), Usage(cached_input=1), Usage(cache_write=1), Usage(cache_write_1h=1))
    )
    return _Tariff(dearest - request, price.cost_picousd(Usage(output=1)) - request, request)


class Ceiling:
    """What requests of one route cost at most, whichever of its targets serves; made once per route.

    Args:
        prices: of its targets; None, where the target has no price, costs nothing.
    """

    __slots__ = ("_tariffs",)

    def __init__(self, prices: Iterable[Price | None]) -> None:
        tariffs = list(dict.fromkeys(_tariff(price) for price in prices if price is not None))
        self._tariffs = tuple(t for t in tariffs if not any(o is not t and o.covers(t) for o in tariffs))

    def nanousd(self, prompt_tokens: int, output_tokens: int) -> int:
        """Return the most that so many tokens can cost, in nano-dollars, rounded up.

        All input is taken for its dearest kind: which of it the provider's cache serves is known only afterwards, and
        writing to Anthropic's costs more than plain input
        (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching).
        """
        most = 0
        for tariff in self._tariffs:
            most = max(most, prompt_tokens * tariff.input + output_tokens * tariff.output + tariff.request)
        return -(-most // 1000)


def output_bound(choices: int, asked: int | None, max_output: int | None) -> int:
    """Return the most output tokens of a request, all choices together.

    Args:
        choices: how many answers are wanted; 0 where the endpoint generates nothing (embeddings).
        asked: the request's own maximum for each.
        max_output: the configured one, used where the request names none.
    """
    return choices * (asked or max_output or DEFAULT_MAX_OUTPUT_TOKENS)


def token_estimate(prompt_tokens: int, choices: int, asked: int | None, max_output: int | None) -> int:
    """Return what a request takes of tokens per minute until its real count is known; arguments as above."""
    return prompt_tokens + choices * (asked or min(max_output or ORDINARY_OUTPUT_TOKENS, ORDINARY_OUTPUT_TOKENS))


@dataclass(frozen=True, slots=True)
class Step:
    """``nanousd`` more to hold; with it, ``output_tokens`` are paid for, all choices together: the allowance."""

    nanousd: int
    output_tokens: int


class Steps:
    """The hold of a stream, taken in steps: a long answer that ends early never held what it did not need.

    The steps add up to the whole hold, to the nano-dollar. A stream that has relayed its allowance must not be read on
    before the next step is held.

    Args:
        ceiling: of its route.
        prompt_tokens: estimate of its input, held with the first step.
        output_tokens: the most that it can write (:func:`output_bound`).
        step_tokens: output tokens of one step; a stream under ``when_exhausted: finish`` takes all in one.
    """

    __slots__ = ("_ceiling", "_output_tokens", "_prompt_tokens", "_step_tokens")

    def __init__(
        self, ceiling: Ceiling, prompt_tokens: int, output_tokens: int, step_tokens: int = STEP_TOKENS
    ) -> None:
        if step_tokens < 1:
            raise ValueError(f"a step must be of 1 token or more, not {step_tokens}")
        self._ceiling = ceiling
        self._prompt_tokens = prompt_tokens
        self._output_tokens = output_tokens
        self._step_tokens = step_tokens

    @property
    def first(self) -> Step:
        """What is held at admission: the prompt, the request and the beginning of the answer."""
        covered = min(self._output_tokens, self._step_tokens)
        return Step(self._cost(covered), covered)

    def after(self, covered: int) -> Step | None:
        """Return the step after an allowance; None where the whole is held."""
        if covered >= self._output_tokens:
            return None
        upto = min(self._output_tokens, covered + self._step_tokens)
        return Step(self._cost(upto) - self._cost(covered), upto)

    def _cost(self, output_tokens: int) -> int:
        return self._ceiling.nanousd(self._prompt_tokens, output_tokens)
