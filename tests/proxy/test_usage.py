"""How many tokens are billed: as reported, else estimated, and for whole answers only here; streams have their own."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import Source, Usage
from gateway.proxy.usage import NOTHING, usage_of
from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer, openai_stream
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.exchanges import order_of, tried
from tests.surface.front import ASK, ASK_MESSAGES, CHAT, MESSAGES, open_front

ANSWER: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": "Hello, world. " * 20}}]}


def billed(path: str, document: Any, answer: dict[str, Any] | None = None, tail: bytes = b"") -> Usage:
    exchange = tried(path, document)
    exchange.answer, exchange.answer_tail = answer, tail
    return usage_of(exchange, order_of(exchange))[0]


def test_reported_usage_is_taken_as_it_is() -> None:
    """Zero is a figure."""
    usage = billed(CHAT, ASK, {**ANSWER, "usage": {"prompt_tokens": 7, "completion_tokens": 0}})
    assert (usage.input, usage.output, usage.source) == (7, 0, Source.REPORTED)


@pytest.mark.parametrize("reported", [{}, {"usage": None}, {"usage": {}}, {"usage": "many"}])
def test_absent_usage_is_estimated(reported: dict[str, Any]) -> None:
    """The prompt by its text, the output by the answer's, and it says that it is an estimate."""
    usage = billed(CHAT, ASK, {**ANSWER, **reported})
    assert usage.source is Source.ESTIMATED
    assert usage.input > 0
    assert 50 <= usage.output <= 100


def test_nothing_is_billed_of_no_answer() -> None:
    """A client that has nothing pays nothing."""
    assert billed(CHAT, ASK) is NOTHING


def test_answer_that_can_be_continued_has_an_id() -> None:
    """Responses only: the id is remembered with who gave it."""
    exchange = tried("/v1/responses", {"model": "gpt-4o-mini", "input": "Hello"})
    exchange.answer = {"id": "resp_7", "output": [], "usage": {"input_tokens": 1, "output_tokens": 2}}
    assert usage_of(exchange, order_of(exchange))[1] == "resp_7"
    assert usage_of(tried(CHAT, ASK), order_of(tried(CHAT, ASK)))[1] is None


@pytest.mark.parametrize(
    ("path", "document", "tail"),
    [
        (CHAT, ASK, b'..."}}],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11},"x":1}'),
        (
            CHAT,
            ASK,
            b'said "usage": {"prompt_tokens": 1} in the text", "usage" : {"prompt_tokens":5,"completion_tokens":6}}',
        ),
        (MESSAGES, ASK_MESSAGES, b'...],"usage":{"input_tokens":5,"output_tokens":6}}'),
    ],
)
def test_usage_stands_at_the_end_of_a_large_answer(path: str, document: Any, tail: bytes) -> None:
    """Of an answer too large to be read, the last bytes are enough; the last `usage` counts."""
    usage = billed(path, document, tail=tail)
    assert (usage.input, usage.output, usage.source) == (5, 6, Source.REPORTED)


@pytest.mark.parametrize(
    "tail",
    [
        b"no usage here",
        b'"usage"',
        b'"usage": null}',
        b'"usage": {"prompt_tokens": ',
        b'"usage": {"prompt_tokens": ' + b"1" * 5000 + b"}}",
        b'"usage": ' + b'{"a":' * 20_000,
        b'"usage": {"prompt_tokens": "x"}}',
        b'"usage": {\xff\xfe}',
    ],
    ids=["none", "name", "null", "cut", "5,000 digits", "deep", "no number", "not UTF-8"],
)
def test_unreadable_tail_is_an_estimate(tail: bytes) -> None:
    """Whatever a provider sends, the exchange is settled."""
    usage = billed(CHAT, ASK, tail=tail)
    assert (usage.source, usage.input > 0) == (Source.ESTIMATED, True)


@given(st.binary(max_size=60))
def test_no_tail_breaks_the_settlement(tail: bytes) -> None:
    """Arbitrary bytes behind the marker never raise."""
    assert billed(CHAT, ASK, tail=b'"usage": {"prompt_tokens": 1, "x": ' + tail).input >= 0


@pytest.mark.parametrize(
    ("script", "source", "output"),
    [
        (openai_answer(), "reported", 3),
        (openai_answer("Hello, world. " * 20, usage=None), "estimated", 75),
        (openai_stream(usage={"prompt_tokens": 11, "completion_tokens": 3}), "reported", 3),
        (openai_stream(usage={"prompt_tokens": 11, "completion_tokens": 0}), "reported", 0),
        (openai_stream(40), "estimated", 90),
    ],
    ids=["reported", "estimated", "stream reported", "stream reported 0", "stream estimated"],
)
async def test_the_access_log_says_where_the_figures_come_from(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, script: Any, source: str, output: int
) -> None:
    """Through the whole gateway: reported exactly, estimated within a half, and the source in the line."""
    upstream.always(script)
    front = await open_front(make_gateway, upstream)
    is_stream = b"event-stream" in script[0].wire
    answer = await front.post(CHAT, {**ASK, "stream": is_stream})
    assert answer.status == 200
    (line,) = front.access_log()
    assert line["usage"] == source
    assert (
        line["output_tokens"] == output if source == "reported" else output / 2 <= line["output_tokens"] <= output * 2
    )
    assert json.dumps(line["cost_nanousd"]).isdigit()
