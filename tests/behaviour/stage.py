"""A gateway between scripted upstreams and clients, on one stage, with the words that stories are told in."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.app import Gateway
from gateway.tenancy.tenants import hash_key
from tests.metrics.text_format import Exposition, read_exposition
from tests.raw_client import Answer, RawClient, json_request_wire, request_wire
from tests.raw_connection import EndedEarly, read_boundary
from tests.raw_http import MessageHead
from tests.scripted_upstream import ScriptedUpstream

KEY = "agw-stage"
NEVER_OPEN = "{consecutive_failures: 1000000, min_requests: 1000000}"
NO_RETRIES = "{share: 0, floor: 0}"
PROVIDER_KEY = "sk-provider-secret"
AUTH = ("Authorization", f"Bearer {KEY}")

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
COUNT_TOKENS = "/v1/messages/count_tokens"

PROMPTS: Mapping[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Say something."}]},
    COMPLETIONS: {"prompt": "Say something."},
    EMBEDDINGS: {"input": "Say something."},
    RESPONSES: {"input": "Say something."},
    MESSAGES: {"messages": [{"role": "user", "content": "Say something."}], "max_tokens": 64},
    COUNT_TOKENS: {"messages": [{"role": "user", "content": "Say something."}]},
}


class StageClock:
    """A monotonic clock that a test can push forward: what waits for a sweep then need not wait."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


def asked(path: str, *, stream: bool = True, model: str | None = None, **fields: Any) -> dict[str, Any]:
    """The smallest request that an endpoint takes."""
    name = model or ("claude" if path.startswith(MESSAGES) else "gpt")
    return {"model": name, **PROMPTS[path], **({"stream": True} if stream else {}), **fields}


def asking(path: str, *headers: tuple[str, str], version: str = "HTTP/1.1", **fields: Any) -> bytes:
    """The same as bytes, with a gateway key."""
    wire = json_request_wire(path, asked(path, **fields), AUTH, *headers)
    return wire if version == "HTTP/1.1" else wire.replace(b" HTTP/1.1\r\n", f" {version}\r\n".encode(), 1)


def config(
    upstreams: Mapping[str, str],
    *,
    server: str = "{}",
    provider: str = "",
    tenant: str = "",
    key: str = "",
    targets: str | None = None,
    models: str = "",
    sections: str = "",
    ca_file: str | None = None,
) -> str:
    """A ``gateway.yaml``: providers by name and base URL; names with ``claude`` in them speak Anthropic's dialect.

    Args:
        provider: further settings of every provider, as ``key: value, …``. Circuits never open and nothing is asked
            again unless it says otherwise, so that a story about one failure can tell it many times.
        tenant, key: further settings of the tenant and of its key, likewise.
        targets: those of the model ``gpt``; by default the first provider's ``gpt``.
        models: further lines of the section.
        sections: further sections.
    """
    lines = [f"server: {server}", "pricing: {unpriced: {input: 1, output: 2}}", "providers:"]
    tls = f", tls: {{ca_file: {ca_file}}}" if ca_file else ""
    more = f", {provider}" if provider else ""
    more += "" if "breaker:" in provider else f", breaker: {NEVER_OPEN}"
    more += "" if "retries:" in provider else f", retries: {NO_RETRIES}"
    pool = "" if "pool:" in provider else ", pool: {warm: 0}"
    for name, url in upstreams.items():
        dialect = "anthropic" if "claude" in name else "openai"
        lines.append(
            f'  {name}: {{dialect: {dialect}, base_url: "{url}", api_keys: ["{PROVIDER_KEY}"]{pool}{tls}{more}}}'
        )
    first = next(name for name in upstreams if "claude" not in name)
    lines += ["models:", f"  gpt: {{targets: {targets or f'[{first}/gpt]'}}}"]
    if "claude" in upstreams:
        lines.append("  claude: {targets: [claude/claude]}")
    lines += [models] if models else []
    keys = f'{{id: web, hash: "{hash_key(KEY)}"{", " if key else ""}{key}}}'
    lines += ["tenants:", f'  - {{id: acme, keys: [{keys}], models: ["*"]{", " if tenant else ""}{tenant}}}']
    lines += [sections, ""] if sections else [""]
    return "\n".join(lines)


@dataclass
class Heard:
    """What a client has heard: the head, the body without its framing, and whether HTTP says it is whole."""

    head: MessageHead
    body: bytes
    whole: bool
    ending: str | None = None

    @property
    def status(self) -> int:
        return self.head.status


async def hear(client: RawClient) -> Heard:
    """Read an answer to whatever end it comes to."""
    head = await client.answer_head()
    body = bytearray()
    try:
        if head.chunked:
            while not (chunk := await client.chunk()).last:
                body += chunk.payload
            return Heard(head, bytes(body), True)
        length = head.get("content-length")
        if length is None:
            return Heard(head, await client.to_end(), client.ending == "fin", client.ending)
        return Heard(head, await client.exactly(int(length)), True)
    except ConnectionResetError:
        return Heard(head, bytes(body), False, client.ending)
    except EndedEarly as early:
        return Heard(head, bytes(body) + _payload(early.partial, head), False, client.ending)


def _payload(partial: bytes, head: MessageHead) -> bytes:
    return partial.partition(b"\r\n")[2] if head.chunked else partial


async def until_heard(client: RawClient, words: bytes) -> bytes:
    """Read chunks until the words were there; return the payload so far."""
    body = b""
    while words not in body:
        body += (await client.chunk()).payload
    return body


@dataclass
class Stage:
    """One gateway with one upstream (or two) behind it."""

    gateway: Gateway
    upstream: ScriptedUpstream
    clock: StageClock
    second: ScriptedUpstream | None = None
    _clients: list[RawClient] = field(default_factory=list)

    async def client(self, *, held_bytes: int = 65536) -> RawClient:
        """A client, connected."""
        client = await RawClient.connect(self.gateway.url, held_bytes=held_bytes)
        self._clients.append(client)
        return client

    async def ask(
        self, path: str = CHAT, *headers: tuple[str, str], version: str = "HTTP/1.1", **fields: Any
    ) -> RawClient:
        """A client of its own that has sent a request."""
        client = await self.client()
        await client.send(asking(path, *headers, version=version, **fields))
        return client

    async def hear(
        self, path: str = CHAT, *headers: tuple[str, str], version: str = "HTTP/1.1", **fields: Any
    ) -> Heard:
        """Ask, read to the end, leave; every trace of it is settled."""
        client = await self.ask(path, *headers, version=version, **fields)
        heard = await hear(client)
        await client.abort()
        await self.settled()
        return heard

    async def answer(self, path: str = CHAT, *headers: tuple[str, str], **fields: Any) -> Answer:
        """Ask for a whole answer."""
        client = await self.ask(path, *headers, stream=False, **fields)
        answer = await client.answer()
        await client.abort()
        await self.settled()
        return answer

    async def settled(self) -> None:
        """Wait until every exchange is booked (it is, in the loop turn in which it leaves the live ones)."""
        while len(self.gateway.live):
            await read_boundary()

    async def until(self, name: str, value: float, **labels: str) -> None:
        """Wait until a metric has come to a value."""
        while self.value(name, **labels) != value:
            await read_boundary()

    def sweep(self, ahead_s: float = 0.0) -> None:
        """Let time pass, then let the gateway look at its streams as it does every second."""
        self.clock.advance(ahead_s)
        self.gateway.live.sweep()

    def scrape(self) -> Exposition:
        return read_exposition(self.gateway.metrics.render()[0])

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series of a metric that carry these labels; names without the prefix."""
        return float(
            sum(
                value
                for (sample, has), value in self.scrape().samples.items()
                if sample == f"aigateway_{name}" and labels.items() <= has
            )
        )

    def ended_as(self, status: str) -> float:
        """How many requests have ended so."""
        return self.value("requests_total", status=status)

    async def leave(self) -> None:
        """All clients go."""
        for client in self._clients:
            await client.abort()


def raw_request(path: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    """A request with a body of any bytes."""
    return request_wire("POST", path, ("Host", "x"), ("Content-Type", "application/json"), AUTH, *headers, body=body)
