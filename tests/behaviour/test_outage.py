"""An outage that nobody notices: the first provider fails in every way there is, and every client gets its answer.

Long because the ways to fail are one table, and every story here is told of all of them.
"""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import openai
import pytest
import trustme

from gateway.tenancy.tenants import hash_key
from tests.behaviour.conftest import FAST, MakeStage, Play, Way
from tests.behaviour.stage import CHAT, COMPLETIONS, KEY, MESSAGES, RESPONSES, Heard, Stage, StageClock, asking, hear
from tests.conftest import MakeGateway
from tests.provider_answers import (
    anthropic_answer,
    anthropic_error_doc,
    anthropic_stream,
    completions_stream,
    openai_answer,
    openai_error_doc,
    openai_stream,
    responses_answer,
    responses_stream,
    unary,
)
from tests.raw_http import parse_head
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_connection import SeenRequest
from tests.upstream_script import (
    CHUNKED,
    JSON,
    SSE,
    Script,
    Step,
    Write,
    body_of,
    chunk,
    close,
    end,
    event,
    flat,
    head,
    raw,
    reached,
    reset,
    stall,
    wait,
)

AT_ONCE = 30
SEED = 20261123
PINNED = "breaker: {consecutive_failures: 1000000, min_requests: 1000000}"
"""A breaker that never opens, so that every request meets the failing provider."""

Form = tuple[str, bool]
"""An endpoint, and whether its answer streams."""

WHOLE: Mapping[Form, list[Step]] = {
    (CHAT, True): openai_stream(4),
    (MESSAGES, True): anthropic_stream(4),
    (RESPONSES, True): responses_stream(4),
    (CHAT, False): openai_answer(),
    (MESSAGES, False): anthropic_answer(),
    (RESPONSES, False): responses_answer(),
}
PREAMBLE: Mapping[str, list[Step]] = {
    CHAT: flat(openai_stream())[:2],
    MESSAGES: flat(anthropic_stream())[:4],
    RESPONSES: flat(responses_stream())[:3],
}
"""The head and what comes before any content."""

ERROR_EVENT: Mapping[str, Step] = {
    CHAT: event(openai_error_doc()),
    MESSAGES: event(anthropic_error_doc(), "error"),
    RESPONSES: event({"type": "error", "message": "x", "code": "y"}, "error"),
    COMPLETIONS: event(openai_error_doc()),
}


def form_of(request: SeenRequest) -> Form:
    return request.path, bool(request.json().get("stream"))


def whole(request: SeenRequest) -> Script:
    """The answer that a client should get."""
    return WHOLE[form_of(request)]


def status(code: int, *headers: tuple[str, str]) -> list[Step]:
    """An error with any status, 529 too, which the standard library does not know."""
    body = json.dumps(openai_error_doc()).encode()
    return [head(code, JSON, ("Content-Length", str(len(body))), *headers, reason="Scripted"), raw(body)]


def half(path: str) -> bytes:
    """The first half of a whole answer."""
    body = body_of(WHOLE[path, False])
    return body[: len(body) // 2]


def declared(size_bytes: int) -> Step:
    return head(200, JSON, ("Content-Length", str(size_bytes)))


@dataclass(frozen=True)
class Failing:
    """One way to fail.

    ``stream`` and ``unary`` are scripts by path, None where the way does not exist; ``outcomes`` are the results of the
    attempts. ``tells`` is False where no request reaches the upstream at all.
    """

    stream: Callable[[str], Script]
    unary: Callable[[str], Script] | None
    outcomes: frozenset[str]
    first_token_s: float = 60
    tells: bool = True

    def tells_of(self, attempts: float, seen: int) -> bool:
        """Whether the upstream has seen these attempts: all of them, but for those whose time was up on the way."""
        return seen == (attempts if self.tells else 0) or (self.first_token_s < 60 and seen <= attempts)


def same(script: Script, outcome: str) -> Failing:
    """A failure that looks alike whatever was asked."""
    return Failing(lambda _: script, lambda _: script, frozenset({outcome}))


def unreached(_: str) -> Script:
    raise AssertionError("no request gets through to it")


FAILING: Mapping[str, Failing] = {
    "connection refused": Failing(unreached, unreached, frozenset({"connect_failed"}), tells=False),
    "TLS failure": Failing(unreached, unreached, frozenset({"connect_failed"}), tells=False),
    "reset before the head": same([reset()], "provider_error"),
    "reset after the head": Failing(
        lambda _: [head(200, SSE, CHUNKED), reset()],
        lambda _: [declared(100), reset()],
        frozenset({"truncated", "provider_error"}),
    ),
    "reset before content": Failing(
        lambda path: [*PREAMBLE[path], reset()],
        lambda path: [declared(len(half(path)) * 2), raw(half(path)), reset()],
        frozenset({"truncated", "provider_error"}),
    ),
    "500": same(status(500), "provider_error"),
    "503, come back in two minutes": same(status(503, ("Retry-After", "120")), "provider_throttled"),
    "529": same(status(529), "provider_throttled"),
    "silence before the first token": Failing(
        lambda path: [*PREAMBLE[path], stall()], None, frozenset({"first_token_timeout"}), first_token_s=0.2
    ),
    "a truncated 200": Failing(
        lambda path: [*PREAMBLE[path], end()],
        lambda path: [declared(len(half(path))), raw(half(path))],
        frozenset({"truncated", "provider_error"}),
    ),
    "an error event first": Failing(
        lambda path: [head(200, SSE, CHUNKED), ERROR_EVENT[path], end()],
        lambda path: unary(anthropic_error_doc() if path == MESSAGES else openai_error_doc()),
        frozenset({"stream_error", "provider_error"}),
    ),
    "garbage for framing": Failing(
        lambda path: [*PREAMBLE[path], raw(b"zz\r\n"), stall()],
        lambda path: [head(200, JSON, CHUNKED), chunk(half(path)), raw(b"zz\r\n"), close()],
        frozenset({"provider_error"}),
    ),
}


class MakePair(Protocol):
    """``await make_pair(tls=…, primary="timeouts: {first_token_s: 1}", both=PINNED)``: a stage with two providers.

    ``primary`` and ``both`` are settings; models ``gpt`` and ``claude`` go to ``primary``, then to ``secondary``.
    """

    async def __call__(
        self, *, tls: ssl.SSLContext | None = ..., primary: str = ..., both: str = ..., spliced: bool = ...
    ) -> Stage: ...


@pytest.fixture
async def make_pair(make_gateway: MakeGateway, play: Play) -> AsyncIterator[MakePair]:
    """Builds such stages; the second upstream answers whatever is asked, unless the test says otherwise."""
    stages: list[Stage] = []

    async def make(
        *, tls: ssl.SSLContext | None = None, primary: str = "", both: str = PINNED, spliced: bool = True
    ) -> Stage:
        first, second = await play(tls), await play(None)
        second.by(whole)
        clock = StageClock()
        text = pair_yaml(first, second, f"{both}, {primary}" if primary else both, both)
        start = {"spliced": spliced, "access_log": None, "clock": clock}
        stage = Stage(await make_gateway(text, start=start), first, clock, second)
        stages.append(stage)
        return stage

    yield make
    for stage in stages:
        await stage.leave()


def pair_yaml(first: ScriptedUpstream, second: ScriptedUpstream, primary: str, secondary: str) -> str:
    """The configuration of such a stage."""

    def provider(name: str, dialect: str, url: str, settings: str) -> str:
        return f'  {name}: {{dialect: {dialect}, base_url: "{url}", pool: {{warm: 0}}, {settings}}}'

    lines = [
        "pricing: {unpriced: {input: 1, output: 2}}",
        "providers:",
        provider("primary", "openai", first.openai_base, primary),
        provider("secondary", "openai", second.openai_base, secondary),
        provider("claude-primary", "anthropic", first.anthropic_base, primary),
        provider("claude-secondary", "anthropic", second.anthropic_base, secondary),
        "models:",
        "  gpt: {targets: [primary/gpt, secondary/gpt]}",
        "  claude: {targets: [claude-primary/claude, claude-secondary/claude]}",
        f'tenants: [{{id: acme, keys: [{{id: web, hash: "{hash_key(KEY)}"}}], models: ["*"]}}]',
    ]
    return "\n".join(lines) + "\n"


async def ask_many(stage: Stage, asked: list[Form], told: Callable[[Form, Heard], None]) -> None:
    """Ask for all of it, 30 at once, each client on a connection that it keeps while it is kept."""
    left = list(enumerate(asked))[::-1]

    async def one_client() -> None:
        client = await stage.client()
        while left:
            _, (path, stream) = left.pop()
            await client.send(asking(path, stream=stream))
            heard = await hear(client)
            told((path, stream), heard)
            if heard.head.get("connection") == "close" or not heard.whole:
                client = await stage.client()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(asked))):
            group.create_task(one_client())
    await stage.settled()


def forms(count: int, *, unary_too: bool) -> list[Form]:
    """All endpoints in turn, and their streams."""
    kinds = [form for form in WHOLE if form[1] or unary_too]
    return [kinds[i % len(kinds)] for i in range(count)]


def strangers_tls() -> ssl.SSLContext:
    """A certificate that the gateway has no reason to trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def playing(way: Failing) -> Callable[[SeenRequest], Script]:
    """Fails so, whatever is asked."""

    def script(request: SeenRequest) -> Script:
        path, stream = form_of(request)
        play = way.stream if stream else way.unary
        assert play is not None
        return play(path)

    return script


async def failing_stage(
    make_pair: MakePair, name: str, way: Failing, *, spliced: bool = True, both: bool = False
) -> Stage:
    """A stage whose first provider fails in one way, or both of them."""
    timeouts = f"timeouts: {{first_token_s: {way.first_token_s}, unary_s: 20}}"
    stage = await make_pair(
        tls=strangers_tls() if name == "TLS failure" else None,
        primary="" if both else timeouts,
        both=f"{PINNED}, {timeouts}" if both else PINNED,
        spliced=spliced,
    )
    if name == "connection refused":
        await stage.upstream.refuse()
    stage.upstream.by(playing(way))
    if both and stage.second is not None:
        stage.second.by(playing(way))
        if not way.tells:
            await stage.second.refuse()
    return stage


@pytest.mark.parametrize("name", FAILING)
async def test_every_request_is_answered(make_pair: MakePair, soaking: bool, name: str) -> None:
    """Streams and whole answers in all dialects: every one from the second provider, byte for byte."""
    way, count = FAILING[name], 1000 if soaking else 60
    stage = await failing_stage(make_pair, name, way)
    assert stage.second is not None
    attempts: list[int] = []

    def told(form: Form, heard: Heard) -> None:
        assert (form, heard.status, heard.whole) == (form, 200, True)
        assert heard.body == body_of(WHOLE[form])
        expected = "claude-secondary" if form[0] == MESSAGES else "secondary"
        assert heard.head.get("x-gateway-provider") == expected
        attempts.append(int(heard.head.get("x-gateway-attempts") or 0))

    await ask_many(stage, forms(count, unary_too=way.unary is not None), told)
    assert len(attempts) == count == stage.ended_as("success") == len(stage.second.requests)
    tried = sum(stage.value("attempts_total", provider=p) for p in ("primary", "claude-primary"))
    assert sum(attempts) == tried + count
    failed = sum(
        stage.value("attempts_total", provider=p, result=r) for p in ("primary", "claude-primary") for r in way.outcomes
    )
    assert failed == tried
    assert way.tells_of(tried, len(stage.upstream.requests))
    if "provider_throttled" not in way.outcomes:  # who asked for a rest gets it
        assert attempts == [2] * count
    assert stage.value("active_streams") == stage.value("pool_connections", state="in_use") == 0


SEEN_PLAINLY: Mapping[str, Failing] = {
    **FAILING,
    "garbage for framing": replace(FAILING["garbage for framing"], unary=None, first_token_s=0.2),
}
"""aiohttp's parser says nothing of garbage: only the silence after it is noticed."""


async def test_every_request_is_answered_on_the_plain_path(make_pair: MakePair, soaking: bool) -> None:
    """The same through aiohttp's own client."""
    for name, way in SEEN_PLAINLY.items():
        stage = await failing_stage(make_pair, name, way, spliced=False)
        heads: list[str | None] = []

        def told(form: Form, heard: Heard, name: str = name, heads: list[str | None] = heads) -> None:
            assert (name, form, heard.status, heard.whole) == (name, form, 200, True)
            assert heard.body == body_of(WHOLE[form])
            heads.append(heard.head.get("x-gateway-provider"))

        await ask_many(stage, forms(300 if soaking else 6, unary_too=way.unary is not None), told)
        assert set(heads) == {"secondary", "claude-secondary"}


MIXED: Mapping[str, Script] = {
    "500": status(500),
    "503": status(503),
    "no answer in it": unary(openai_error_doc()),
    "a moment, please": status(503, ("retry-after-ms", "20")),
    "hung up in the middle": [declared(9), close()],
}


@pytest.mark.parametrize("name", ["mixed", *FAILING])
async def test_an_outage_of_all_is_not_made_worse(make_pair: MakePair, soaking: bool, name: str) -> None:
    """Both fail and no breaker helps: each provider is asked at most 1.2 times for each request, and 3 times more."""
    full = 300 if name == "529" else 1000  # each of these waits for seconds
    count, dice = full if soaking else 30, random.Random(SEED)
    way = FAILING.get(name, Failing(unreached, lambda _: MIXED[dice.choice(list(MIXED))], frozenset()))
    stage = await failing_stage(make_pair, name, way, both=True)
    assert stage.second is not None
    statuses: list[int] = []
    await ask_many(stage, [(CHAT, way.unary is None)] * count, lambda _, heard: statuses.append(heard.status))
    assert len(statuses) == count
    assert set(statuses) <= {429, 502, 504}
    for provider, upstream in (("primary", stage.upstream), ("secondary", stage.second)):
        attempts = stage.value("attempts_total", provider=provider)
        assert attempts <= 1.2 * count + 3, provider
        assert way.tells_of(attempts, len(upstream.requests))
    if way.outcomes and "provider_throttled" not in way.outcomes:
        assert stage.value("attempts_total", provider="secondary") > count, "worth another try, within the budget"


STREAMS: Mapping[str, Callable[[int], list[Step]]] = {
    CHAT: openai_stream,
    COMPLETIONS: completions_stream,
    MESSAGES: anthropic_stream,
    RESPONSES: responses_stream,
}
FINISHING = (b'"finish_reason":"', b"event: message_delta", b"event: response.completed")
CLOSING = (b"data: [DONE]", b"event: message_stop", b"event: response.completed")
HUGE = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 200_000
BREAKS: Mapping[str, Callable[[str], Script]] = {
    "reset": lambda _: [reset()],
    "closed": lambda _: [close()],
    "ended before its finish": lambda _: [end()],
    "silent": lambda _: [stall()],
    "garbage": lambda _: [raw(b"zz\r\n"), stall()],
    "reset within a chunk": lambda _: [raw(b"ff\r\nda"), reset()],
    "reset within a huge event": lambda _: [chunk(HUGE), reset()],
    "an error event": lambda path: [ERROR_EVENT[path], end()],
}


@dataclass(frozen=True)
class Broken:
    """A stream that breaks somewhere, and the payload up to there."""

    path: str
    kind: str
    sent: bytes
    script: list[Step]


def broken_stream(dice: random.Random) -> Broken:
    """A stream of any length in any dialect, broken in any way at any byte at which it is not whole yet.

    It is whole once its closing event is complete; a body that ends as HTTP says is, once there was a finish reason.
    """
    path, kind = dice.choice(list(STREAMS)), dice.choice(list(BREAKS))
    payload = body_of(STREAMS[path](dice.randint(1, 12)))
    last_words = FINISHING if kind == "ended before its finish" else CLOSING
    limit = min(at for word in last_words if (at := payload.find(word)) >= 0)
    limit = max(payload.rfind(b"\n\n", 0, limit) + 2, 1)
    cut = dice.randint(1, limit)
    if kind in {"an error event", "reset within a huge event"}:
        cut = payload.rfind(b"\n\n", 0, cut) + 2 if b"\n\n" in payload[:cut] else limit
    pieces, at = [], 0
    while at < cut:
        size_bytes = dice.choice((1, 7, 40, 300, 5000))
        pieces.append(chunk(payload[at : min(at + size_bytes, cut)]))
        at += size_bytes
    sent = payload[:cut] + (HUGE if "huge" in kind else b"")
    return Broken(path, kind, sent, flat([head(200, SSE, CHUNKED), *pieces, *BREAKS[kind](path)]))


def is_told(heard: Heard, broken: Broken) -> bool:
    """Whether a client can see that something is missing, and has read nothing but what was sent and one error."""
    if heard.status != 200:
        return heard.whole and heard.status in {502, 504} and b'"error"' in heard.body
    if not heard.whole:
        return broken.sent.startswith(heard.body.removesuffix(b"\r\n"))
    before, _, last = heard.body.removesuffix(b"\n\n").rpartition(b"\n\n")
    try:
        document = json.loads(last.rpartition(b"data: ")[2])
    except ValueError:
        return False
    says_error = "error" in document or document.get("type") == "error"
    return says_error and broken.sent.startswith(before) and not any(word in heard.body for word in CLOSING)


@pytest.mark.parametrize("way", [FAST, Way(tls=False, spliced=False)], ids=str)
async def test_no_broken_stream_looks_whole(make_stage: MakeStage, soaking: bool, way: Way) -> None:
    """Every kind of break, at random points, in every dialect: an error is the last word, or the connection breaks."""
    stage = await make_stage(way, provider=f"{PINNED}, timeouts: {{stall_s: 0.3, first_token_s: 0.3}}")
    dice = random.Random(SEED)
    streams = [broken_stream(dice) for _ in range(1000 if soaking else 60)]
    stage.upstream.by(lambda request: streams[int(request.header("openai-beta") or "")].script)
    left = list(enumerate(streams))
    whole_looking: list[tuple[int, Broken, Heard]] = []

    async def one_client() -> None:
        while left:
            number, broken = left.pop()
            client = await stage.ask(broken.path, ("openai-beta", str(number)))
            heard = await hear(client)
            if not is_told(heard, broken):
                whole_looking.append((number, broken, heard))
            await client.abort()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_client())
    await stage.settled()
    assert whole_looking == []
    assert (stage.value("requests_total"), stage.ended_as("success")) == (len(streams), 0)
    assert stage.value("active_streams") == stage.value("pool_connections", state="in_use") == 0


@pytest.mark.parametrize("path", STREAMS)
def test_what_looks_whole_is_found(path: str) -> None:
    """The question above has both answers: each way to pretend is seen, and so is the truth."""
    whole_ = body_of(STREAMS[path](4))
    sent = whole_[: whole_.index("tokén 2".encode())]
    sent = sent[: sent.rindex(b"\n\n") + 2]
    error = ERROR_EVENT[path]
    assert isinstance(error, Write)
    said = body_of([head(200, SSE, CHUNKED), error, end()])
    closing = whole_[min(at for word in CLOSING if (at := whole_.find(word)) >= 0) :]
    open_head = parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    broken = Broken(path, "reset", sent, [])
    for body in (sent, sent + closing, sent + closing + said, sent + said + closing, whole_, sent + said + said):
        assert not is_told(Heard(open_head, body, True), broken)
    assert not is_told(Heard(open_head, sent + b"data: {}", False, "reset"), broken)
    assert is_told(Heard(open_head, sent + said, True), broken)
    assert is_told(Heard(open_head, sent, False, "reset"), broken)


def test_breaks_come_everywhere() -> None:
    """The dice above reach every dialect, every kind, streams without content and streams with all of it."""
    dice = random.Random(SEED)
    streams = [broken_stream(dice) for _ in range(1000)]
    assert {(b.path, b.kind) for b in streams} == {(path, kind) for path in STREAMS for kind in BREAKS}
    assert any(b'finish_reason":"stop' in b.sent for b in streams)
    assert any(b"content_block_stop" in b.sent for b in streams)
    assert any(len(b.sent) < 50 for b in streams)
    assert not any(b.sent.endswith(b"[DONE]\n\n") for b in streams)


HELLO: Any = {"role": "user", "content": "Hello."}


@dataclass
class Conversation:
    """What an application got through the SDK."""

    text: str = ""
    error: openai.APIError | None = None


async def test_applications_notice_nothing(make_pair: MakePair, soaking: bool) -> None:
    """The first provider dies while the SDK streams: only who has read content hears of it, everybody else gets all.

    Streams of every stage stand there when it happens: not answered yet, opened, with content.
    """
    each = 20 if soaking else 4
    stage = await make_pair(both="breaker: {}")
    never = asyncio.Event()
    opened = [asyncio.Event() for _ in range(3 * each)]
    stages: list[Callable[[asyncio.Event], Script]] = [
        lambda there: [reached(there), wait(never), *openai_stream(4)],
        lambda there: [*PREAMBLE[CHAT], reached(there), wait(never), *flat(openai_stream(4))[2:]],
        lambda there: [*flat(openai_stream(4))[:3], reached(there), wait(never), *flat(openai_stream(4))[3:]],
    ]
    stage.upstream.next(*(stages[i % 3](there) for i, there in enumerate(opened)))
    stage.upstream.always(openai_stream(4))
    expected = "".join(json.loads(line)["choices"][0]["delta"].get("content", "") for line in chat_lines())

    first_words = asyncio.Semaphore(0)

    async def converse(client: openai.AsyncOpenAI, talk: Conversation) -> None:
        try:
            async for part in await client.chat.completions.create(model="gpt", messages=[HELLO], stream=True):
                if not talk.text and part.choices[0].delta.content:
                    first_words.release()
                talk.text += part.choices[0].delta.content or ""
        except openai.APIError as error:
            talk.error = error

    async with openai.AsyncOpenAI(base_url=f"{stage.gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        running = [Conversation() for _ in opened]
        async with asyncio.TaskGroup() as group:
            for talk in running:
                group.create_task(converse(client, talk))
            for there in opened:
                await there.wait()
            for _ in range(each):
                await first_words.acquire()
            await stage.upstream.stop()
        afterwards = [Conversation() for _ in range(3 * each)]
        async with asyncio.TaskGroup() as group:
            for talk in afterwards:
                group.create_task(converse(client, talk))
    broken = [talk for talk in running if talk.error is not None]
    assert len(broken) == each
    assert {talk.text for talk in broken} == {"word 0 "}, "each of them had read content"
    assert {talk.text for talk in running if talk.error is None} == {expected}
    assert {(talk.text, talk.error) for talk in afterwards} == {(expected, None)}
    await stage.settled()
    assert (stage.ended_as("truncated"), stage.ended_as("success")) == (each, 5 * each)


def chat_lines() -> list[str]:
    """The events of the chat stream that the second provider sends, less the closing one."""
    events = body_of(WHOLE[CHAT, True]).decode().split("\n\n")
    return [text.removeprefix("data: ") for text in events if text and "[DONE]" not in text]
