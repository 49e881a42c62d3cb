"""Health and metrics: what people and machines that watch the gateway are told, and who may ask."""

import asyncio
import itertools
import random
import shutil
import string
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.test_utils import make_mocked_request

from gateway import __version__
from gateway.core.outcome import Outcome
from gateway.metrics import Metrics
from gateway.ops import Ops, Pieces
from gateway.proxy.settings import OpsSettings
from tests.conftest import MakeGateway
from tests.metrics.text_format import read_exposition
from tests.provider_answers import anthropic_stream, openai_answer, openai_chunk, openai_error, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, ASK_MESSAGES, CHAT, KEY, MESSAGES, PROVIDER_KEY, Front, open_front
from tests.upstream_script import CHUNKED, SSE, event, head, reset

TOKEN = "scrape-token"
STRANGERS, STRANGERS_IN_A_SOAK = 2_000, 5_000
"""Requests with made-up names, in test of how many series they leave."""
AT_ONCE = 20


async def use(front: Front) -> None:
    """Lets one request of every kind of ending go through."""
    front.upstream.next(
        openai_answer(),
        openai_stream(usage={"prompt_tokens": 11, "completion_tokens": 3}),
        anthropic_stream(),
        openai_error(500),
        openai_error(429),
        [head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), reset()],
    )
    for path, document in (
        (CHAT, ASK),
        (CHAT, {**ASK, "stream": True}),
        (MESSAGES, {**ASK_MESSAGES, "stream": True}),
        (CHAT, ASK),
        (CHAT, ASK),
        (CHAT, {**ASK, "stream": True}),
        (CHAT, {**ASK, "model": "nope"}),
    ):
        await front.post(path, document)
    await front.post(CHAT, ASK, credential=())


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_needs_no_key_and_says_ok(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str
) -> None:
    """Open to probes; no version, no name in it; never cached; not in the access log."""
    front = await open_front(make_gateway, upstream, ops=f"metrics_token: {TOKEN}")
    answer = await front.get(path, credential=())
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    assert answer.head.get("cache-control") == "no-store"
    assert front.access_log() == []


async def test_health_tells_of_circuits(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Every circuit by provider and model or pattern; of an open one why, since when and until when."""
    front = await open_front(make_gateway, upstream, provider="breaker: {consecutive_failures: 1, cooldown_s: 100}")
    upstream.next(openai_error(500))
    closed = {"circuit": "closed", "successes": 0, "failures": 0}
    assert (await front.get("/health", credential=())).json() == {
        "status": "ok",
        "providers": {"one": {"gpt-4o-mini": closed, "llama-*": closed}, "two": {"claude-sonnet-4-5": closed}},
    }
    await front.post(CHAT, ASK)
    page = await front.get("/health", credential=())
    opened = page.json()["providers"]["one"].pop("gpt-4o-mini")
    assert page.status == 200
    assert 0 <= opened.pop("open_for_s") < 60 < opened.pop("next_probe_s") <= 110
    assert opened == {"circuit": "open", "successes": 0, "failures": 1, "reason": "consecutive_failures"}
    assert page.json()["providers"]["one"]["llama-*"] == closed


async def test_health_names_nobody_to_strangers(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Where the metrics have a token, who gives it sees the circuits, too."""
    front = await open_front(make_gateway, upstream, ops=f"metrics_token: {TOKEN}")
    for credential in ((), (("Authorization", "Bearer wrong"),)):
        assert (await front.get("/health", credential=credential)).json() == {"status": "ok"}
    told = await front.get("/health", credential=(("Authorization", f"Bearer {TOKEN}"),))
    assert set(told.json()["providers"]) == {"one", "two"}


async def test_not_ready_is_said_while_alive(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """A load balancer hears 503; the supervisor hears that the process lives."""
    front = await open_front(make_gateway, upstream)
    front.gateway._ops.ready = False
    assert (await front.get("/health/ready", credential=())).status == 503
    assert (await front.get("/health", credential=())).status == 503
    assert (await front.get("/health/live", credential=())).status == 200


async def test_nobody_is_welcome_before_the_gateway_is_built() -> None:
    """Readiness is given, not assumed."""
    ops = Ops(OpsSettings(), Metrics("i", "1", (), (), ()), dict[str, object])
    assert (await ops.readiness(make_mocked_request("GET", "/health/ready"))).status == 503


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 401),
        ((("Authorization", TOKEN),), 401),
        ((("Authorization", f"Basic {TOKEN}"),), 401),
        ((("Authorization", "Bearer"),), 401),
        ((("Authorization", "Bearer wrong"),), 401),
        ((("Authorization", f"Bearer {TOKEN}x"),), 401),
        ((("Authorization", "Bearer \xff\xfe"),), 401),
        ((("Authorization", f"Bearer {KEY}"),), 401),
        ((("x-api-key", TOKEN),), 401),
        ((("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")), 401),
        ((("Authorization", f"Bearer {TOKEN}"),), 200),
        ((("authorization", f"bearer  {TOKEN}"),), 200),
    ],
)
async def test_metrics_ask_for_their_token(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    """Where `ops.metrics_token` is set; a tenant's key is none."""
    front = await open_front(make_gateway, upstream, ops=f"metrics_token: {TOKEN}")
    answer = await front.get("/metrics", *headers, credential=())
    assert answer.status == status
    assert (b"aigateway_" in answer.body) == (status == 200)
    assert (answer.head.get("www-authenticate") == "Bearer") == (status == 401)


async def test_metrics_are_open_without_a_token(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """As the README says; in Prometheus' own content type."""
    front = await open_front(make_gateway, upstream)
    answer = await front.get("/metrics", credential=())
    assert answer.head.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    scrape = await front.scrape()
    (info,) = scrape.series("aigateway_instance_info")
    assert info["version"] == __version__


async def test_promtool_accepts_a_used_gateway_s_metrics(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`promtool check metrics` finds nothing to say."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    front = await open_front(make_gateway, upstream)
    await use(front)
    scrape = (await front.get("/metrics", credential=())).body
    check = [promtool, "check", "metrics"]
    run = await asyncio.to_thread(subprocess.run, check, input=scrape, capture_output=True, check=False, timeout=30)
    assert (run.returncode, run.stdout + run.stderr) == (0, b"")


async def test_metrics_hold_no_secret(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """No key of a tenant, none of a provider."""
    front = await open_front(make_gateway, upstream)
    await use(front)
    scrape = (await front.get("/metrics", credential=())).body.decode()
    assert KEY not in scrape
    assert PROVIDER_KEY not in scrape


async def test_strangers_leave_no_series(make_gateway: MakeGateway, upstream: ScriptedUpstream, soaking: bool) -> None:
    """Thousands of made-up models, paths, keys, methods, tags and agents: at most a hundred series more, no word."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, server="log_level: error")
    before = len((await front.scrape()).samples)
    rng = random.Random(7)

    async def come(n: int) -> None:
        word = "stranger" + "".join(rng.choices(string.ascii_lowercase, k=12))
        key = (("x-api-key", word),)
        match n % 9:
            case 0:
                await front.post(CHAT, {**ASK, "model": word})
            case 1:
                await front.post(CHAT, {**ASK, "model": f"llama-{word}"})
            case 2:
                await front.post(f"/v1/{word}", ASK, ("anthropic-version", word))
            case 3:
                await front.post(CHAT, ASK, ("x-request-id", word), credential=key)
            case 4:
                await front.tell(request_wire(word.upper(), CHAT, ("Host", word), *key))
            case 5:
                await front.post(CHAT, ASK, ("x-gateway-tags", f"{word}={word}"))
            case 6:
                await front.post(CHAT, ASK, ("User-Agent", word), ("Origin", word), ("openai-beta", word))
            case 7:
                await front.post(CHAT, {**ASK, word: word, "user": word, "metadata": {word: word}})
            case _:
                await front.get(f"/v1/models/{word}?{word}={word}")

    for n in range(0, STRANGERS_IN_A_SOAK if soaking else STRANGERS, AT_ONCE):
        await asyncio.gather(*map(come, range(n, n + AT_ONCE)))
    scrape = await front.get("/metrics", credential=())
    assert b"stranger" not in scrape.body.lower()
    assert len((await front.scrape()).samples) - before <= 100


async def test_a_scrape_lets_others_have_their_turns(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 tenants use 20 models: the loop turns between any two slices, those rendered and those written."""
    front = await open_front(make_gateway, upstream)
    metrics, loop = front.gateway.metrics, asyncio.get_running_loop()
    tenants, models = [f"t{n}" for n in range(100)], [f"m{n}" for n in range(20)]
    metrics.configure(tenants, models, ())
    for tenant, model in itertools.product(tenants, models):
        metrics.route(tenant, "one", model).requests(Outcome.SUCCESS).inc()
    seen: list[str] = []
    slices, write = metrics.slices, StreamWriter.write

    def rendered() -> Iterator[bytes]:
        for piece in slices():
            seen.append("rendered")
            yield piece

    async def written(writer: StreamWriter, data: bytes, **options: Any) -> None:
        seen.append("written")
        await write(writer, data, **options)

    def turn() -> None:
        if seen[-1:] != ["over"]:
            seen.append("turn")
            loop.call_soon(turn)

    monkeypatch.setattr(metrics, "slices", rendered)
    monkeypatch.setattr(StreamWriter, "write", written)
    loop.call_soon(turn)
    scrape = await front.scrape()
    seen.append("over")

    assert len(scrape.samples) > 40_000
    work = [(seen[n - 1], what) for n, what in enumerate(seen) if what in ("rendered", "written")]
    assert Counter(what for _, what in work) == {"rendered": len(work) // 2, "written": len(work) // 2}
    assert len(work) > 40
    assert {before for before, _ in work} == {"turn"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_scrape_says_how_long_it_is(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, method: str
) -> None:
    """It is framed by its length, and a HEAD has none of it: the connection serves the next request."""
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.send(request_wire(method, "/metrics", ("Host", "gateway")))
        head = await client.answer_head()
        length = int(head.get("content-length") or 0)
        assert (head.status, head.get("transfer-encoding"), length > 10_000) == (200, None, True)
        if method == "GET":
            read_exposition(await client.exactly(length))
        await client.send(request_wire("GET", "/health/live", ("Host", "gateway")))
        assert (await client.answer()).json() == {"status": "ok"}


def test_pieces_are_one_text() -> None:
    """aiohttp may ask for the whole, to compress it or to show it."""
    pieces = Pieces([b"a\n", "ä\n".encode()])
    assert (pieces.size, pieces.decode()) == (5, "a\nä\n")


async def test_no_turn_follows_the_last_piece() -> None:
    """A reader who has all may ask again at once: what wrote it must have ended by then."""
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    class Writer(AbstractStreamWriter):
        async def write(self, chunk: bytes | bytearray | memoryview) -> None:
            written.append((turns, bytes(chunk)))

        async def write_eof(self, chunk: bytes = b"") -> None: ...

        async def drain(self) -> None: ...
        def enable_compression(self, *_: object, **__: object) -> None: ...

        def enable_chunking(self) -> None: ...

        async def write_headers(self, *_: object) -> None: ...

    written: list[tuple[int, bytes]] = []
    asyncio.get_running_loop().call_soon(turn)
    await Pieces([b"a", b"b", b"c"]).write(Writer())
    assert written == [(0, b"a"), (1, b"b"), (2, b"c")]
    assert turns == 2
