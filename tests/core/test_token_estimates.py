"""What providers do not report is estimated from lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import (
    MEDIA_TOKENS,
    MESSAGE_TOKENS,
    estimate_output,
    estimate_prompt,
    estimate_text_tokens,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("token" * 100, 125),
        ("漢字", 2),
        ("漢字ab", 3),
        ("привет", 3),
        ("😀", 2),
        ("\ud800", 1),
    ],
)
def test_text_is_estimated_by_its_alphabet(text: str, tokens: int) -> None:
    """Four ASCII characters, one CJK character, two Cyrillic ones make a token."""
    assert estimate_text_tokens(text) == tokens


@given(st.text(), st.text())
def test_text_estimates_add_up(one: str, other: str) -> None:
    """Splitting a text changes its estimate by rounding alone, and no text but the empty one is free."""
    whole, parts = estimate_text_tokens(one + other), estimate_text_tokens(one) + estimate_text_tokens(other)
    assert whole <= parts <= whole + 1
    assert (estimate_text_tokens(one) == 0) == (one == "")


PROMPTS: dict[str, tuple[dict[str, object], int]] = {
    "chat": (
        {"model": "m" * 400, "messages": [{"role": "user", "content": "x" * 40}, {"role": "assistant"}]},
        10 + 2 * MESSAGE_TOKENS,
    ),
    "parts and an image": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "x" * 8},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}},
                    ],
                }
            ]
        },
        2 + MEDIA_TOKENS + MESSAGE_TOKENS,
    ),
    "a tool call and its result": (
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "i" * 40,
                            "type": "function",
                            "function": {"name": "find", "arguments": "x" * 12},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "i" * 40, "content": "y" * 8},
            ]
        },
        1 + 3 + 2 + 2 * MESSAGE_TOKENS,
    ),
    "anthropic": (
        {
            "system": [{"type": "text", "text": "x" * 16, "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t" * 40, "content": "x" * 4},
                        {
                            "type": "document",
                            "source": {
                                "type": "base64",
                                "media_type": "application/pdf",
                                "data": "A" * 9_000,
                            },
                        },
                        {"type": "document", "source": {"type": "text", "data": "x" * 20}},
                    ],
                }
            ],
        },
        4 + 1 + MEDIA_TOKENS + 5 + MESSAGE_TOKENS,
    ),
    "responses": (
        {
            "instructions": "x" * 8,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "x" * 4}]}],
        },
        3,
    ),
    "completions": ({"prompt": ["x" * 4, "x" * 8]}, 3),
    "token ids": ({"input": [1, 2, 3]}, 3),
    "batches of token ids": ({"input": [[1, 2, 3], [4, 5]]}, 5),
    "tools as their JSON": ({"tools": [{"name": "ab"}]}, 4),
    "nothing": ({"model": "m"}, 0),
    "wrong kinds": ({"messages": 7, "prompt": {"type": 3}, "input": [None, True, 1.5]}, 0),
}


@pytest.mark.parametrize(("doc", "tokens"), PROMPTS.values(), ids=PROMPTS)
def test_prompts_are_estimated_by_what_is_read(doc: dict[str, object], tokens: int) -> None:
    """Text, tools, images and token ids count; model names, ids and encoded data do not."""
    assert estimate_prompt(doc) == tokens


@given(st.dictionaries(st.sampled_from(["messages", "input", "prompt", "system", "tools"]), JSON))
def test_prompt_estimates_never_raise(doc: dict[str, object]) -> None:
    """Any JSON has an estimate."""
    assert estimate_prompt(doc) >= 0


def test_the_deepest_accepted_prompt_is_estimated() -> None:
    """200 levels, the most that a body may have, are no problem."""
    content: object = "x" * 4
    for _ in range(200):
        content = [content]
    assert estimate_prompt({"input": content, "tools": content}) > 1


@pytest.mark.parametrize(
    ("events", "content_bytes", "tokens"),
    [(0, 0, 0), (0, 50, 0), (1, 0, 1), (10, 40, 10), (10, 79, 10), (10, 80, 20), (2, 4001, 1001)],
)
def test_output_is_estimated_from_events_or_bytes(events: int, content_bytes: int, tokens: int) -> None:
    """Small events are a token each; batched ones are counted by their bytes."""
    assert estimate_output(events, content_bytes) == tokens
