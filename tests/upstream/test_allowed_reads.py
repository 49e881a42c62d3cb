"""Where a stream with an allowance stops: at the very read that passes it, by whichever path, from any connection."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway import splice
from gateway.core.flow import EventFlow
from gateway.core.framing import chunk
from gateway.core.outcome import Outcome
from gateway.core.tokens import estimate_output
from gateway.splice import SplicedResponse
from gateway.upstream.plain import PlainStream
from gateway.upstream.pool import Pool, RequestHead
from gateway.upstream.settings import PoolSettings, TlsSettings
from gateway.upstream.stream import UpstreamStream
from gateway.upstream.tap import MAX_LESSONS, TappedStream
from tests.dialects.streams import DONE, STOP, chat
from tests.raw_connection import read_boundary
from tests.raw_http import dechunk
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream.passage import Passage
from tests.upstream.passing import CHAT, HandClient, HandClock, gaps
from tests.upstream.ways import LIMITS, Purse
from tests.upstream_script import CHUNKED, SSE, Leave, Step, body_of, chunks, close, end, head, raw, reset, stall

FORMS: list[Callable[[str], bytes]] = [
    lambda text: chat({"content": text}),
    lambda text: chat({"role": "assistant", "content": text}, usage=None),
    lambda text: chat({"reasoning_content": text}),
]
TEXTS = st.text("ab", max_size=30) | st.sampled_from(["", "word", 'a "quote"', "\n", "日本語", "x" * 200])


@st.composite
def reads(draw: st.DrawFn) -> bytes:
    """Some events in one chunk or several; mostly one, of the form that the stream knows."""
    form = draw(st.sampled_from([FORMS[0]] * 4 + FORMS))
    events = [form(text) for text in draw(st.lists(TEXTS, min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 3]))))]
    return b"".join(map(chunk, events)) if draw(st.booleans()) else chunk(b"".join(events))


async def _nobody() -> None:
    raise AssertionError("without a loop nobody is asked")


@given(st.integers(1, 150), st.lists(reads(), max_size=60), st.integers(0, 5), st.sampled_from([0, MAX_LESSONS]))
def test_stops_at_the_read_that_passes(tokens: int, sent: list[bytes], cut: int, lessons: int) -> None:
    """By the shortcut, by the look for markers and by the whole look: where a settlement would estimate more."""
    stream, measured = (Passage(CHAT, FORMS[0]("a"), lessons=lessons) for _ in range(2))
    stream.stream.allow(tokens, _nobody)
    for data in sent:
        for part in filter(None, (data[: cut * 20], data[cut * 20 :])):
            stream.read(part)
            measured.read(part)
            came = estimate_output(measured.stream.events, measured.stream.text_bytes)
            assert stream.splice.paused == (came > tokens)
            if stream.splice.paused:
                assert stream.client.payload == measured.client.payload
                return


def test_the_shortcut_needs_no_look_within_its_allowance() -> None:
    """What was learned passes as it did; it is looked at where the allowance may be used up."""
    passage = Passage(CHAT, FORMS[0]("word"))
    passage.stream.allow(100, _nobody)
    for count in range(2, 102):
        assert not passage.splice.paused
        passage.read(chunk(FORMS[0]("word")))
        assert passage.stream.looks == 1
        assert passage.splice.paused == (count > 100)


class Taker:
    """A client of either kind that takes everything."""

    def __init__(self, stream: UpstreamStream) -> None:
        self.stream = stream
        self.raw = HandClient()
        self.body = b""

    async def send(self, payload: bytes) -> None:
        self.body += payload

    async def end(self) -> None:
        """Nothing more comes."""

    async def begin(self) -> None:
        await self.stream.first()
        if isinstance(self.stream, TappedStream):
            self.raw.write(chunk(self.stream.take()))
            self.stream.begin(self.raw)
        else:
            self.body += self.stream.take()
            self.stream.begin(self)

    @property
    def payload(self) -> bytes:
        return self.body or dechunk(self.raw.wire).payload


def stream_of(response: object) -> UpstreamStream:
    """The stream of a response, spliced where it can be."""
    flow = EventFlow(CHAT.reader(hide_usage=True))
    if isinstance(response, SplicedResponse):
        spliced = splice.claim(response)
        assert spliced is not None
        return TappedStream(spliced, flow, gaps(), LIMITS, HandClock())
    return PlainStream(response, flow, gaps(), LIMITS, HandClock())  # type: ignore[arg-type]


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
@pytest.mark.parametrize("refused", [False, True], ids=["granted", "refused"])
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("spliced", [True, False], ids=["spliced", "plain"])
async def test_on_real_connections(
    spliced: bool,
    tls: bool,
    refused: bool,
    upstream: ScriptedUpstream,
    tls_upstream: ScriptedUpstream,
    ca_file: Path,
) -> None:
    """A provider that sends as fast as it can is not read while more is asked for; granted, all arrives as it was."""
    provider = tls_upstream if tls else upstream
    word = FORMS[0]("word ")
    script = [head(200, SSE, CHUNKED), *chunks([word] + [word * 20] * 400 + [STOP.raw + DONE.raw]), end()]
    provider.always(script)
    url = URL(provider.url + "/v1/x")
    pool = Pool("p", url, PoolSettings(), TlsSettings(ca_file=str(ca_file)), spliced=spliced)
    stream = stream_of(await pool.post(RequestHead(url, {}), {}, b"{}"))
    client, purse = Taker(stream), Purse()
    await stream.first()
    stream.allow(500, purse.more)
    await client.begin()
    ending = asyncio.create_task(stream.ended())
    while True:
        asking = asyncio.create_task(purse.asked())
        await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            asking.cancel()
            break
        events, heard = stream.events, client.payload
        assert events > 500
        for _ in range(10):
            await read_boundary()
        assert (stream.events, client.payload) == (events, heard)
        purse.answers(None if refused else events + 500)
        await read_boundary()
    if refused:
        assert await ending is Outcome.BUDGET_CUT
        assert body_of(script).startswith(client.payload)
        assert stream.at_event_boundary
    else:
        assert await ending is Outcome.SUCCESS
        await stream.finish()
        assert purse.times > 1
        assert client.payload == body_of(script)
    stream.abort()
    await pool.close()


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
@pytest.mark.parametrize("leaving", [reset(), close(), raw(b"zz\r\n")], ids=["reset", "closed", "garbage"])
@pytest.mark.parametrize("spliced", [True, False], ids=["spliced", "plain"])
async def test_a_provider_that_breaks_in_the_pause(spliced: bool, leaving: Step, upstream: ScriptedUpstream) -> None:
    """Whether it was noticed meanwhile or not: what had been read goes out, and the failure is the provider's."""
    word = FORMS[0]("word ")
    sent = [head(200, SSE, CHUNKED), *chunks([word, word * 2, word])]
    upstream.always([*sent, leaving] if isinstance(leaving, Leave) else [*sent, leaving, stall()])
    url = URL(upstream.url + "/v1/x")
    pool = Pool("p", url, PoolSettings(), TlsSettings(), spliced=spliced)
    stream = stream_of(await pool.post(RequestHead(url, {}), {}, b"{}"))
    client, purse = Taker(stream), Purse()
    await stream.first()
    stream.allow(1, purse.more)
    await client.begin()
    ending = asyncio.create_task(stream.ended())
    await asyncio.wait([asking := asyncio.create_task(purse.asked()), ending], return_when=asyncio.FIRST_COMPLETED)
    if ending.done():
        asking.cancel()
    else:
        if spliced:
            await read_boundary()
        else:
            await upstream.closed(0)
            await read_boundary()
        purse.answers(1000)
    assert await ending in {Outcome.TRUNCATED, Outcome.PROVIDER_ERROR}
    assert body_of(sent).startswith(client.payload)
    assert spliced or client.payload == body_of(sent)
    stream.abort()
    await pool.close()
