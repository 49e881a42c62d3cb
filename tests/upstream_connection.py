"""One connection of the scripted upstream: requests read one after the other, a script played for each."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.raw_connection import EndedEarly, RawConnection
from tests.raw_http import MessageHead, Pairs
from tests.upstream_script import Step, says_close


@dataclass(eq=False, slots=True)
class SeenRequest:
    """One request as it came; ``answered`` is set when its script ended. Times: ``time.monotonic``."""

    connection: int
    head: MessageHead
    body: bytes
    head_at_s: float
    body_at_s: float
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    steps_played: int = 0

    @property
    def method(self) -> str:
        return self.head.start_line.split(" ")[0]

    @property
    def path(self) -> str:
        """The request target, with its query."""
        return self.head.start_line.split(" ")[1]

    @property
    def headers(self) -> Pairs:
        return self.head.headers

    def header(self, name: str) -> str | None:
        """Returns the only value of a header, or None."""
        return self.head.get(name)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def model(self) -> str | None:
        """The model that the body names, None where it is no JSON object."""
        try:
            document = self.json()
        except ValueError:
            return None
        return document.get("model") if isinstance(document, dict) else None


class Director(Protocol):
    """Who keeps the books of all connections and chooses the scripts: the scripted upstream."""

    mistakes: list[str]
    unfinished_requests: int

    def joined(self, connection: "UpstreamConnection") -> int: ...

    def left(self) -> None: ...

    def saw(self, request: SeenRequest) -> None: ...

    def script_for(self, request: SeenRequest) -> list[Step]: ...


class UpstreamConnection(RawConnection):
    """One accepted connection: reads requests one after the other and plays their scripts."""

    def __init__(self, upstream: Director) -> None:
        super().__init__()
        self.number = -1
        self.idle = True
        self.ended = asyncio.Event()
        self._upstream = upstream
        self._playing: asyncio.Task[None] | None = None
        self.serving: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.number = self._upstream.joined(self)
        self.serving = asyncio.create_task(self._serve(), name=f"upstream connection {self.number}")

    def eof_received(self) -> bool:
        super().eof_received()
        self._gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._gone()
        self._upstream.left()

    def _gone(self) -> None:
        self.ended.set()
        if self.ending != "local":
            self._stop_playing()

    def _stop_playing(self) -> None:
        if self._playing is not None:
            self._playing.cancel()

    async def drop(self) -> None:
        """Ends the connection and its script at once."""
        self._stop_playing()
        await self.abort()
        if self.serving is not None:
            await self.serving

    async def _serve(self) -> None:
        try:
            while (request := await self._read_request()) is not None:
                self._upstream.saw(request)
                steps = self._upstream.script_for(request)
                stays = await self._answer(request, steps)
                if not stays or not request.head.keeps_alive or says_close(steps):
                    break
                self.idle = True
        except (EndedEarly, ConnectionResetError):
            self._upstream.unfinished_requests += not self.idle
        except Exception as mistake:  # whatever it is, the test must fail with it and not hang
            self._upstream.mistakes.append(f"connection {self.number}: {mistake!r}")
            await self.abort()
        if not self.lost.is_set():
            await self.close()

    async def _read_request(self) -> SeenRequest | None:
        if self.held_bytes == 0 and not await self.more():
            return None
        self.idle = False
        head = await self.head()
        if head is None:
            return None
        head_at_s, body = time.monotonic(), b""
        if head.chunked:
            body = b"".join(chunk.payload for chunk in await self.chunks())
        elif (length := head.get("content-length")) is not None:
            body = await self.exactly(int(length))
        return SeenRequest(self.number, head, body, head_at_s, time.monotonic())

    async def _answer(self, request: SeenRequest, steps: list[Step]) -> bool:
        """Plays a script; returns whether all of it was played and the connection still stands."""
        if self.ending is None:
            self._playing = asyncio.create_task(self._play(request, steps), name=f"script {self.number}")
            await asyncio.wait([self._playing])
            playing, self._playing = self._playing, None
            error = None if playing.cancelled() else playing.exception()
            if error is not None and not isinstance(error, ConnectionResetError):
                raise error
        request.answered.set()
        return request.steps_played == len(steps) and self.ending is None

    async def _play(self, request: SeenRequest, steps: list[Step]) -> None:
        for step in steps:
            await step.play(self)
            request.steps_played += 1
