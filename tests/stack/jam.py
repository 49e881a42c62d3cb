"""What the demo's traffic never shows: a client that is behind, and a request that waits for a connection."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.provider_answers import openai_chunk
from tests.raw_client import RawClient
from tests.raw_connection import EndedEarly
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import CHUNKED, SSE, Step, Write, end, event, head

CHAT = "/v1/chat/completions"
BEHIND_S = 0.5
REST_S = 2.0
"""Between two jams; the gateway has better things to do."""
WORD = event(openai_chunk({"content": "x" * 16_000}))
EVENTS = 1500
"""24 MB: more than a gateway can leave in the kernel's buffers for a client that reads nothing."""


@dataclass(frozen=True, slots=True)
class Jam:
    """A provider that writes more than anybody takes; a gateway gives it one connection.

    Attributes:
        base_url: for the gateway's configuration.
    """

    base_url: str
    _loop: asyncio.AbstractEventLoop
    _clients: "asyncio.Future[tuple[str, str, str]]"
    _over: asyncio.Event

    def begin(self, gateway: str, key: str, model: str) -> None:
        """Send two clients again and again: the first is behind, so the second waits for the connection."""
        self._loop.call_soon_threadsafe(self._clients.set_result, (gateway, key, model))

    def end(self) -> None:
        """Send no more."""
        self._loop.call_soon_threadsafe(self._over.set)


@contextmanager
def jammed() -> Iterator[Jam]:
    """Run the provider, and its clients once they are told to begin, on a thread of their own; end them at the end."""
    started: Future[Jam] = Future()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, _run(started))
        jam = started.result()
        try:
            yield jam
        finally:
            jam.end()
            running.result()


async def _run(started: "Future[Jam]") -> None:
    upstream = ScriptedUpstream()
    upstream.always(_flood())
    await upstream.start()
    loop = asyncio.get_running_loop()
    jam = Jam(upstream.openai_base, loop, loop.create_future(), asyncio.Event())
    asking = asyncio.create_task(_ask(jam._clients))
    started.set_result(jam)
    await jam._over.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    await upstream.stop()


async def _ask(clients: "asyncio.Future[tuple[str, str, str]]") -> None:
    gateway, key, model = await clients
    while True:
        # the gateway ends before its clients do
        with suppress(OSError, EndedEarly):
            async with await RawClient.connect(gateway) as behind, await RawClient.connect(gateway) as waiting:
                await _jam(behind, waiting, ("Authorization", f"Bearer {key}"), model)
        await asyncio.sleep(REST_S)  # timed: nobody waits for the next jam


async def _jam(behind: RawClient, waiting: RawClient, bearer: tuple[str, str], model: str) -> None:
    document = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Go on and on."}]}
    await behind.post(CHAT, document, bearer)
    status = (await behind.answer_head()).status
    await waiting.post(CHAT, document, bearer)
    await asyncio.sleep(BEHIND_S)  # timed: to be behind is to let time pass
    # where it was refused there is a short answer, and nothing to be behind with
    if status == 200:
        await behind.chunks()
    await waiting.answer()


def _flood() -> list[Step]:
    ending = [event(openai_chunk({}, finish="stop")), event("[DONE]"), end()]
    return [head(200, SSE, CHUNKED), Write((WORD.wire,) * EVENTS), *ending]
