"""The models of the simulator: how each one behaves, decided by its name alone.

``sim-X`` speaks the OpenAI dialect and ``claude-sim-X`` Anthropic's; X names the behaviour.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType

OPENAI_PREFIX = "sim-"
ANTHROPIC_PREFIX = "claude-sim-"


@dataclass(frozen=True, slots=True)
class Pace:
    """When tokens come. Seconds before ``speed`` divides them.

    ``ttft_sigma`` and ``gap_sigma`` are the sigmas of log-normal distributions around the medians ``ttft_s``
    and ``gap_s`` (waiting times of real providers have a long right tail); 0 is a constant.
    """

    ttft_s: float
    gap_s: float
    ttft_sigma: float = 0.0
    gap_sigma: float = 0.0


FAST = Pace(ttft_s=0.020, gap_s=0.005)
SLOW = Pace(ttft_s=0.800, gap_s=0.060)
CHAT = Pace(ttft_s=0.250, gap_s=0.020, ttft_sigma=0.35, gap_sigma=0.40)
SLOW_HEADERS = Pace(ttft_s=10.0, gap_s=0.005)


class Fault(Enum):
    """What goes wrong with an answer that began as a success."""

    NONE = auto()
    RESET_BEFORE_HEADERS = auto()
    RESET_AFTER_HEADERS = auto()
    RESET_MID_STREAM = auto()
    STALL_BEFORE_FIRST = auto()
    STALL = auto()
    TRUNCATED = auto()
    ERROR_EVENT_FIRST = auto()
    ERROR_MID_STREAM = auto()
    GARBAGE = auto()
    HTML = auto()
    NO_DONE = auto()


class UsagePlace(Enum):
    """Where an answer reports its usage."""

    USUAL = auto()
    """Where the provider documents it."""

    IN_FINISH = auto()
    """In the finishing chunk, asked for or not, as several OpenAI-compatible servers do."""

    ABSENT = auto()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a model answers.

    ``refusal`` is a key of :data:`gateway.simulator.refusals.REFUSALS`; ``failure_ratio`` is the share of
    requests answered with it, ``fail_first`` the number of first requests that are (per simulator and model).
    ``tokens`` are the least and the largest length of a text that nothing cuts, reasoning not included.
    """

    about: str
    pace: Pace = FAST
    fault: Fault = Fault.NONE
    usage: UsagePlace = UsagePlace.USUAL
    refusal: str | None = None
    failure_ratio: float = 1.0
    fail_first: int | None = None
    tokens: tuple[int, int] = (40, 120)
    think_s: float = 0.0
    calls_tools: bool = False


_BEHAVIOURS: dict[str, Behaviour] = {
    "fast": Behaviour("First token after 20 ms, then one each 5 ms."),
    "slow": Behaviour("First token after 800 ms, then one each 60 ms.", pace=SLOW),
    "chat": Behaviour(
        "Realistic: first token after about 250 ms (log-normal), then one about each 20 ms with jitter.",
        pace=CHAT,
        tokens=(60, 180),
    ),
    "think": Behaviour(
        "Thinks for 5 s in silence, then answers; reports reasoning tokens.",
        pace=CHAT,
        think_s=5.0,
    ),
    "tools": Behaviour(
        "Calls the first tool that the request offers; without tools it answers in text.", calls_tools=True
    ),
    "long": Behaviour("An answer of 2,000 tokens at the pace of `fast`.", tokens=(2000, 2000)),
    "400": Behaviour("Refuses with 400: the request is invalid.", refusal="400"),
    "401": Behaviour("Refuses with 401: wrong API key.", refusal="401"),
    "404": Behaviour("Refuses with 404: no such model.", refusal="404"),
    "429": Behaviour("Refuses with 429: rate limit, `Retry-After: 1`.", refusal="429"),
    "429-quota": Behaviour("Refuses with 429: quota used up, no `Retry-After`.", refusal="429-quota"),
    "500": Behaviour("Fails with 500.", refusal="500"),
    "503": Behaviour("Fails with 503 and `Retry-After: 1`.", refusal="503"),
    "529": Behaviour("Fails with 529: overloaded.", refusal="529"),
    "slow-headers": Behaviour("Like `fast`, but the response head comes after 10 s only.", pace=SLOW_HEADERS),
    "reset-before-headers": Behaviour(
        "Resets the connection before any byte of the response.", fault=Fault.RESET_BEFORE_HEADERS
    ),
    "reset-after-headers": Behaviour(
        "Sends the response head, then resets the connection.", fault=Fault.RESET_AFTER_HEADERS
    ),
    "reset-mid-stream": Behaviour("Resets the connection half-way.", fault=Fault.RESET_MID_STREAM),
    "stall": Behaviour("Falls silent half-way, until the client leaves.", fault=Fault.STALL),
    "stall-before-first": Behaviour(
        "Sends the response head, then nothing until the client leaves.", fault=Fault.STALL_BEFORE_FIRST
    ),
    "truncated": Behaviour("Ends cleanly half-way: no finish reason, no closing event.", fault=Fault.TRUNCATED),
    "error-event-first": Behaviour("Answers 200, then an error event and the end.", fault=Fault.ERROR_EVENT_FIRST),
    "error-mid-stream": Behaviour("Sends an error event half-way and ends.", fault=Fault.ERROR_MID_STREAM),
    "garbage": Behaviour("Breaks the chunked framing half-way, then closes the connection.", fault=Fault.GARBAGE),
    "html-200": Behaviour("Answers 200 with an HTML page.", fault=Fault.HTML),
    "no-done": Behaviour("A whole answer without its closing event (`[DONE]`, `message_stop`).", fault=Fault.NO_DONE),
    "no-usage": Behaviour("Never reports usage.", usage=UsagePlace.ABSENT),
    "usage-in-finish": Behaviour(
        "Reports usage in the finishing chunk, asked or not (Anthropic: all of it in `message_delta`).",
        usage=UsagePlace.IN_FINISH,
    ),
    "flaky-30": Behaviour("Fails 30 % of the requests with 500.", refusal="500", failure_ratio=0.30),
    "flaky-70": Behaviour("Fails 70 % of the requests with 500.", refusal="500", failure_ratio=0.70),
    "fail-first-3": Behaviour(
        "Fails the first 3 requests with 500, then answers; any number works.", refusal="500", fail_first=3
    ),
}
_FAIL_FIRST = re.compile(r"fail-first-(\d{1,6})")

OPENAI_MODELS: tuple[str, ...] = tuple(OPENAI_PREFIX + name for name in _BEHAVIOURS)
ANTHROPIC_MODELS: tuple[str, ...] = tuple(ANTHROPIC_PREFIX + name for name in _BEHAVIOURS)
MODELS: Mapping[str, str] = MappingProxyType(
    {prefix + name: b.about for prefix in (OPENAI_PREFIX, ANTHROPIC_PREFIX) for name, b in _BEHAVIOURS.items()}
)
"""Every listed model of both dialects, with one line about it."""


def behaviour_named(name: str) -> Behaviour | None:
    """Returns the behaviour ``X`` of ``sim-X``, or ``None`` where there is none of that name."""
    if (behaviour := _BEHAVIOURS.get(name)) is not None:
        return behaviour
    if match := _FAIL_FIRST.fullmatch(name):
        return replace(_BEHAVIOURS["fail-first-3"], fail_first=int(match[1]))
    return None


def behaviour_of(model: str, *, anthropic: bool, other: str | None) -> Behaviour | None:
    """Returns how ``model`` behaves on a route of the given dialect, or ``None`` where it does not exist.

    A name of the other dialect does not exist here, as with the real providers. ``other`` is the behaviour of
    names that are not the simulator's own; ``None``: they do not exist.
    """
    mine, foreign = (ANTHROPIC_PREFIX, OPENAI_PREFIX) if anthropic else (OPENAI_PREFIX, ANTHROPIC_PREFIX)
    if model.startswith(mine):
        return behaviour_named(model.removeprefix(mine))
    if model.startswith(foreign) or other is None:
        return None
    return behaviour_named(other)
