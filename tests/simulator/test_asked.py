"""Requests of every route, read into one shape, and the mistakes in them."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.simulator.asked import (
    TEXT_REQUESTS,
    Asked,
    chat_request,
    completion_request,
    count_request,
    messages_request,
    read_body,
    responses_request,
)
from gateway.simulator.refusals import Refused
from tests.simulator.conversation import CHAT, COMPLETIONS, MESSAGES, PATHS, RESPONSES, body_for, weather_tool
from tests.simulator.rendered import render


def asked(path: str, prompt: str = "hi", /, **fields: Any) -> Asked:
    return TEXT_REQUESTS[path](body_for(path, "fast", prompt, **fields))


@pytest.mark.parametrize("path", PATHS)
def test_equal_prompts_are_one_topic(path: str) -> None:
    """The topic and the count depend on the prompt, not on how the answer is to be sent."""
    plain, streamed = asked(path), asked(path, stream=True)
    assert (plain.stream, streamed.stream) == (False, True)
    assert plain.topic == streamed.topic != asked(path, "ho").topic
    assert plain.prompt_tokens == streamed.prompt_tokens < asked(path, "hi" * 9).prompt_tokens


@pytest.mark.parametrize("path", PATHS)
def test_marks_in_the_prompt(path: str) -> None:
    """Each mark of the docs is found, and only that one."""
    seen = {
        mark: (found.cached, found.cache_write, found.cache_write_1h)
        for mark in ("none", "[cached]", "[cache-write]", "[cache-write-1h]")
        for found in [asked(path, f"before {mark} after")]
    }
    assert seen == {
        "none": (False, False, False),
        "[cached]": (True, False, False),
        "[cache-write]": (False, True, False),
        "[cache-write-1h]": (False, False, True),
    }


@pytest.mark.parametrize(
    ("path", "field", "expected"),
    [
        (CHAT, "max_tokens", 9),
        (CHAT, "max_completion_tokens", 9),
        (COMPLETIONS, "max_tokens", 9),
        (RESPONSES, "max_output_tokens", 9),
        (MESSAGES, "max_tokens", 9),
        (RESPONSES, "max_tokens", None),
    ],
)
def test_limits(path: str, field: str, expected: int | None) -> None:
    """Every route has its own word for the most it wants written."""
    assert asked(path, **{field: 9}).limit_tokens == expected


def test_stops_and_choices() -> None:
    """`stop` may be one or several, `n` multiplies, and so does a list of prompts."""
    assert asked(CHAT, stop="x").stops == ("x",)
    assert asked(CHAT, stop=["x", "y"], n=3).stops == ("x", "y")
    assert asked(MESSAGES, stop_sequences=["x"]).stops == ("x",)
    assert asked(CHAT, n=3).choices == 3
    assert completion_request({"model": "m", "prompt": ["a", "b"], "n": 2}).choices == 4
    assert completion_request({"model": "m", "prompt": [1, 2, 3]}).choices == 1
    assert completion_request({"model": "m", "prompt": [[1, 2], [3]]}).choices == 2


def test_usage_is_asked_for_in_streams_only() -> None:
    """`include_usage` counts where it is true."""
    assert asked(CHAT, stream=True, stream_options={"include_usage": True}).include_usage
    assert not asked(CHAT, stream=True, stream_options={"include_usage": False}).include_usage
    assert not asked(CHAT, stream=True, stream_options=None).include_usage


def forced(path: str) -> Any:
    named = {"type": "function", "name": "get_weather"}
    return {
        CHAT: {"type": "function", "function": {"name": "get_weather"}},
        RESPONSES: named,
        MESSAGES: {"type": "tool", "name": "get_weather"},
    }[path]


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_when_a_tool_is_called(path: str) -> None:
    """A tool is called where the request forces one or the prompt says so, unless it says none."""
    none = {"type": "none"} if path == MESSAGES else "none"
    some = {"type": "any"} if path == MESSAGES else "required"
    tools = {"tools": [weather_tool(path)]}
    called = {
        "offered": asked(path, **tools),
        "named": asked(path, **tools, tool_choice=forced(path)),
        "required": asked(path, **tools, tool_choice=some),
        "in words": asked(path, "Please USE THE TOOL now.", **tools),
        "forbidden": asked(path, "use the tool", **tools, tool_choice=none),
        "absent": asked(path, "use the tool"),
    }
    assert {name for name, request in called.items() if request.tool} == {"named", "required", "in words"}
    assert {name for name, request in called.items() if request.offered} == {
        "offered",
        "named",
        "required",
        "in words",
    }
    assert called["offered"].prompt_tokens > asked(path).prompt_tokens


def test_after_the_result_the_model_speaks() -> None:
    """A tool's result as the last message ends the wish for a call, so that a loop of an agent ends."""
    conversation = [
        {"role": "user", "content": "use the tool"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]},
        {"role": "tool", "tool_call_id": "x", "content": "42"},
    ]
    request = chat_request({"model": "m", "messages": conversation, "tools": [weather_tool(CHAT)]})
    assert request.tool is None and request.offered is None


def test_responses_repeat_their_request() -> None:
    """What a Response shows of its request is the request's, or the documented default."""
    echo = responses_request({"model": "m", "input": "hi", "instructions": "be kind", "top_p": 0.5}).echo
    assert (echo["instructions"], echo["top_p"]) == ("be kind", 0.5)
    assert (echo["temperature"], echo["tool_choice"], echo["tools"]) == (1.0, "auto", [])


def test_counting_is_what_the_message_costs() -> None:
    """`count_tokens` needs no `max_tokens`, and counts what the message itself will report."""
    body = body_for(MESSAGES, "fast", "hi", system="be kind", tools=[weather_tool(MESSAGES)])
    counted = dict(body)
    del counted["max_tokens"]
    assert count_request(counted).prompt_tokens == messages_request(body).prompt_tokens


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": "hi"}, "messages"),
        (CHAT, {"stream": "yes"}, "stream"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"n": 129}, "n"),
        (CHAT, {"n": True}, "n"),
        (CHAT, {"max_tokens": 1.5}, "max_tokens"),
        (CHAT, {"stop": 7}, "stop"),
        (CHAT, {"stop": ["a", 7]}, "stop"),
        (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
        (CHAT, {"stream": True, "stream_options": 1}, "stream_options"),
        (CHAT, {"stream": True, "stream_options": {"include_usage": 1}}, "include_usage"),
        (CHAT, {"tools": [1]}, "tools"),
        (CHAT, {"tools": [{"type": "function", "function": {}}]}, "tools"),
        (CHAT, {"tool_choice": "required"}, "tool_choice"),
        (CHAT, {"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        (COMPLETIONS, {"prompt": None}, "prompt"),
        (COMPLETIONS, {"prompt": [{}]}, "prompt"),
        (COMPLETIONS, {"prompt": ["a"] * 129}, "prompt"),
        (RESPONSES, {"input": None}, "input"),
        (RESPONSES, {"input": [7]}, "input"),
        (MESSAGES, {"max_tokens": None}, "max_tokens"),
        (MESSAGES, {"max_tokens": 0}, "max_tokens"),
        (MESSAGES, {"messages": []}, "messages"),
        (MESSAGES, {"system": 7}, "system"),
        (MESSAGES, {"stop_sequences": {}}, "stop_sequences"),
    ],
)
def test_mistakes_name_their_field(path: str, fields: dict[str, Any], param: str) -> None:
    """Each mistake is a 400 that says which field."""
    with pytest.raises(Refused) as refused:
        asked(path, **fields)
    assert refused.value.status == 400
    assert refused.value.wording.param == param


FIELDS = (
    *("messages", "input", "prompt", "system", "instructions", "stream", "stream_options", "max_tokens"),
    *("max_completion_tokens", "max_output_tokens", "stop", "stop_sequences", "n", "tools", "tool_choice"),
    *("temperature", "metadata", "text"),
)
KEYS = st.sampled_from(
    (
        *("type", "text", "content", "role", "name", "function", "parameters", "input_schema", "properties"),
        *("required", "items", "enum", "anyOf", "minimum", "input", "output", "arguments", "tool_calls", "thinking"),
    )
)
WORDS = ("text", "tool_result", "tool_use", "function", "function_call", "object", "array", "integer", "tool")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from((*WORDS, "required", "use the tool"))
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), st.sampled_from(["tools", "think"]), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_body_breaks_it(path: str, name: str, fields: dict[str, Any]) -> None:
    """Any JSON in any field is either refused as the client's mistake or answered whole."""
    body = {"messages": [{"role": "user", "content": "use the tool"}]} | fields
    try:
        rendering, said = render(path, name, **body)
    except Refused:
        return
    assert rendering.document()
    assert sum(step.tokens for step in rendering.stream()) == said.pieces


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{'a': 1}", b"\xff{}"])
def test_bodies_that_are_no_object(raw: bytes) -> None:
    """Anything but a JSON object is refused."""
    with pytest.raises(Refused, match="400"):
        read_body(raw)
