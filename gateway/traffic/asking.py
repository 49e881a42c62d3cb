"""One request as a client makes it; whatever goes wrong is an ending, never an exception."""

import asyncio

import aiohttp
import orjson

from gateway.traffic.cast import body_of, headers_of
from gateway.traffic.endings import Ending, StreamWatch, ending_of
from gateway.traffic.schedule import Arrival

CONNECT_S = 5.0
PATIENCE_S = 120.0
"""How long a client waits for a whole answer."""


def session_of_clients() -> aiohttp.ClientSession:
    """Open a session without a limit of its own: the gateway's limits are what is shown."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S, sock_connect=CONNECT_S),
    )


async def ask(session: aiohttp.ClientSession, url: str, arrival: Arrival) -> tuple[Ending, str]:
    """Make a request, and leave in the middle of it where the schedule says so.

    Args:
        session: as :func:`session_of_clients` opens it.
        url: the gateway's, without a path.
        arrival: what is asked.

    Returns:
        How it ended, and the gateway's word for what was wrong (empty: nothing was).
    """
    try:
        async with asyncio.timeout(arrival.leaves_after_s):
            return await _answer(session, url, arrival)
    except TimeoutError:
        # aiohttp's own timeouts are TimeoutErrors too
        return (Ending.UNREACHABLE, "timeout") if arrival.leaves_after_s is None else (Ending.LEFT, "")
    except (aiohttp.ClientError, OSError) as error:
        return Ending.UNREACHABLE, type(error).__name__


async def _answer(session: aiohttp.ClientSession, url: str, arrival: Arrival) -> tuple[Ending, str]:
    question = arrival.question
    headers = {**headers_of(question, arrival.caller.key), "Content-Type": "application/json"}
    body = orjson.dumps(body_of(question, arrival.prompt))
    async with session.post(url + question.route, data=body, headers=headers, allow_redirects=False) as response:
        try:
            if not response.content_type.startswith("text/event-stream"):
                return ending_of(question, response.status, await response.read())
            watch = StreamWatch(question)
            async for piece in response.content.iter_any():
                watch.feed(piece)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
            return Ending.BROKEN, "cut off"
        return watch.ending, "" if watch.is_whole else "error event"
