"""What providers report becomes disjoint kinds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import (
    MAX_PLAUSIBLE_TOKENS,
    AnthropicUsage,
    Source,
    Usage,
    usage_from_openai,
)

R = Source.REPORTED

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens",
    "prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details",
    "cached_tokens", "reasoning_tokens", "prompt_cache_hit_tokens", "cache_write_tokens", "cache_creation",
    "cache_read_input_tokens", "cache_creation_input_tokens", "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens", "usage", "response", "message",
]  # fmt: skip
USAGE_LIKE = st.recursive(
    JSON | st.integers(0, 50), lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner), max_leaves=25
)

OPENAI_SHAPES: dict[str, tuple[Any, Usage | None]] = {
    "chat": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        Usage(input=10, output=5, source=R),
    ),
    "chat with details": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        Usage(input=36, cached_input=64, output=50, reasoning=40, source=R),
    ),
    "details that are null": (
        {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": None},
        Usage(input=3, output=4, source=R),
    ),
    "embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, Usage(input=8, source=R)),
    "responses": (
        {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 5},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 27,
        },
        Usage(input=15, cached_input=5, output=7, reasoning=3, source=R),
    ),
    "deepseek": (
        {
            "prompt_tokens": 30,
            "completion_tokens": 2,
            "prompt_cache_hit_tokens": 24,
            "prompt_cache_miss_tokens": 6,
        },
        Usage(input=6, cached_input=24, output=2, source=R),
    ),
    "openrouter writes its cache": (
        {
            "prompt_tokens": 194,
            "completion_tokens": 2,
            "total_tokens": 196,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100},
        },
        Usage(input=94, cache_write=100, output=2, source=R),
    ),
    "xai counts reasoning beside completion": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        Usage(input=32, output=103, reasoning=94, source=R),
    ),
    "zero reported is zero": (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        Usage(source=R),
    ),
    "more cached than prompt": (
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 9, "cache_write_tokens": 9},
        },
        Usage(cached_input=5, output=1, source=R),
    ),
    "more reasoning than output": (
        {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 9}},
        Usage(input=5, output=1, reasoning=1, source=R),
    ),
    "output from the total": ({"prompt_tokens": 5, "total_tokens": 9}, Usage(input=5, output=4, source=R)),
    "prompt from the total": (
        {"completion_tokens": 4, "total_tokens": 9},
        Usage(input=5, output=4, source=R),
    ),
    "one side only": ({"completion_tokens": 4}, Usage(output=4, source=R)),
    "a whole chunk": (
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        Usage(input=1, output=2, source=R),
    ),
    "response.completed": (
        {"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}},
        Usage(input=1, output=2, source=R),
    ),
    "null usage": ({"choices": [], "usage": None}, None),
    "only a total": ({"total_tokens": 9}, None),
    "nothing": ({}, None),
    "not an object": ([1], None),
    "text": ({"prompt_tokens": "10", "completion_tokens": "5"}, None),
    "a fraction": ({"prompt_tokens": 10.0, "completion_tokens": 5}, Usage(output=5, source=R)),
    "a switch": ({"prompt_tokens": True, "completion_tokens": 5}, Usage(output=5, source=R)),
    "negative": ({"prompt_tokens": -1, "completion_tokens": 5}, Usage(output=5, source=R)),
    "beyond belief": (
        {"prompt_tokens": MAX_PLAUSIBLE_TOKENS + 1, "completion_tokens": 5},
        Usage(output=5, source=R),
    ),
}


@pytest.mark.parametrize(("reported", "usage"), OPENAI_SHAPES.values(), ids=OPENAI_SHAPES)
def test_openai_usage_in_every_shape_met(reported: Any, usage: Usage | None) -> None:
    """Each shape gives disjoint kinds, and what is no count is absent."""
    assert usage_from_openai(reported) == usage


@given(USAGE_LIKE)
def test_openai_usage_never_raises_and_never_counts_below_zero(reported: object) -> None:
    """Whatever a provider sends, the figures are believable."""
    _believe(usage_from_openai(reported))


ANTHROPIC_STREAMS: dict[str, tuple[list[Any], Usage | None]] = {
    "start then delta": (
        [
            {
                "type": "message_start",
                "message": {"usage": {"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1}},
            },
            {"type": "message_delta", "usage": {"output_tokens": 15}},
        ],
        Usage(input=25, cached_input=100, output=15, source=R),
    ),
    "bare usage objects": (
        [{"input_tokens": 3, "output_tokens": 1}, {"output_tokens": 0}],
        Usage(input=3, source=R),
    ),
    "the delta repeats everything": (
        [
            {"input_tokens": 3, "output_tokens": 1},
            {"input_tokens": 30, "cache_read_input_tokens": 4, "output_tokens": 9},
        ],
        Usage(input=30, cached_input=4, output=9, source=R),
    ),
    "null keeps the earlier value": (
        [
            {"input_tokens": 3, "cache_read_input_tokens": 7},
            {"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 2},
        ],
        Usage(input=3, cached_input=7, output=2, source=R),
    ),
    "both lifetimes": (
        [
            {
                "input_tokens": 1,
                "output_tokens": 1,
                "cache_creation_input_tokens": 556,
                "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100},
            }
        ],
        Usage(input=1, cache_write=456, cache_write_1h=100, output=1, source=R),
    ),
    "lifetimes without their sum": (
        [
            {
                "output_tokens": 1,
                "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
            }
        ],
        Usage(cache_write=2, cache_write_1h=3, output=1, source=R),
    ),
    "sum without lifetimes": (
        [{"input_tokens": 1, "cache_creation_input_tokens": 5}],
        Usage(input=1, cache_write=5, source=R),
    ),
    "an hour beyond the sum": (
        [
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 9},
            }
        ],
        Usage(input=1, cache_write_1h=5, source=R),
    ),
    "a whole message": (
        [{"type": "message", "usage": {"input_tokens": 1, "output_tokens": 2}}],
        Usage(input=1, output=2, source=R),
    ),
    "events without usage": ([{"type": "ping"}, {"type": "message_start", "message": {}}, None], None),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("events", "usage"), ANTHROPIC_STREAMS.values(), ids=ANTHROPIC_STREAMS)
def test_anthropic_usage_accumulates(events: list[Any], usage: Usage | None) -> None:
    """Counts are cumulative: a later value replaces, an absent one keeps."""
    seen = AnthropicUsage()
    for event in events:
        seen.see(event)
    assert seen.usage() == usage


@given(st.lists(USAGE_LIKE, max_size=4))
def test_anthropic_usage_never_raises_and_never_counts_below_zero(events: list[object]) -> None:
    """Whatever a provider sends, the figures are believable."""
    seen = AnthropicUsage()
    for event in events:
        seen.see(event)
    _believe(seen.usage())


def _believe(usage: Usage | None) -> None:
    if usage is None:
        return
    kinds = (usage.input, usage.cached_input, usage.cache_write, usage.cache_write_1h, usage.output)
    assert all(type(kind) is int and kind >= 0 for kind in kinds)
    assert usage.input_total == sum(kinds[:-1])
    assert 0 <= usage.reasoning <= usage.output
    assert usage.source is R


def test_zero_and_none_differ() -> None:
    """Usage that nobody reported says so."""
    assert Usage().source is Source.NONE
    assert usage_from_openai({"prompt_tokens": 0}) == Usage(source=R)
