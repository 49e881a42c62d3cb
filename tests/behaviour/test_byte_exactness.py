"""Bytes are the provider's bytes: what a client reads is what upstream sent, less the usage event we asked for."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.behaviour.conftest import FAST, MakeStage
from tests.behaviour.stage import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Stage
from tests.provider_answers import (
    OPENAI_USAGE,
    anthropic_stream,
    completions_stream,
    openai_chunk,
    openai_stream,
    responses_stream,
)
from tests.raw_http import fields_wire
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    Step,
    Write,
    body_of,
    end,
    event,
    head,
    raw,
    split,
    sse,
    wait,
    wire_of,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

STREAMS: dict[str, tuple[str, Callable[[int], Script]]] = {
    "chat": (CHAT, openai_stream),
    "chat, usage": (CHAT, lambda n: openai_stream(n, usage=OPENAI_USAGE)),
    "chat, usage in finish": (CHAT, lambda n: openai_stream(n, usage=OPENAI_USAGE, usage_in_finish=True)),
    "chat, no [DONE]": (CHAT, lambda n: openai_stream(n, done=False)),
    "completions": (COMPLETIONS, completions_stream),
    "responses": (RESPONSES, responses_stream),
    "responses, cut short": (RESPONSES, lambda n: responses_stream(n, closing="incomplete")),
    "messages": (MESSAGES, anthropic_stream),
    "messages, bare": (MESSAGES, lambda n: anthropic_stream(n, ping=False)),
}


def events_of(payload: bytes) -> list[bytes]:
    """The events of a body with LF line ends, each with its blank line."""
    return [part + b"\n\n" for part in payload.split(b"\n\n") if part]


def without_usage_event(payload: bytes) -> bytes:
    """What a client sees that did not ask for usage: all but the event that has usage and no choices."""
    return b"".join(e for e in events_of(payload) if not (b'"choices":[]' in e and b'"usage":{' in e))


def in_reads_of(size: int, wire: bytes) -> Script:
    """A stream of exactly these body bytes, cut into reads of one size."""
    return [head(200, SSE, CHUNKED), split(raw(wire), [size] * (len(wire) // size))]


@BOTH_LOOPS
async def test_every_stream_arrives_as_it_was_sent(stage: Stage) -> None:
    """Each dialect's streams, an event per read and in one read, less only the usage event of our own asking."""
    for name, (path, build) in STREAMS.items():
        script = build(5)
        for way_of_sending in (script, [head(200, SSE, CHUNKED), raw(wire_of(script))]):
            stage.upstream.next(way_of_sending)
            heard = await stage.hear(path)
            assert (name, heard.body) == (name, without_usage_event(body_of(script)))
            assert (heard.status, heard.whole) == (200, True)
    assert stage.ended_as("success") == 2 * len(STREAMS)


async def test_usage_event_stays_where_the_client_asked_for_it(stage: Stage) -> None:
    """Who asks for usage gets it, and the request goes upstream as it is."""
    script = openai_stream(2, usage=OPENAI_USAGE)
    stage.upstream.always(script)
    heard = await stage.hear(CHAT, stream_options={"include_usage": True})
    assert heard.body == body_of(script)
    assert stage.upstream.requests[0].json()["stream_options"] == {"include_usage": True}
    hidden = await stage.hear(CHAT, stream_options={"include_obfuscation": False})
    assert hidden.body == without_usage_event(body_of(script)) != body_of(script)
    assert stage.upstream.requests[1].json()["stream_options"] == {"include_obfuscation": False, "include_usage": True}


@BOTH_LOOPS
@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_reads_of_any_size(make_stage: MakeStage, size: int) -> None:
    """One byte at a time, or pieces that fit nothing: the same bytes leave."""
    stage = await make_stage(FAST)
    script = openai_stream(2, usage=OPENAI_USAGE)
    stage.upstream.always(in_reads_of(size, wire_of(script)))
    assert (await stage.hear()).body == without_usage_event(body_of(script))


async def test_reads_of_one_byte_on_every_way(stage: Stage) -> None:
    """Heads too: every byte of the answer is a read of its own."""
    wire = head(200, SSE, CHUNKED).wire + wire_of(openai_stream(1))
    stage.upstream.always([split(Write((wire,), 200), [1] * (len(wire) - 1))])
    assert (await stage.hear()).body == body_of(openai_stream(1))


async def test_events_leave_as_they_come(stage: Stage) -> None:
    """Nothing waits for what follows: each event can be read before upstream sends the next."""
    words = [openai_chunk({"content": f"w{i}"}) for i in range(4)]
    gates = [asyncio.Event() for _ in words]
    steps: list[Script | Step] = [[wait(gate), event(word)] for gate, word in zip(gates, words, strict=True)]
    stage.upstream.always([head(200, SSE, CHUNKED), *steps, event("[DONE]"), end()])
    client = await stage.ask()
    for number, (gate, word) in enumerate(zip(gates, words, strict=True)):
        gate.set()
        if not number:
            await client.answer_head()
        assert (await client.chunk()).payload == sse(word)


WORDS = [
    "a",
    'say "hi"',
    "data: {",
    "\\n\\n",
    "error",
    "[DONE]",
    '"finish_reason":"stop"',
    '"usage":{"x":1}',
    "\\",
    "🙂",
    "",
]


def changing_stream() -> list[Step]:
    """A long stream whose events change their form, and whose text holds everything that is looked for."""
    docs = [openai_chunk({"content": word}) for word in WORDS * 3]
    docs += [openai_chunk({"reasoning_content": word}) | {"usage": None} for word in WORDS]
    docs += [openai_chunk({"tool_calls": [{"index": 0, "function": {"arguments": word}}]}) for word in WORDS]
    docs += [openai_chunk({"content": "same"}) | {"system_fingerprint": f"fp_{number % 3}"} for number in range(30)]
    two = openai_chunk({"content": "x"})
    two["choices"] = [two["choices"][0], {**two["choices"][0], "index": 1}]
    usage = openai_stream(0, usage=OPENAI_USAGE)[-3:-2]
    return [
        head(200, SSE, CHUNKED),
        *map(event, [*docs, two, *docs]),
        *openai_stream(0)[2:3],
        *usage,
        event("[DONE]"),
        end(),
    ]


@BOTH_LOOPS
@pytest.mark.usefixtures("no_sweep")
async def test_streams_that_change_and_words_that_mislead(stage: Stage) -> None:
    """Text that looks like the end, an error, a usage or an event is text; the true ones behind it are found."""
    script = changing_stream()
    payload = body_of(script)
    stage.upstream.next(script, [head(200, SSE, CHUNKED), split(raw(wire_of(script)), [1500] * 20)])
    for number in (1, 2):
        heard = await stage.hear()
        assert heard.body == without_usage_event(payload) != payload
        assert heard.whole
        assert stage.ended_as("success") == number
        assert stage.value("tokens_total", type="output") == number * OPENAI_USAGE["completion_tokens"]


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[str, str, bytes, bytes, list[int]]:
    """A stream of some dialect, its payload cut into chunks anywhere, its wire cut into reads anywhere."""
    name = draw(st.sampled_from(sorted(STREAMS)))
    path, build = STREAMS[name]
    payload = body_of(build(draw(st.integers(1, 6))))
    if draw(st.booleans()) and path != MESSAGES:
        payload = payload.replace(b"\n\n", b"\n\n: ping\n\n", draw(st.integers(1, 3)))
    places = sorted(set(draw(st.lists(st.integers(1, len(payload) - 1), max_size=8))))
    parts = [payload[a:b] for a, b in zip([0, *places], [*places, len(payload)], strict=True)]
    extension = draw(st.sampled_from([b"", b";x=y"]))
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    wire += b"0\r\n" + fields_wire(draw(st.sampled_from([(), (("X-T", "1"),)]))) + b"\r\n"
    cuts = sorted(set(draw(st.lists(st.integers(1, len(wire) - 1), max_size=12))))
    return name, path, payload, wire, [b - a for a, b in zip([0, *cuts], cuts, strict=False)]


@seed(20261123)
@settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cut=cut_streams())
async def test_any_split(stage: Stage, cut: tuple[str, str, bytes, bytes, list[int]]) -> None:
    """Any chunking of any stream in any reads, one after the other through one gateway."""
    _, path, payload, wire, sizes = cut
    stage.upstream.next([head(200, SSE, CHUNKED), split(raw(wire), sizes)])
    heard = await stage.hear(path)
    assert heard.body == without_usage_event(payload)
    assert heard.whole
