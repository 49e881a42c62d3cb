"""A gateway in front of a scripted upstream, with tenants; and what its answers, logs and metrics said."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.tenancy.tenants import hash_key
from tests.behaviour.stage import NEVER_OPEN, NO_RETRIES
from tests.conftest import MakeGateway
from tests.metrics.text_format import Exposition, read_exposition
from tests.raw_client import Answer, RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream

if TYPE_CHECKING:
    from gateway.app import Gateway

KEY = "agw-surface-key-of-acme"
NARROW_KEY = "agw-surface-key-of-narrow"
EXPIRED_KEY = "agw-surface-key-expired"
PROVIDER_KEY = "sk-provider-key-never-shown"

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
Headers = tuple[tuple[str, str], ...]
BEARER: Headers = (("Authorization", f"Bearer {KEY}"),)
JSON_TYPE = ("Content-Type", "application/json")

ASK: Mapping[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
ASK_MESSAGES: Mapping[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}
ASK_OF: Mapping[str, Mapping[str, Any]] = {CHAT: ASK, MESSAGES: ASK_MESSAGES}

STEADY = f"breaker: {NEVER_OPEN}, retries: {NO_RETRIES}"
"""One failure is one answer, however often a test provokes it."""

_CONFIG = """
server: {{{server}}}
ops: {{{ops}}}
pricing: {{{pricing}}}
providers:
  one: {{dialect: openai, base_url: "{openai}", api_keys: [{provider_key}], {provider}}}
  two: {{dialect: anthropic, base_url: "{anthropic}", api_keys: [{provider_key}], {provider}}}
models:
  gpt-4o-mini: {{targets: [one/gpt-4o-mini]}}
  claude-sonnet-4-5: {{targets: [two/claude-sonnet-4-5]}}
  llama-*: {{targets: ["one/*"], price: {{input: 1, output: 2}}}}
  {models}
tenants:
- id: acme
  keys: [{{id: web, hash: "{key}"}}, {{id: old, hash: "{expired}", expires: 2020-01-01}}]
- id: narrow
  keys: [{{id: cli, hash: "{narrow}"}}]
  models: [gpt-4o-mini, llama-3*, not-configured]
"""


@dataclass(frozen=True, slots=True)
class Front:
    """The gateway, what stands behind it, and its access log."""

    gateway: "Gateway"
    upstream: ScriptedUpstream
    written: io.StringIO

    @property
    def url(self) -> str:
        return self.gateway.url

    async def tell(self, *wire: bytes) -> Answer:
        """Sends bytes on a connection of their own and reads one answer."""
        async with await RawClient.connect(self.url) as client:
            client.transport.write(b"".join(wire))
            return await client.answer()

    async def post(self, path: str, body: object, *headers: tuple[str, str], credential: Headers = BEARER) -> Answer:
        """Posts a document, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.tell(
            request_wire("POST", path, ("Host", "gateway"), JSON_TYPE, *credential, *headers, body=data)
        )

    async def get(self, path: str, *headers: tuple[str, str], credential: Headers = BEARER) -> Answer:
        return await self.tell(request_wire("GET", path, ("Host", "gateway"), *credential, *headers))

    async def scrape(self, *headers: tuple[str, str]) -> Exposition:
        """What Prometheus would read now."""
        return read_exposition((await self.get("/metrics", *headers, credential=())).body)

    def access_log(self) -> list[dict[str, Any]]:
        """The lines written so far."""
        self.gateway._access_log.flush()
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


async def open_front(
    make_gateway: MakeGateway,
    upstream: ScriptedUpstream,
    *,
    server: str = "",
    ops: str = "",
    pricing: str = "",
    models: str = "",
    provider: str = STEADY,
    start: Mapping[str, Any] | None = None,
) -> Front:
    """Starts a gateway; the texts go into the sections of its configuration that they are named after.

    `provider` has what both providers are told beside who they are.
    """
    written = io.StringIO()
    text = _CONFIG.format(
        server=server,
        ops=ops,
        pricing=pricing,
        models=models,
        openai=upstream.openai_base,
        anthropic=upstream.anthropic_base,
        provider_key=PROVIDER_KEY,
        provider=provider,
        key=hash_key(KEY),
        narrow=hash_key(NARROW_KEY),
        expired=hash_key(EXPIRED_KEY),
    )
    return Front(await make_gateway(text, start={"access_log": written, **(start or {})}), upstream, written)


def error_of(answer: Answer) -> dict[str, Any]:
    """The error object of an answer, which must be whole in one of the dialects."""
    document = answer.json()
    assert answer.head.get("content-type") == "application/json"
    error: dict[str, Any] = document["error"]
    assert set(error) == {"type", "message", "code", "param"}
    if set(document) == {"error"}:
        return error
    assert set(document) == {"type", "error", "request_id"}
    assert document["type"] == "error"
    assert document["request_id"] == answer.head.get("x-request-id") == answer.head.get("request-id")
    return error
