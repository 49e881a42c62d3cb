"""What the model says to a request: the pieces, how they end, and what they cost."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.simulator.asked import Asked
from gateway.simulator.models import Behaviour
from gateway.simulator.prose import compose, cut, source, stop_at
from gateway.simulator.toolcalls import arguments


class Finish(StrEnum):
    """Why a text ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Choice:
    """One text, or the arguments of one tool call. One piece is one token.

    ``tool`` is the name of the function called; ``stop`` the stop sequence that was met.
    """

    pieces: list[str]
    finish: Finish
    tool: str | None = None
    stop: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an exchange: ``prompt`` includes cached and written ones, ``output`` reasoning ones."""

    prompt: int
    output: int
    reasoning: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0

    @property
    def fresh(self) -> int:
        """Prompt tokens that no cache had to do with."""
        return self.prompt - self.cached - self.cache_write - self.cache_write_1h


@dataclass(frozen=True, slots=True)
class Answer:
    choices: list[Choice]
    usage: Usage

    @property
    def pieces(self) -> int:
        """How many pieces are sent, all choices together."""
        return sum(len(choice.pieces) for choice in self.choices)


_REASONING = (64, 512)


def answer(asked: Asked, behaviour: Behaviour, seed: int) -> Answer:
    """Decides the answer; the same for the same seed, model and prompt, streamed or not."""
    reasoning = 0
    if behaviour.think_s:
        reasoning = source(seed, asked.model, asked.topic, "reasoning").randint(*_REASONING)
        if asked.limit_tokens is not None:
            reasoning = min(reasoning, asked.limit_tokens)
    left = None if asked.limit_tokens is None else asked.limit_tokens - reasoning
    choices = [_choice(asked, behaviour, seed, index, left) for index in range(asked.choices)]
    written = sum(len(choice.pieces) for choice in choices)
    share = asked.prompt_tokens // 4
    return Answer(
        choices,
        Usage(
            prompt=asked.prompt_tokens,
            output=written + reasoning,
            reasoning=reasoning,
            cached=asked.prompt_tokens // 2 if asked.cached else 0,
            cache_write=share if asked.cache_write else 0,
            cache_write_1h=share if asked.cache_write_1h else 0,
        ),
    )


def _choice(asked: Asked, behaviour: Behaviour, seed: int, index: int, left: int | None) -> Choice:
    rng = source(seed, asked.model, asked.topic, index)
    tool = asked.tool or (asked.offered if behaviour.calls_tools else None)
    stop = None
    if tool is not None:
        pieces, finish = cut(arguments(tool, rng)), Finish.TOOL_CALLS
    else:
        pieces, stop = stop_at(compose(rng, *behaviour.tokens), asked.stops)
        finish = Finish.STOP
    if left is not None and len(pieces) > left:
        return Choice(pieces[:left], Finish.LENGTH, tool.name if tool else None)
    return Choice(pieces, finish, tool.name if tool else None, stop)
