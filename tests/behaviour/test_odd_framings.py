"""Odd framings: whatever RFC 9112 and the event-stream format allow, the payload is not touched."""

import asyncio
import gzip
import json
from collections.abc import Callable

import pytest

from tests.behaviour.conftest import MakeStage
from tests.behaviour.stage import CHAT, Stage, until_heard
from tests.behaviour.test_byte_exactness import events_of
from tests.provider_answers import (
    openai_chunk,
    openai_stream,
)
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    Step,
    body_of,
    chunk,
    chunks,
    close,
    end,
    event,
    head,
    raw,
    sse,
    stall,
    together,
    trailers,
    wait,
)

CR_LF = b"".join(e.replace(b"\n", b"\r\n") for e in events_of(body_of(openai_stream(3))))
MIXED = b"\xef\xbb\xbf" + sse(openai_chunk({"content": "a"})) + b": a comment\n\n" + b"id: 7\nretry: 10\n"
MIXED += sse(openai_chunk({"content": "é" * 3})) + b":\n\n" + CR_LF + sse("[DONE]") + b": after the end\n\n"


def odd_framings() -> dict[str, tuple[bytes, Script]]:
    """Bodies that are framed unlike what providers do, each with the payload that it is."""
    payload = body_of(openai_stream(4))
    one_by_one = events_of(payload)
    twos = [one_by_one[i] + b"".join(one_by_one[i + 1 : i + 2]) for i in range(0, len(one_by_one), 2)]
    unaligned = [payload[i : i + 100] for i in range(0, len(payload), 100)]
    tail = [("X-Checksum", "abc"), ("X-Other", "d")]
    framed: dict[str, tuple[bytes, list[Step | Script]]] = {
        "several events per chunk": (payload, [chunks(twos), end()]),
        "everything in one chunk": (payload, [chunk(payload), end()]),
        "chunks that end within events": (payload, [chunks(unaligned), end()]),
        "lines of one event in chunks of their own": (
            b"".join(b"id: 1\n" + e for e in one_by_one),
            [[step for e in one_by_one for step in (chunk(b"id: 1\n"), chunk(e))], end()],
        ),
        "chunks that end between two line feeds": (payload, [_between_line_feeds(one_by_one), end()]),
        "several chunks per read": (
            payload,
            [together(*(chunk(e) for e in one_by_one[:4])), chunks(one_by_one[4:]), end()],
        ),
        "extensions": (payload, [[chunk(e, b'name="v;w"') for e in one_by_one], end()]),
        "trailers": (payload, [chunks(one_by_one), trailers(*tail)]),
        "sizes with zeros and capitals": (
            payload,
            [raw(b"".join(b"%06X\r\n%b\r\n" % (len(e), e) for e in one_by_one)), end()],
        ),
        "CRLF events": (CR_LF, [chunks([CR_LF[:11], CR_LF[11:]]), end()]),
        "CR events": (payload.replace(b"\n", b"\r"), [chunk(payload.replace(b"\n", b"\r")), end()]),
        "comments and other fields": (MIXED, [chunk(MIXED), end()]),
        "a last event without its blank line": (payload[:-2], [chunk(payload[:-2]), end()]),
        "spaces after colons": (b"".join(_spaced(4)), [chunks(_spaced(4)), end()]),
    }
    return {name: (body, [head(200, SSE, CHUNKED), *script]) for name, (body, script) in framed.items()}


def _spaced(n: int) -> list[bytes]:
    docs = [openai_chunk({"content": f"w{i}"}) | {"usage": None} for i in range(n)] + [openai_chunk({}, finish="stop")]
    return [b"data: " + json.dumps(doc).encode() + b"\n\n" for doc in docs] + [sse("[DONE]")]


def _between_line_feeds(events: list[bytes]) -> list[Step]:
    """Pairs of chunks whose boundary is in the middle of a blank line; an odd event at the end stands alone."""
    steps: list[Step] = []
    for first, second in zip(events[::2], events[1::2], strict=False):
        steps += [chunk(first[:-1]), chunk(b"\n" + second)]
    return steps + [chunk(alone) for alone in events[len(steps) :]]


async def test_odd_framings(stage: Stage) -> None:
    """Whatever RFC 9112 and the event-stream format allow, the payload is not touched."""
    for name, (body, script) in odd_framings().items():
        stage.upstream.next(script)
        heard = await stage.hear()
        assert (name, heard.body, heard.whole) == (name, body, True)
    assert stage.ended_as("success") == len(odd_framings())


@pytest.mark.parametrize("kib", [100, 2048])
async def test_huge_events(stage: Stage, kib: int) -> None:
    """An event larger than what is kept goes on in pieces, before its end has come."""
    go, size = asyncio.Event(), kib * 1024
    big = sse(openai_chunk({"content": "ü" * (size // 2)}))
    first = chunk(big[: size - 5])
    stage.upstream.always(
        [
            head(200, SSE, CHUNKED),
            event(openai_chunk({"content": "x"})),
            first,
            wait(go),
            chunk(big[size - 5 :]),
            event(openai_chunk({}, finish="stop")),
            event("[DONE]"),
            end(),
        ]
    )
    client = await stage.ask()
    await client.answer_head()
    body = b""
    while len(body) < size - 70_000:
        body += (await client.chunk()).payload
    go.set()
    while not (part := await client.chunk()).last:
        body += part.payload
    assert body == sse(openai_chunk({"content": "x"})) + big + sse(openai_chunk({}, finish="stop")) + sse("[DONE]")


BODIES: dict[str, Callable[[bytes], Script]] = {
    "close-delimited": lambda body: [head(200, SSE), raw(body), close()],
    "close-delimited, HTTP/1.0": lambda body: [head(200, SSE, version="HTTP/1.0"), raw(body), close()],
    "content-length": lambda body: [head(200, SSE, ("Content-Length", str(len(body)))), raw(body)],
    "gzip": lambda body: [head(200, SSE, CHUNKED, ("Content-Encoding", "gzip")), chunk(gzip.compress(body)), end()],
    "after 100 and 103": lambda body: [
        head(100),
        head(103, ("Link", "</x>")),
        head(200, SSE, CHUNKED),
        chunk(body),
        end(),
    ],
}


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_other_bodies_and_old_clients(stage: Stage, version: str) -> None:
    """Streams that cannot be spliced, and clients that know no chunks, get the same bytes."""
    body = body_of(openai_stream(4))
    for kind, script in BODIES.items():
        stage.upstream.next(script(body))
        heard = await stage.hear(CHAT, version=version)
        assert (kind, heard.status, heard.body, heard.whole) == (kind, 200, body, True)
        assert heard.head.chunked == (version == "HTTP/1.1")
        assert heard.head.get("content-encoding") is None
    assert stage.ended_as("success") == len(BODIES)


async def test_words_that_come_with_broken_framing_arrive(make_stage: MakeStage) -> None:
    """In one read or in two: what came before the fault is the client's, and the error follows it."""
    stage, go = await make_stage(), asyncio.Event()
    role, first, second = (event(openai_chunk({"content": word})) for word in ("", "one", "two"))
    stage.upstream.next([head(200, SSE, CHUNKED), role, first, wait(go), together(second, raw(b"zz\r\n")), stall()])
    client = await stage.ask()
    await client.answer_head()
    await until_heard(client, b"one")
    go.set()
    rest = b"".join(part.payload for part in await client.chunks())
    assert rest.startswith(sse(openai_chunk({"content": "two"})))
    assert b'"code":"provider_error"' in rest
    await stage.upstream.closed(0)
