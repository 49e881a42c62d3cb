"""What is said costs what is sent; limits and stops end it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.answers import Finish, answer
from gateway.simulator.asked import Asked, chat_request
from gateway.simulator.models import Behaviour, behaviour_named
from tests.simulator.conversation import CHAT, body_for, weather_tool


def behaviour(name: str) -> Behaviour:
    found = behaviour_named(name)
    assert found is not None
    return found


def asked(name: str, prompt: str = "hi", **fields: object) -> Asked:
    return chat_request(body_for(CHAT, name, prompt, **fields))


@given(
    st.sampled_from(["fast", "think", "tools", "long"]),
    st.none() | st.integers(1, 700),
    st.integers(1, 4),
    st.text(),
)
def test_usage_counts_the_pieces(name: str, limit: int | None, choices: int, prompt: str) -> None:
    """Output tokens are the pieces of all choices and the reasoning; no choice goes beyond the limit."""
    request = asked(name, prompt, max_tokens=limit, n=choices, tools=[weather_tool(CHAT)])
    said = answer(request, behaviour(name), seed=1)
    usage = said.usage
    assert len(said.choices) == choices
    assert said.pieces == sum(len(choice.pieces) for choice in said.choices)
    assert usage.output == said.pieces + usage.reasoning
    assert (usage.reasoning > 0) == (name == "think")
    for choice in said.choices:
        whole = limit is None or usage.reasoning + len(choice.pieces) <= limit
        assert whole
        if choice.finish is Finish.LENGTH:
            assert usage.reasoning + len(choice.pieces) == limit
    assert said == answer(request, behaviour(name), seed=1)


def test_long_has_two_thousand_tokens() -> None:
    """The name promises a number."""
    assert answer(asked("long"), behaviour("long"), 0).pieces == 2000


def test_choices_differ() -> None:
    """Several choices are several texts."""
    said = answer(asked("fast", n=4), behaviour("fast"), 0)
    assert len({choice.text for choice in said.choices}) == 4


def test_a_stop_sequence_ends_the_text() -> None:
    """The text ends before the sequence, which is reported."""
    free = answer(asked("fast"), behaviour("fast"), 0).choices[0]
    word = free.pieces[10]
    held = answer(asked("fast", stop=[word]), behaviour("fast"), 0).choices[0]
    assert held.text == free.text[: free.text.index(word)]
    assert (held.finish, held.stop) == (Finish.STOP, word)


def test_an_eager_model_calls_what_is_offered() -> None:
    """`tools` calls without being told; others only if they are."""
    offered = asked("tools", tools=[weather_tool(CHAT)])
    eager = answer(offered, behaviour("tools"), 0).choices[0]
    assert (eager.tool, eager.finish) == ("get_weather", Finish.TOOL_CALLS)
    assert '"city":' in eager.text
    assert answer(offered, behaviour("fast"), 0).choices[0].tool is None
    assert answer(asked("tools"), behaviour("tools"), 0).choices[0].tool is None


@pytest.mark.parametrize(
    ("mark", "cached", "written", "written_1h"),
    [
        ("", False, False, False),
        ("[cached]", True, False, False),
        ("[cache-write]", False, True, False),
        ("[cache-write-1h]", False, False, True),
    ],
)
def test_shares_of_the_cache(mark: str, cached: bool, written: bool, written_1h: bool) -> None:
    """A mark moves half (cached) or a quarter (written) of the prompt out of the fresh tokens."""
    usage = answer(asked("fast", f"{mark} {'x' * 400}"), behaviour("fast"), 0).usage
    quarter = usage.prompt // 4
    assert usage.cached == (usage.prompt // 2 if cached else 0)
    assert usage.cache_write == (quarter if written else 0)
    assert usage.cache_write_1h == (quarter if written_1h else 0)
    assert usage.fresh + usage.cached + usage.cache_write + usage.cache_write_1h == usage.prompt
