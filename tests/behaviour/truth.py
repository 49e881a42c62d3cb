"""What must have been counted, worked out from what clients heard and the upstream saw, never from the gateway."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Any

from tests.behaviour.fate import Fate, Play, Tokens
from tests.behaviour.stage import COUNT_TOKENS, Heard

NONE = "none"
PROMPT_TOKENS = 10
PROMPT = "x" * 4 * PROMPT_TOKENS
"""A token for four letters."""
MESSAGE_TOKENS = 4
"""What a message costs beside its text."""

PRICES: Mapping[str, tuple[str, str, str, str]] = {
    "gpt": ("0.15", "0.075", "0", "0.6"),
    "b": ("3.333", "1.1111", "0.5", "7.777"),
    "claude": ("3", "0.3", "3.75", "15"),
}
"""US dollars per million tokens: input, cached input, written to a cache, output. All others cost like ``OTHERS``."""
OTHERS = ("1", "0.5", "2", "2")

STATUSES = {"not_found": "invalid_request", "model_not_found": "invalid_request"}
RELAYED = {"first_token_timeout", "stalled", "truncated", "stream_error", "client_closed", "budget_cut"}
"""Ends after which what the client has heard is paid for."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at the upstream, and what was played to it; ``stale``: it was cut off on a kept connection."""

    provider: str
    play: Play
    stale: bool = False


@dataclass
class Told:
    """All that both ends know of one request.

    Attributes:
        heard: None where the client has left.
        body: what the client had of the body when it left, or all of it.
    """

    number: int
    fate: Fate
    tenant: str
    visits: list[Visit] = field(default_factory=list)
    heard: Heard | None = None
    body: bytes = b""

    @property
    def id(self) -> str:
        return f"truth-{self.number}"

    @cached_property
    def words(self) -> list[str]:
        """The answer's own text, event by event, as far as the client heard it."""
        return [word for word in map(_word, events_of(self.body)) if word] if self.fate.stream else []

    @cached_property
    def outcome(self) -> str:
        """How it ended, for the client."""
        if self.fate.leaves:
            return "client_closed"
        assert self.heard is not None
        if self.heard.status != 200:
            code = error_code(json.loads(self.heard.body))
            return STATUSES.get(code, code)
        errors = [doc for doc in events_of(self.body) if "error" in doc] if self.fate.stream else []
        if errors:
            code = error_code(errors[-1])
            return "stream_error" if code == "invalid_request" else code
        assert self.heard.whole, self
        return "success"

    @cached_property
    def attempts(self) -> list[tuple[str, str]]:
        """(provider, result) of each, in order."""
        hidden = {provider for provider, _ in self.fate.unheard}
        seen = [visit for visit in self.visits if visit.provider not in hidden and not visit.stale]
        return [*self.fate.unheard, *((visit.provider, visit.play.result or self.outcome) for visit in seen)]

    @property
    def was_admitted(self) -> bool:
        """Whether it came as far as to the choice of a provider; where all of them rested none was asked."""
        return bool(self.attempts) or self.outcome == "provider_throttled"

    @property
    def provider(self) -> str:
        return self.attempts[-1][0] if self.attempts else NONE

    @property
    def served(self) -> Play | None:
        """What the provider that was asked last did last: one that lost a race may see its visit later still."""
        plays = [visit.play for visit in self.visits if visit.provider == self.provider]
        return plays[-1] if plays else None

    @property
    def model(self) -> str:
        """The label: of what the key was known for, and of what was asked."""
        fate = self.fate
        if self.tenant == NONE or fate.raw_body is not None or not fate.model:
            return NONE
        if fate.model.startswith("made-up"):
            return "other"
        return "open-*" if fate.model.startswith("open-") else fate.model

    @property
    def has_stream(self) -> bool:
        """Whether a stream was opened to the client, that is with content."""
        return (
            self.fate.stream
            and bool(self.attempts)
            and (self.heard is None or self.heard.status == 200)
            and bool(self.body)
        )

    @cached_property
    def usage(self) -> tuple[Tokens, str]:
        """What is charged for, and whether it was reported or estimated."""
        nothing = Tokens(0, 0), NONE
        if not self.attempts or self.fate.path == COUNT_TOKENS:
            return nothing
        play = self.served
        prompt = PROMPT_TOKENS + (MESSAGE_TOKENS if "messages" in self.fate.path or "chat" in self.fate.path else 0)
        if self.outcome == "success":
            assert play is not None
            if play.tokens is not None:
                return play.tokens, "reported"
            return Tokens(prompt, self._written()), "estimated"
        if not self.has_stream or self.outcome not in RELAYED:
            return nothing
        assert play is not None
        told = play.told_input
        if told is not None:
            return Tokens(told.input, max(1, self._written()), told.cached, told.written), "estimated"
        return Tokens(prompt, self._written()), "estimated"

    def _written(self) -> int:
        """An event is a token, or four bytes are where events are long; of a whole answer four bytes are."""
        if not self.fate.stream:
            text = json.loads(self.body)["choices"][0]["message"]["content"]
            return -(-len(text) // 4)
        words = self.words
        text_bytes = sum(len(word.encode()) for word in words)
        return len(words) if text_bytes < 8 * len(words) else -(-text_bytes // 4)

    @cached_property
    def cost_nanousd(self) -> int:
        tokens, source = self.usage
        if source == NONE:
            return 0
        rates = [Decimal(rate) * 1000 for rate in PRICES.get(self.model, OTHERS)]
        counts = (tokens.input, tokens.cached, tokens.written, tokens.output)
        exact = sum((rate * count for rate, count in zip(rates, counts, strict=True)), Decimal(0))
        return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The documents of an event stream."""
    events = (part.partition(b"data: ")[2] for part in body.split(b"\n\n"))
    return [json.loads(data) for data in events if data.startswith(b"{")]


def error_code(document: Any) -> str:
    """The gateway's word for what went wrong; a provider's own refusal has none of ours."""
    return document["error"].get("code") or "invalid_request"


def _word(event: Mapping[str, Any]) -> str:
    """The text in one event of any of the streams."""
    choices = event.get("choices")
    if choices:
        return choices[0].get("text") or choices[0].get("delta", {}).get("content") or ""
    delta = event.get("delta") or ""
    return delta if isinstance(delta, str) else delta.get("text") or ""
