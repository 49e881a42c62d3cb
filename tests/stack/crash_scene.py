"""A gateway that is killed again and again under load, and what its clients have seen of every answer."""

import asyncio
import json
import random
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.simulator import Simulator
from gateway.tenancy.tenants import hash_key
from tests.raw_client import RawClient, json_request_wire
from tests.raw_connection import EndedEarly, read_boundary
from tests.stack.crash_clients import CLAUDE, GONE, MODEL, TOKENS, SdkClients, Seen
from tests.surface.process import Running, gateway_command, running

KEY = "agw-crash-scene-0123456789"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
PROMPT = [{"role": "user", "content": "Say something."}]


@dataclass
class Scene:
    """One gateway after another on one port and one database.

    Attributes:
        seen: by request id.
        ready_s: how long each of them took from its start to its readiness.
    """

    directory: Path
    simulator: Simulator
    port: int
    random: random.Random
    seen: dict[str, Seen] = field(default_factory=dict)
    ready_s: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write_config(self, database_url: str) -> None:
        """What every gateway of this scene is started with."""
        price = "{input: 0.15, output: 0.60}"
        (self.directory / "gateway.yaml").write_text(
            f"""
server: {{host: 127.0.0.1, port: {self.port}, access_log: false}}
providers:
  one: {{dialect: openai, base_url: "{self.simulator.base_url}/v1", api_keys: [x], pool: {{warm: 0}}}}
  claude: {{dialect: anthropic, base_url: "{self.simulator.base_url}", api_keys: [x], pool: {{warm: 0}}}}
models:
  {MODEL}: {{targets: [one/{MODEL}], price: {price}}}
  {CLAUDE}: {{targets: [claude/{CLAUDE}], price: {price}}}
tenants:
  - id: acme
    keys: [{{id: web, hash: "{hash_key(KEY)}"}}]
    budget: {{usd: 1000, window: total}}
stores: {{database_url: "{database_url}"}}
""",
            encoding="utf-8",
        )

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Running]:
        """A gateway that is ready; killed at the end."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with running(*gateway_command("serve", "--config", "gateway.yaml"), cwd=self.directory) as process:
            await process.says("Metrics:")
            while not await self._is_ready():
                assert process.process.returncode is None, process.lines
                await read_boundary()
            self.ready_s.append(loop.time() - since)
            yield process

    async def kill(self, process: Running) -> None:
        process.process.send_signal(signal.SIGKILL)
        await process.process.wait()

    async def until_closed(self, count: int) -> None:
        """Wait until so many answers have come to their end."""
        while sum(seen.closed for seen in list(self.seen.values())) < count:
            self._ended.clear()
            await self._ended.wait()

    async def _is_ready(self) -> bool:
        try:
            async with await RawClient.connect(self.url) as client:
                await client.send(b"GET /health/ready HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
                return (await client.answer()).status == 200
        except (OSError, EndedEarly):
            return False

    def begin(self) -> tuple[str, Seen]:
        """A request that nobody has sent yet."""
        with self._lock:
            name = f"crash-{len(self.seen)}"
            seen = self.seen[name] = Seen()
        return name, seen

    async def ask_raw(self) -> None:
        """One request, byte for byte: a stream or a whole answer, of either dialect."""
        path, streams = self.random.choice((CHAT, CHAT, MESSAGES)), self.random.random() < 0.6
        name, seen = self.begin()
        document: dict[str, Any] = {"model": CLAUDE if path == MESSAGES else MODEL, "messages": PROMPT}
        document |= {"max_tokens": TOKENS, "stream": streams}
        if streams and path == CHAT:
            document["stream_options"] = {"include_usage": True}
        headers = (("Authorization", f"Bearer {KEY}"), ("x-request-id", name))
        with suppress(OSError, *GONE):
            async with await RawClient.connect(self.url) as client:
                await client.send(json_request_wire(path, document, *headers))
                await (_read_stream if streams else _read_whole)(client, seen)
        self._ended.set()


async def _read_whole(client: RawClient, seen: Seen) -> None:
    head = await client.answer_head()
    if head.status != 200:
        return
    body = b""
    length = int(head.get("content-length") or 0)
    while len(body) < length:
        body += await client.exactly(1)
        seen.content = True
        body += await client.exactly(length - 1)
    _report(json.loads(body), seen)
    seen.closed = True


async def _read_stream(client: RawClient, seen: Seen) -> None:
    head = await client.answer_head()
    if head.status != 200:
        return
    text = b""
    while not (chunk := await client.chunk()).last:
        text += chunk.payload
        while b"\n\n" in text:
            event, _, text = text.partition(b"\n\n")
            _see(event, seen)


def _see(event: bytes, seen: Seen) -> None:
    data = event.partition(b"data:")[2].strip()
    if not data:
        return
    if data == b"[DONE]" or b'"message_stop"' in data:
        seen.closed = True
        return
    document = json.loads(data)
    _report(document.get("message", document), seen)
    seen.content = seen.content or b'"text_delta"' in data or b'"content":"' in data


def _report(document: dict[str, Any], seen: Seen) -> None:
    usage = document.get("usage")
    if not usage:
        return
    if "prompt_tokens" in usage:
        seen.report(usage["prompt_tokens"], usage["completion_tokens"])
    else:
        seen.report(usage.get("input_tokens"), usage["output_tokens"])


@asynccontextmanager
async def traffic(scene: Scene, per_s: float) -> AsyncIterator[None]:
    """Requests that arrive at random, at this rate, and nobody who waits for any of them."""
    asking: set[asyncio.Task[None]] = set()

    async def arrive() -> None:
        while True:
            await asyncio.sleep(scene.random.expovariate(per_s))  # timed: that is what traffic is
            task = asyncio.create_task(scene.ask_raw())
            asking.add(task)
            task.add_done_callback(asking.discard)

    arriving = asyncio.create_task(arrive())
    try:
        yield
    finally:
        arriving.cancel()
        await asyncio.wait([arriving])
        if asking:
            await asyncio.wait(asking)


async def crash(scene: Scene, times: int, per_s: float, longest_s: float, closed: int) -> None:
    """Let it run under load and kill it at a random moment, so many times, after so many whole answers of each."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(traffic(scene, per_s))
        await stack.enter_async_context(SdkClients(scene.url, KEY, scene.begin))
        for number in range(1, times + 1):
            async with scene.gateway() as process:
                await scene.until_closed(number * closed)
                await asyncio.sleep(scene.random.uniform(0.3, longest_s))  # timed: any moment may be the last
                await scene.kill(process)
