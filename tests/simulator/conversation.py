"""How the tests of the simulator ask, and what they hear."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from gateway.core.sse import event_end, parse_event
from gateway.simulator import Simulator
from gateway.simulator.journal import Entry
from tests.raw_client import RawClient

Json = dict[str, Any]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
PATHS = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city"],
}


def model_on(path: str, behaviour: str) -> str:
    """The name of a behaviour on a route."""
    return ("claude-sim-" if path.startswith(MESSAGES) else "sim-") + behaviour


def body_for(path: str, behaviour: str, prompt: str = "Tell me about streams.", /, **fields: Any) -> Json:
    """A small request for text on any of the routes."""
    question: dict[str, Json] = {
        CHAT: {"messages": [{"role": "user", "content": prompt}]},
        COMPLETIONS: {"prompt": prompt},
        RESPONSES: {"input": prompt},
        MESSAGES: {"messages": [{"role": "user", "content": prompt}], "max_tokens": 4096},
    }
    return {"model": model_on(path, behaviour), **question[path], **fields}


def weather_tool(path: str) -> Json:
    """One tool, as the route declares it."""
    declared: dict[str, Json] = {
        CHAT: {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
        RESPONSES: {"type": "function", "name": "get_weather", "parameters": WEATHER},
        MESSAGES: {"name": "get_weather", "input_schema": WEATHER},
    }
    return declared[path]


@dataclass
class Heard:
    """An answer as it came: ``ending`` is ``clean``, ``broken`` (connection lost) or ``silent``."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    ending: str = "clean"

    @property
    def json(self) -> Json:
        parsed: Json = orjson.loads(self.raw)
        return parsed

    @property
    def events(self) -> list[Json]:
        """The data of every whole event; ``[DONE]`` is left out."""
        return [orjson.loads(data) for data in self.datas if data != b"[DONE]"]

    @property
    def datas(self) -> list[bytes]:
        return [data for _, data in events_of(self.raw)]


def events_of(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every whole event."""
    start = 0
    while (end := event_end(raw, start)) >= 0:
        event = parse_event(raw[start:end])
        assert event.data is not None
        yield event.name, event.data
        start = end


def last(simulator: Simulator) -> Entry:
    """What the simulator wrote down of the last request."""
    return simulator.journal.entries[-1]


async def ask(
    http: aiohttp.ClientSession,
    path: str,
    body: Json,
    *,
    silence_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Heard:
    """Asks, and listens to the end, or until ``silence_s`` passed without a byte."""
    heard = Heard()
    try:
        async with http.post(path, json=body, headers=headers) as response:
            heard.status = response.status
            heard.headers = response.headers
            while True:
                async with asyncio.timeout(silence_s):
                    piece = await response.content.readany()
                if not piece:
                    break
                heard.raw += piece
    except TimeoutError:
        heard.ending = "silent"
    except aiohttp.ClientError:
        heard.ending = "broken"
    return heard


async def ask_raw(simulator: Simulator, path: str, body: Json, heard: Heard) -> None:
    """Asks byte for byte; ``heard`` has at any time what has come."""
    async with await RawClient.connect(simulator.base_url) as client:
        await client.post(path, body)
        try:
            head = await client.answer_head()
            heard.status = head.status
            while head.chunked and not (chunk := await client.chunk()).last:
                heard.raw += chunk.payload
            heard.raw += await client.exactly(1)
            await client.to_end()
        except ConnectionResetError:
            pass
        heard.ending = "broken" if client.ending == "reset" else "clean"


def text_of(path: str, heard: Heard) -> str:
    """The text of a streamed answer, all choices together in the order of arrival."""
    return "".join(pieces_of(path, heard))


def pieces_of(path: str, heard: Heard) -> list[str]:
    """The pieces of text or of arguments that a stream carried."""
    found = (_piece(path, event) for event in heard.events)
    return [piece for piece in found if piece is not None]


def _piece(path: str, event: Json) -> str | None:
    piece: str | None = None
    if path == MESSAGES and event["type"] == "content_block_delta":
        delta = event["delta"]
        piece = delta.get("text", delta.get("partial_json"))
    elif path == RESPONSES and event["type"].endswith(".delta"):
        piece = event["delta"]
    elif path == COMPLETIONS and event.get("choices"):
        piece = event["choices"][0]["text"] or None
    elif path == CHAT and event.get("choices"):
        delta = event["choices"][0]["delta"]
        piece = delta.get("content") or None
        for call in delta.get("tool_calls", ()):
            piece = call["function"]["arguments"] or None
    return piece


def is_whole(path: str, heard: Heard) -> bool:
    """Whether a stream ended as the provider documents: with its closing event."""
    if path in {CHAT, COMPLETIONS}:
        return heard.datas[-1:] == [b"[DONE]"]
    kinds = [event["type"] for event in heard.events]
    return kinds[-1:] in [["message_stop"], ["response.completed"], ["response.incomplete"]]


def has_finish(path: str, heard: Heard) -> bool:
    """Whether a stream carried its finish reason."""
    if path in {CHAT, COMPLETIONS}:
        return any(c["finish_reason"] for e in heard.events for c in e.get("choices", ()))
    return any(e["type"] in {"message_delta", "response.output_item.done"} for e in heard.events)


def has_error(heard: Heard) -> bool:
    """Whether an error event came."""
    return any("error" in e or e.get("type") in {"error", "response.failed"} for e in heard.events)
