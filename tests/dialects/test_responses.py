"""The Responses endpoint: requests, events, and errors as the SDK sees them."""

from typing import Any

import openai
import pytest

from gateway.core.errors import GatewayError
from gateway.core.flow import Kind
from gateway.core.sse import parse_event
from gateway.core.tokens import Source, Usage
from gateway.dialects.responses import Responses
from tests.dialects.sdks import broken_off, openai_sdk
from tests.dialects.streams import RESPONSES_SHAPES, Shape, answer, delta, named
from tests.dialects.test_operation import param_refused

RESPONSES = Responses()
ASKED: dict[str, Any] = {"model": "m", "input": "Hi"}


@pytest.mark.parametrize("shape", RESPONSES_SHAPES, ids=lambda shape: shape.name)
def test_events_mean_what_they_mean(shape: Shape) -> None:
    """Event by event, with the text that is new in it, and whether a clean end would be whole."""
    reader = shape.new_reader()
    finished = False
    for piece in shape.pieces:
        assert reader.see(parse_event(piece.raw)) is piece.kind
        assert reader.text_bytes == len(piece.says.encode())
        finished = finished or piece.finishes
        assert reader.finished == finished


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b": ping\n\n", Kind.PREAMBLE),
        (named({"type": "response.output_item.added", "item": {}}), Kind.CONTENT),
        (named({"type": "response.unheard_of"}), Kind.CONTENT),
        (b"event: response.in_progress\ndata: {}\n\n", Kind.PREAMBLE),
        (b'event: response.in_progress\ndata: {"type":7}\n\n', Kind.PREAMBLE),
        (b'event: response.completed\ndata: {"type":""}\n\n', Kind.CLOSING),
        (b'data: {"type":["response.completed"]}\n\n', Kind.CONTENT),
        (b'data: {"error":{"message":"busy"}}\n\n', Kind.ERROR),
        (b"event: error\ndata: busy\n\n", Kind.ERROR),
        (b"data: busy\n\n", Kind.CONTENT),
        (b"data: [DONE]\n\n", Kind.CLOSING),
    ],
)
def test_single_events(event: bytes, kind: Kind) -> None:
    """The type of the document decides, else the event's name."""
    assert RESPONSES.reader(hide_usage=True).see(parse_event(event)) is kind


def test_an_item_that_is_done_may_be_the_last() -> None:
    """From there on every event is looked at."""
    reader = RESPONSES.reader(hide_usage=True)
    reader.see(parse_event(delta("output_text", "Hi")))
    assert (reader.ending, reader.finished) == (False, False)
    reader.see(parse_event(named({"type": "response.output_text.done", "text": "Hi"})))
    assert (reader.ending, reader.finished) == (True, False)


def test_the_answer_can_be_continued_by_its_id() -> None:
    """The id of the answer object, as soon as one names it, streamed or not."""
    reader = RESPONSES.reader(hide_usage=True)
    reader.see(parse_event(delta("output_text", "Hi")))
    assert (reader.response_id, reader.ending) == (None, False)
    reader.see(parse_event(named({"type": "response.created", "response": answer("in_progress")})))
    assert (reader.response_id, reader.ending) == ("resp_1", False)
    assert RESPONSES.report({"id": "resp_2"}).response_id == "resp_2"
    assert RESPONSES.report({"id": 7}).response_id is None


def test_a_failed_answer_reports_its_usage() -> None:
    """What was spent until then."""
    reader = RESPONSES.reader(hide_usage=True)
    failed = named({"type": "response.failed", "response": answer("failed", {"input_tokens": 2, "output_tokens": 1})})
    assert reader.see(parse_event(failed)) is Kind.ERROR
    assert reader.usage() == Usage(input=2, output=1, source=Source.REPORTED)
    assert RESPONSES.report(answer("completed", {"input_tokens": 2, "output_tokens": 1})).usage == reader.usage()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"background": "no"}, "background"),
        ({"stream": "yes"}, "stream"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
    ],
)
def test_bad_requests(fields: dict[str, Any], param: str) -> None:
    """Each refusal names its field."""
    assert param_refused(RESPONSES, ASKED | fields) == param


def test_requests() -> None:
    """Usage always comes by itself, so nothing is asked for."""
    asked = {"stream": True, "background": False, "max_output_tokens": 9, "previous_response_id": "resp_1"}
    view = RESPONSES.view(ASKED | asked)
    assert (view.stream, view.choices, view.max_output, view.usage_asked) == (True, 1, 9, True)
    assert view.continues == "resp_1"
    assert RESPONSES.view(ASKED | {"previous_response_id": None, "background": None}).continues is None
    assert RESPONSES.asks_usage(ASKED) == {}


def test_the_sdk_reads_our_error_event() -> None:
    """It raises in the middle of the stream, after the content that came."""
    error = GatewayError("stalled", "The provider went silent.")
    stream = openai_sdk(broken_off(RESPONSES, error, delta("output_text", "Hi"))).responses.create(
        model="m", input="Hi", stream=True
    )
    assert next(stream).type == "response.output_text.delta"
    with pytest.raises(openai.APIError, match="The provider went silent") as seen:
        next(stream)
    assert seen.value.code == "stalled"
