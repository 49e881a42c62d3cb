"""Tokens of one exchange: what providers report, in their several shapes, and estimates for the rest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_PLAUSIBLE_TOKENS = 10**9
"""A reported count above this is no count but a provider's bug: it is a thousand of the largest contexts."""

MEDIA_TOKENS = 1000
"""Flat estimate of one image, audio clip or file. A 1024 x 1024 image is 765 tokens for OpenAI at high detail
(https://platform.openai.com/docs/guides/images-vision) and about 1,400 for Anthropic
(https://docs.anthropic.com/en/docs/build-with-claude/vision: width x height / 750)."""

MESSAGE_TOKENS = 4
"""What the chat template adds around one message: role and separators
(https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken counts 3 plus the reply's priming)."""

_MEDIA_TYPES = frozenset(
    {"image_url", "image", "input_image", "input_audio", "input_file", "file", "video_url", "audio_url"}
)
_SILENT_KEYS = frozenset({"type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "cache_control", "status"})


class Source(StrEnum):
    """Where the figures come from; every settled exchange says one of these."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind. The kinds are disjoint, so a price applies to each and the sum counts nothing twice.

    ``input`` excludes everything cached; ``cache_write`` is written for the provider's default lifetime (5
    minutes at Anthropic), ``cache_write_1h`` for an hour; ``reasoning`` is a detail, already part of
    ``output``.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    source: Source = Source.NONE

    @property
    def input_total(self) -> int:
        """All input tokens, cached or not: ``tokens_total{type="input"}``."""
        return self.input + self.cached_input + self.cache_write + self.cache_write_1h


def _count(obj: object, *names: str) -> int | None:
    """Return the first of the named fields that holds a believable count."""
    if not isinstance(obj, dict):
        return None
    for name in names:
        value = obj.get(name)
        if type(value) is int and 0 <= value <= MAX_PLAUSIBLE_TOKENS:
            return value
    return None


def _usage_object(obj: object, envelope: str) -> Mapping[str, object] | None:
    """Find the usage object in what may be itself, a body, or an event with the body under ``envelope``."""
    if isinstance(obj, dict) and isinstance(obj.get(envelope), dict):
        obj = obj[envelope]
    if isinstance(obj, dict) and "usage" in obj:
        obj = obj["usage"]
    return obj if isinstance(obj, dict) else None


def usage_from_openai(obj: object) -> Usage | None:
    """Read the usage of chat/completions, completions, embeddings or Responses.

    Shapes: OpenAI's (https://platform.openai.com/docs/api-reference/chat/object, ``responses/object``) where
    prompt tokens include cached ones; DeepSeek's ``prompt_cache_hit_tokens``
    (https://api-docs.deepseek.com/guides/kv_cache); OpenRouter's ``cache_write_tokens``
    (https://openrouter.ai/docs/use-cases/usage-accounting); xAI's, where completion tokens leave out the
    reasoning that the total includes (https://docs.x.ai/docs/key-information/consumption-and-rate-limits).

    Args:
        obj: the usage object, or a body, chunk or ``response.*`` event that carries one. Provider data is
            untrusted: a field that is no believable count is taken as absent, and nothing raises.

    Returns:
        The reported usage (zero stays zero), or None where neither side was reported.
    """
    usage = _usage_object(obj, "response")
    if usage is None:
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    output = _count(usage, "completion_tokens", "output_tokens")
    if prompt is None and output is None:
        return None
    total = _count(usage, "total_tokens")
    input_details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    output_details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    reasoning = _count(output_details, "reasoning_tokens") or 0
    if output is None:
        output = max(0, total - (prompt or 0)) if total is not None else 0
    elif prompt is None:
        prompt = max(0, total - output) if total is not None else 0
    elif reasoning and total == prompt + output + reasoning:
        output += reasoning
    prompt = prompt or 0
    cached = _count(input_details, "cached_tokens")
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens") or 0
    cached = min(cached, prompt)
    written = min(_count(input_details, "cache_write_tokens") or 0, prompt - cached)
    return Usage(
        input=prompt - cached - written,
        cached_input=cached,
        cache_write=written,
        output=output,
        reasoning=min(reasoning, output),
        source=Source.REPORTED,
    )


class AnthropicUsage:
    """Collects the usage that Anthropic spreads over ``message_start`` and ``message_delta``.

    Counts are cumulative (https://docs.anthropic.com/en/docs/build-with-claude/streaming): a later value
    replaces an earlier one, an absent or null one keeps it. ``input_tokens`` excludes both cache kinds
    (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching).
    """

    __slots__ = ("_input", "_output", "_read", "_written", "_written_1h", "_written_5m")

    def __init__(self) -> None:
        self._input: int | None = None
        self._read: int | None = None
        self._written: int | None = None
        self._written_5m: int | None = None
        self._written_1h: int | None = None
        self._output: int | None = None

    def see(self, obj: object) -> None:
        """Take what one usage object says, or one event or whole message that carries it; never raises."""
        usage = _usage_object(obj, "message")
        if usage is None:
            return
        lifetimes = usage.get("cache_creation")
        for slot, source, name in (
            ("_input", usage, "input_tokens"),
            ("_read", usage, "cache_read_input_tokens"),
            ("_written", usage, "cache_creation_input_tokens"),
            ("_written_5m", lifetimes, "ephemeral_5m_input_tokens"),
            ("_written_1h", lifetimes, "ephemeral_1h_input_tokens"),
            ("_output", usage, "output_tokens"),
        ):
            value = _count(source, name)
            if value is not None:
                setattr(self, slot, value)

    def usage(self) -> Usage | None:
        """Return the sum of what was seen, or None where neither input nor output was reported."""
        if self._input is None and self._output is None:
            return None
        for_1h = self._written_1h or 0
        written = self._written if self._written is not None else (self._written_5m or 0) + for_1h
        for_1h = min(for_1h, written)
        return Usage(
            input=self._input or 0,
            cached_input=self._read or 0,
            cache_write=written - for_1h,
            cache_write_1h=for_1h,
            output=self._output or 0,
            source=Source.REPORTED,
        )


def estimate_text_tokens(text: str) -> int:
    """Estimate the tokens of a text from its length alone, rounded up; 0 only for the empty text.

    Four ASCII characters to a token (OpenAI's rule of thumb,
    https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them); any other character
    counts half a token for each UTF-8 byte beyond its first: accented Latin, Cyrillic or Arabic 1/2, CJK 1,
    emoji 1 1/2.
    """
    if text.isascii():
        return (len(text) + 3) // 4
    ascii_chars = len(text.encode("ascii", "ignore"))
    extra_bytes = len(text.encode("utf-8", "surrogatepass")) - len(text)
    return (ascii_chars + 2 * extra_bytes + 3) // 4


def estimate_prompt(doc: Mapping[str, object]) -> int:
    """Estimate the input tokens of a request in any of the dialects' shapes.

    Counts the strings in messages, input, prompt, system and instructions; tools as the length of their JSON;
    images, audio and files flat (:data:`MEDIA_TOKENS`); arrays of token ids by their length.

    Args:
        doc: the parsed body, as JSON gives it (the strict parse bounds its depth to 200).
    """
    tokens = 0
    for field in ("messages", "input", "prompt", "system", "instructions"):
        value = doc.get(field)
        if value:
            tokens += _estimate_content(value)
            if field == "messages" and isinstance(value, list):
                tokens += MESSAGE_TOKENS * len(value)
    for field in ("tools", "functions"):
        value = doc.get(field)
        if value:
            tokens += estimate_text_tokens(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return tokens


def _estimate_content(content: object) -> int:
    tokens = 0
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            tokens += estimate_text_tokens(value)
        elif isinstance(value, list):
            if value and type(value[0]) is int:
                tokens += len(value)
            else:
                waiting.extend(value)
        elif isinstance(value, dict):
            kind = value.get("type")
            if (isinstance(kind, str) and kind in _MEDIA_TYPES) or _is_encoded(value):
                tokens += MEDIA_TOKENS
            else:
                waiting.extend(v for k, v in value.items() if k not in _SILENT_KEYS)
    return tokens


def _is_encoded(part: Mapping[str, object]) -> bool:
    """Tell whether a part is a document by reference or in base64 (Anthropic's ``source``), not text."""
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("base64", "url", "file")


def estimate_output(events: int, content_bytes: int) -> int:
    """Estimate the output tokens of a stream from what passed.

    Providers send one token per event or batch several; below 8 bytes per event (a token is about 4) the
    events are the better count, above it the bytes are.

    Args:
        events: content events relayed.
        content_bytes: bytes of text in them.

    Returns:
        At least 1 where there was any event, else 0.
    """
    if events <= 0:
        return 0
    if content_bytes < 8 * events:
        return events
    return (content_bytes + 3) // 4
