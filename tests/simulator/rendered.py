"""Renders answers without a socket, for the tests of the three shapes."""

import itertools
from typing import Any

import orjson

from gateway.simulator.answers import Answer, answer
from gateway.simulator.asked import TEXT_REQUESTS
from gateway.simulator.chat import ChatCompletion, TextCompletion
from gateway.simulator.messages import Message
from gateway.simulator.models import behaviour_named
from gateway.simulator.rendering import Part, Rendering, Stamp
from gateway.simulator.responses import Response
from tests.simulator.conversation import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Json, body_for, events_of

RENDERINGS: dict[str, Any] = {
    CHAT: ChatCompletion,
    COMPLETIONS: TextCompletion,
    RESPONSES: Response,
    MESSAGES: Message,
}


def render(path: str, name: str, prompt: str = "hi", /, **fields: Any) -> tuple[Rendering, Answer]:
    """The answer of the behaviour ``name``, and its rendering for the route."""
    behaviour = behaviour_named(name)
    assert behaviour is not None
    asked = TEXT_REQUESTS[path](body_for(path, name, prompt, **fields))
    said = answer(asked, behaviour, seed=0)
    count = itertools.count()
    stamp = Stamp(created=1_700_000_000, request_id="req_1", new_id=lambda prefix: f"{prefix}{next(count)}")
    return RENDERINGS[path](asked, said, behaviour.usage, stamp), said


def events(rendering: Rendering) -> list[Json]:
    """The data of every event of the stream, ``[DONE]`` left out."""
    raw = b"".join(step.data for step in rendering.stream())
    return [orjson.loads(data) for _, data in events_of(raw) if data != b"[DONE]"]


def parts(rendering: Rendering) -> list[Part]:
    """The parts of the stream in their order, runs shortened to one."""
    return [part for part, _ in itertools.groupby(step.part for step in rendering.stream())]
