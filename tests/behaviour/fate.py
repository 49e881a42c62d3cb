"""One kind of request in the test of truth: what is asked, what the upstream does, what the client does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.upstream_script import Script


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one answer by kind, none counted twice; ``reasoning`` is part of ``output``."""

    input: int
    output: int
    cached: int = 0
    written: int = 0
    reasoning: int = 0

    @property
    def all_input(self) -> int:
        return self.input + self.cached + self.written

    def as_openai(self) -> dict[str, Any]:
        """In chat's words, where the prompt includes what was cached."""
        return {
            "prompt_tokens": self.all_input,
            "completion_tokens": self.output,
            "total_tokens": self.all_input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": self.written},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    def as_responses(self) -> dict[str, Any]:
        return {
            "input_tokens": self.all_input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.all_input + self.output,
        }

    def as_anthropic(self) -> dict[str, Any]:
        """In Anthropic's words, where the input leaves out what was cached."""
        return {
            "input_tokens": self.input,
            "cache_read_input_tokens": self.cached,
            "cache_creation_input_tokens": self.written,
            "output_tokens": self.output,
        }


@dataclass(frozen=True, slots=True)
class Play:
    """What the upstream does with one visit.

    Attributes:
        result: what it has done, in the words of the attempts' counter; empty: the client's end of it says.
        tokens: what it reports; None: nothing.
        told_input: what it had reported of the input when it broke off.
    """

    script: Script
    result: str = ""
    tokens: Tokens | None = None
    told_input: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """One kind of request.

    Attributes:
        plays: by provider, for one visit after the other; the last goes on for all further ones.
        leaves: in which phase the client leaves; empty: it hears the end.
        unheard: attempts that the upstream cannot be relied on to see, with their results, before those that it sees.
        rests: a provider that is passed over while it rests, with the result that tells why.
        hedged: how the second attempt ended.
    """

    name: str
    path: str
    model: str
    plays: Mapping[str, tuple[Play, ...]] = field(default_factory=dict)
    tenant: str = ""
    stream: bool = True
    leaves: str = ""
    unheard: tuple[tuple[str, str], ...] = ()
    rests: tuple[str, str] | None = None
    hedged: tuple[str, str] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw_body: bytes | None = None
