"""What a request asks for, read from the bodies of the four text routes into one shape.

The checks are those whose answers a gateway has to get right: presence and type of the fields used here, and
OpenAI's refusal of ``stream_options`` without ``stream``. Every other field is ignored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from gateway.simulator.prompt import Prompt
from gateway.simulator.prose import prompt_tokens
from gateway.simulator.refusals import invalid
from gateway.simulator.toolcalls import NO_TOOLS, Tool, ToolWish, anthropic_tools, chat_tools, responses_tools

CACHED_MARK = "[cached]"
CACHE_WRITE_MARK = "[cache-write]"
CACHE_WRITE_1H_MARK = "[cache-write-1h]"
TOOL_MARK = "use the tool"
_MAX_CHOICES = 128
_MAX_PROMPTS = 128

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for text.

    ``topic`` stands for the prompt: equal prompts, equal topics. ``limit_tokens`` is the most it wants
    written, and ``echo`` holds the request fields that a Responses answer repeats.
    """

    model: str
    stream: bool
    topic: str
    prompt_tokens: int
    cached: bool = False
    cache_write: bool = False
    cache_write_1h: bool = False
    include_usage: bool = False
    limit_tokens: int | None = None
    stops: tuple[str, ...] = ()
    choices: int = 1
    tool: Tool | None = None
    """The tool that the request wants called."""
    offered: Tool | None = None
    """The tool that an eager model would call (none where a tool's result came last)."""
    echo: Json = field(default_factory=dict)


def read_body(raw: bytes) -> Json:
    """Parses a request body, which has to be a JSON object."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise invalid("We could not parse the JSON body of your request. The request body has to be a JSON object.")
    return body


def model_of(body: Json) -> str:
    """Returns the model that the request names."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", "model")
    return model


def chat_request(body: Json) -> Asked:
    """Reads a body of ``POST /v1/chat/completions``."""
    prompt = Prompt()
    for message in _list(body, "messages"):
        prompt.read_message(message, "messages")
    limit = _count(body, "max_completion_tokens") or _count(body, "max_tokens")
    return _asked(
        body,
        prompt,
        chat_tools(body),
        include_usage=_include_usage(body),
        limit_tokens=limit,
        stops=_stops(body, "stop"),
        choices=_choices(body),
    )


def completion_request(body: Json) -> Asked:
    """Reads a body of ``POST /v1/completions``; a list of prompts makes ``n`` choices of each."""
    given = body.get("prompt")
    if isinstance(given, list) and all(isinstance(token, int) for token in given):
        given = [given]
    prompts = given if isinstance(given, list) else [given]
    if len(prompts) > _MAX_PROMPTS:
        raise invalid(f"Invalid 'prompt': expected at most {_MAX_PROMPTS} prompts.", "prompt")
    prompt = Prompt()
    for one in prompts:
        if isinstance(one, list):
            prompt.texts.append(" ".join(map(str, one)))
        elif isinstance(one, str):
            prompt.texts.append(one)
        else:
            raise invalid("Missing required parameter: 'prompt'.", "prompt")
    return _asked(
        body,
        prompt,
        include_usage=_include_usage(body),
        limit_tokens=_count(body, "max_tokens"),
        stops=_stops(body, "stop"),
        choices=_choices(body) * max(1, len(prompts)),
    )


_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a Response repeats of its request, with the values it shows where the request names none."""


def responses_request(body: Json) -> Asked:
    """Reads a body of ``POST /v1/responses``."""
    prompt = Prompt()
    prompt.read(body.get("instructions"), "instructions")
    given = body.get("input")
    if isinstance(given, str):
        prompt.messages = 1
        prompt.read(given, "input")
    else:
        for item in _list(body, "input"):
            prompt.read_message(item, "input")
    echo = {name: default if (value := body.get(name)) is None else value for name, default in _ECHOED.items()}
    return _asked(body, prompt, responses_tools(body), limit_tokens=_count(body, "max_output_tokens"), echo=echo)


def messages_request(body: Json) -> Asked:
    """Reads a body of ``POST /v1/messages``, where ``max_tokens`` is required."""
    if body.get("max_tokens") is None:
        raise invalid("Field required", "max_tokens")
    return _messages(body, limit_tokens=_count(body, "max_tokens"), stops=_stops(body, "stop_sequences"))


def count_request(body: Json) -> Asked:
    """Reads a body of ``POST /v1/messages/count_tokens``."""
    return _messages(body)


def _messages(body: Json, **rest: Any) -> Asked:
    prompt = Prompt()
    prompt.read(body.get("system"), "system")
    for message in _list(body, "messages"):
        prompt.read_message(message, "messages")
    return _asked(body, prompt, anthropic_tools(body), **rest)


TEXT_REQUESTS: dict[str, Callable[[Json], Asked]] = {
    "/v1/chat/completions": chat_request,
    "/v1/completions": completion_request,
    "/v1/responses": responses_request,
    "/v1/messages": messages_request,
}


def _asked(body: Json, prompt: Prompt, tools: ToolWish = NO_TOOLS, **rest: Any) -> Asked:
    text = "\n".join(prompt.texts)
    encoded = text.encode()
    wants_tool = TOOL_MARK in text.casefold()
    offered = None if prompt.ends_with_result else tools.offered
    return Asked(
        model=model_of(body),
        stream=_flag(body, "stream"),
        topic=blake2b(encoded, digest_size=16).hexdigest(),
        prompt_tokens=prompt_tokens(len(encoded) + tools.definition_bytes, prompt.messages, prompt.images),
        cached=CACHED_MARK in text,
        cache_write=CACHE_WRITE_MARK in text,
        cache_write_1h=CACHE_WRITE_1H_MARK in text,
        tool=tools.forced or (offered if wants_tool else None),
        offered=offered,
        **rest,
    )


def _list(body: Json, name: str) -> list[Any]:
    value = body.get(name)
    if value is None:
        raise invalid(f"Missing required parameter: '{name}'.", name)
    if not isinstance(value, list) or not value:
        raise invalid(f"Invalid '{name}': expected a list with at least one entry.", name)
    return value


def _flag(body: Json, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"Invalid type for '{name}': expected a boolean.", name)
    return bool(value)


def _count(body: Json, name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(f"Invalid '{name}': expected an integer of at least 1.", name)
    return value


def _choices(body: Json) -> int:
    count = _count(body, "n") or 1
    if count > _MAX_CHOICES:
        raise invalid(f"Invalid 'n': expected a value of at most {_MAX_CHOICES}.", "n")
    return count


def _stops(body: Json, name: str) -> tuple[str, ...]:
    value = body.get(name)
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise invalid(f"Invalid '{name}': expected strings.", name)
    return tuple(stops)


def _include_usage(body: Json) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise invalid("Invalid type for 'stream_options': expected an object.", "stream_options")
    if not body.get("stream"):
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    return _flag(options, "include_usage")
