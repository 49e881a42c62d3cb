"""Bytes that nobody asked for: they close the connection and are never the next answer."""

import asyncio

import aiohttp
import pytest
from yarl import URL

from gateway.splice import decline, destination, warm
from tests.provider_answers import unary
from tests.scripted_upstream import ScriptedUpstream
from tests.splice.conftest import Ask
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    Write,
    chunk,
    end,
    head,
    raw,
    stall,
    together,
    wait,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"


@BOTH_LOOPS
@pytest.mark.parametrize("more", [FORGED, b"H"])
async def test_bytes_behind_the_end_close_the_connection(upstream: ScriptedUpstream, ask: Ask, more: bytes) -> None:
    """They come once the connection is idle: the next request gets its own answer, on another connection."""
    answers: list[Script] = [unary({"a": 1}), [head(200, SSE, CHUNKED), chunk(b"x"), end()]]
    for number, script in enumerate(answers):
        read = asyncio.Event()
        upstream.next([*script, wait(read), raw(more), stall()])
        response = await ask()
        decline(response)
        await response.read()
        read.set()
        await upstream.closed(number)
    upstream.next(unary({"b": 2}))
    assert await (await ask()).read() == b'{"b": 2}'


async def test_an_answer_too_many_closes_the_connection(upstream: ScriptedUpstream, ask: Ask) -> None:
    """The parser sees both answers in one read and only the first is one."""
    upstream.next([together(*_writes(unary({"a": 1})), raw(FORGED)), stall()], unary({"b": 2}))
    first, second = await (await ask()).read(), await (await ask()).read()
    assert (first, second) == (b'{"a": 1}', b'{"b": 2}')
    await upstream.closed(0)


async def test_connections_that_talk_first_are_closed(session: aiohttp.ClientSession) -> None:
    """What a server says before it was asked anything is no answer."""
    talked = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(FORGED)
        assert await reader.read() == b""
        writer.close()
        talked.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    where = destination(session, URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    assert await warm(session, where, 1) == 1
    await talked.wait()
    server.close()


def _writes(script: Script) -> list[Write]:
    return [step for step in script if isinstance(step, Write)]
