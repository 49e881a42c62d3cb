"""Plays an answer onto a connection: in time, and broken where its model says so."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from random import Random

from aiohttp import web

from gateway.simulator.journal import Ended, Entry
from gateway.simulator.models import Behaviour, Fault, Pace
from gateway.simulator.refusals import REFUSALS, Refused
from gateway.simulator.rendering import Part, Pause, Rendering

_HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"
_BROKEN_CHUNK = b"not-a-size\r\n{oops\r\n"
"""Where the size of a chunk in hex belongs (RFC 9112, 7.1)."""
_LINGER_NOT = struct.pack("ii", 1, 0)
"""``struct linger``: on, zero seconds (socket(7))."""

_BEFORE_FIRST = frozenset({Fault.RESET_AFTER_HEADERS, Fault.STALL_BEFORE_FIRST, Fault.ERROR_EVENT_FIRST})
_HALF_WAY = frozenset({Fault.RESET_MID_STREAM, Fault.STALL, Fault.TRUNCATED, Fault.ERROR_MID_STREAM, Fault.GARBAGE})
_ERROR_EVENTS = frozenset({Fault.ERROR_EVENT_FIRST, Fault.ERROR_MID_STREAM})
_ENDING = frozenset({Part.FINISH, Part.CLOSING})

Played = tuple[web.StreamResponse, Ended]


class Metronome:
    """Counts out the waits of one answer against the clock, so that the work between them does not add up.

    Args:
        pace: the distribution of the waits.
        think_s: the silence of a thinking model.
        speed: divides every wait.
        rng: draws the jitter.
    """

    def __init__(self, pace: Pace, think_s: float, speed: float, rng: Random) -> None:
        self._pace = pace
        self._think_s = think_s
        self._speed = speed
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._spoke = False

    async def first(self) -> None:
        """Waits until the first event is due."""
        await self._wait(self._drawn(self._pace.ttft_s, self._pace.ttft_sigma))

    async def before(self, pause: Pause) -> None:
        """Waits as a step asks for; the first token comes with the first event or after the thought."""
        if pause is Pause.THOUGHT:
            await self._wait(self._think_s)
        elif self._spoke:
            await self._wait(self._drawn(self._pace.gap_s, self._pace.gap_sigma))
        self._spoke = self._spoke or pause is Pause.TOKEN

    async def whole(self, tokens: int) -> None:
        """Waits as long as thinking and writing ``tokens`` take, after the first one was due."""
        await self._wait(self._think_s + max(0, tokens - 1) * self._pace.gap_s)

    def _drawn(self, median_s: float, sigma: float) -> float:
        return median_s * self._rng.lognormvariate(0.0, sigma) if sigma else median_s

    async def _wait(self, seconds: float) -> None:
        self._due += seconds / self._speed
        await asyncio.sleep(max(0.0, self._due - self._loop.time()))


class Player:
    """Plays one answer for one request.

    Args:
        request: whose connection it is.
        behaviour: has the fault.
        headers: of the response, content type excepted.
        metronome: keeps the time.
        entry: the line in the journal; tokens are added as they are sent.
    """

    def __init__(
        self,
        request: web.Request,
        behaviour: Behaviour,
        headers: Mapping[str, str],
        metronome: Metronome,
        entry: Entry,
    ) -> None:
        self._request = request
        self._anthropic = request.path.startswith("/v1/messages")
        self._fault = behaviour.fault
        self._headers = headers
        self._metronome = metronome
        self._entry = entry

    async def stream(self, rendering: Rendering, tokens: int) -> Played:
        """Sends the answer as events.

        Args:
            rendering: the answer.
            tokens: how many tokens its events carry; what strikes half-way comes after half of them.
        """
        await self._metronome.first()
        if (instead := await self._instead()) is not None:
            return instead
        response = await self._head("text/event-stream; charset=utf-8", None)
        if self._fault in _BEFORE_FIRST:
            return await self._break(response, rendering.error_event(self._stream_error(), first=True))
        half = max(1, tokens // 2) if self._fault in _HALF_WAY else None
        entry = self._entry
        for part, data, carried, pause in rendering.stream():
            if half is not None and (entry.tokens == half or part in _ENDING):
                return await self._break(response, rendering.error_event(self._stream_error(), first=False))
            if part is Part.CLOSING and self._fault is Fault.NO_DONE:
                continue
            if pause is not Pause.NONE:
                await self._metronome.before(pause)
            await response.write(data)
            entry.tokens += carried
        await response.write_eof()
        return response, Ended.COMPLETE

    async def document(self, body: bytes, tokens: int) -> Played:
        """Sends the answer as one JSON document, after the time that its tokens take.

        The faults of streams strike here too: half-way is half of the bytes, and an error event is an error
        document with status 200.
        """
        await self._metronome.first()
        if (instead := await self._instead()) is not None:
            return instead
        await self._metronome.whole(tokens)
        if self._fault in _ERROR_EVENTS:
            body = Refused(REFUSALS["500"]).body(anthropic=self._anthropic, request_id=self._entry.id)
        elif self._fault in _HALF_WAY or self._fault in _BEFORE_FIRST:
            return await self._break_document(body)
        response = await self._head("application/json", len(body))
        await response.write_eof(body)
        if self._fault in _ERROR_EVENTS:
            return response, Ended.FAULT
        self._entry.tokens += tokens
        return response, Ended.COMPLETE

    async def _break_document(self, body: bytes) -> Played:
        half = body[: len(body) // 2]
        declared = {Fault.TRUNCATED: len(half), Fault.GARBAGE: None}.get(self._fault, len(body))
        response = await self._head("application/json", declared)
        if self._fault not in _BEFORE_FIRST:
            await response.write(half)
        return await self._break(response, b"")

    async def _instead(self) -> Played | None:
        """What a model does in the place of an answer."""
        if self._fault is Fault.RESET_BEFORE_HEADERS:
            self._reset()
            return web.StreamResponse(), Ended.FAULT
        if self._fault is Fault.HTML:
            response = await self._head("text/html; charset=utf-8", len(_HTML))
            await response.write_eof(_HTML)
            return response, Ended.FAULT
        return None

    async def _head(self, content_type: str, length: int | None) -> web.StreamResponse:
        """Sends the response head, of a body of ``length`` bytes or chunked."""
        response = web.StreamResponse(headers={**self._headers, "Content-Type": content_type})
        if length is not None:
            response.content_length = length
        elif self._request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(self._request)
        self._entry.status = 200
        return response

    async def _break(self, response: web.StreamResponse, error_event: bytes) -> Played:
        """Does what the model's fault says, with the head sent."""
        match self._fault:
            case Fault.RESET_AFTER_HEADERS | Fault.RESET_MID_STREAM:
                self._reset()
                return response, Ended.FAULT
            case Fault.STALL | Fault.STALL_BEFORE_FIRST:
                await asyncio.get_running_loop().create_future()
            case Fault.GARBAGE if (transport := self._request.transport) is not None:
                transport.write(_BROKEN_CHUNK)
                transport.close()
                return response, Ended.FAULT
            case Fault.ERROR_EVENT_FIRST | Fault.ERROR_MID_STREAM:
                await response.write(error_event)
        await response.write_eof()
        return response, Ended.FAULT

    def _stream_error(self) -> Refused:
        """What breaks a stream: Anthropic says that it is overloaded, OpenAI that it failed."""
        return Refused(REFUSALS["529" if self._anthropic else "500"])

    def _reset(self) -> None:
        """Sends a TCP reset: closing with a linger time of zero skips the orderly end."""
        if (transport := self._request.transport) is not None:
            peer = transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            transport.abort()
