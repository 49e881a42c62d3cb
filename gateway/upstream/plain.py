"""The plain path: an event stream read through aiohttp's own stream, for all that cannot be spliced.

Bodies that are not chunked, compressed ones, HTTP/1.0 on either side, an aiohttp that failed the self-check.
Same machine in the middle, same promises, a task wake-up per read.
"""

import asyncio

import aiohttp

from gateway import splice
from gateway.core.clock import Clock
from gateway.core.flow import EventFlow, EventTooLarge, Phase
from gateway.core.outcome import Outcome
from gateway.upstream.pool import Response
from gateway.upstream.stream import END_GRACE_S, Gaps, Sink, StreamLimits, UpstreamStream


class PlainStream(UpstreamStream):
    """An event stream behind aiohttp's response object."""

    __slots__ = ("_body_over", "_response", "_sink")

    def __init__(
        self,
        response: Response,
        flow: EventFlow,
        gaps: Gaps,
        limits: StreamLimits,
        clock: Clock,
    ) -> None:
        super().__init__(flow, gaps, limits, clock)
        self._response = response
        self._body_over = False

    async def _read(self) -> bytes:
        """Take one read into the flow; return what may go downstream and set the outcome once it is certain."""
        out, clean = b"", True
        try:
            data = await self._response.content.readany()
            if self.flow.phase is not Phase.HELD:
                self.gaps.observe(self._clock() - self.last_at)
            self.last_at = self._clock()
        except (aiohttp.ClientError, OSError, RuntimeError):
            # RuntimeError says that the connection was closed while nobody read.
            clean, data = False, splice.unread(self._response.content)
        try:
            out = self._feed(data)
        except EventTooLarge:
            self.fail(Outcome.PROVIDER_ERROR)
        if self.outcome is None or self.outcome is Outcome.SUCCESS:
            if not data:
                self._body_over = True
                self.flow.end()
            if self.outcome is None and (self._body_over or self.flow.error or self.flow.phase is Phase.CLOSING):
                self.outcome = self.flow.verdict(clean=clean)
        return out

    async def first(self) -> None:
        while self.flow.phase is Phase.HELD and self.outcome is None:
            self._ready += await self._read()
        if self._ready:
            self.first_at = self.last_at

    def begin(self, sink: Sink) -> None:
        self._sink = sink

    async def ended(self) -> Outcome:
        while self.outcome is None:
            if self._owing:
                await self._top_up()
            else:
                await self._pass_on(await self._read())
                if self._room < 0:
                    self._weigh()
        return self.outcome

    async def finish(self) -> None:
        await self._pass_on(self.flow.release())
        try:
            async with asyncio.timeout(END_GRACE_S):
                while not self._body_over:
                    await self._pass_on(await self._read())
        except TimeoutError:
            self.abort()
        await self._pass_on(self.flow.release())
        if not self._detached:
            await self._sink.end()

    async def _pass_on(self, payload: bytes) -> None:
        if payload and not self._detached:
            self._throttled = True
            try:
                await self._within_write_timeout(self._sink.send(payload))
            finally:
                self._throttled = False

    def _let_client_go(self) -> None:
        """Nothing to undo: who waits for the client reads nothing meanwhile."""

    def _fold(self) -> None:
        """Nothing to do: the flow counts all."""

    def _hold_back(self) -> None:
        """Nothing to do: who waits for more reads nothing meanwhile."""

    def _break_off(self) -> None:
        self._body_over = True
        if not self._response.closed:
            self._response.close()
