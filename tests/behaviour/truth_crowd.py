"""The clients and the upstream in the test of truth, and the configuration of the gateway between them."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from gateway.tenancy.tenants import hash_key
from tests.behaviour.fate import Fate, Play
from tests.behaviour.stage import NEVER_OPEN, NO_RETRIES, PROMPTS, PROVIDER_KEY, Stage, hear
from tests.behaviour.truth import NONE, OTHERS, PRICES, PROMPT, Told, Visit
from tests.raw_client import RawClient, json_request_wire, request_wire
from tests.raw_connection import read_boundary
from tests.upstream_connection import SeenRequest
from tests.upstream_script import Leave, Script, body_of, flat

NUMBER = "openai-beta"
"""The header in which a request carries its number upstream."""

TENANTS = {
    "acme": "",
    "beta": "",
    "narrow": 'models: ["gpt"]',
    "hasty": "limits: {requests_per_minute: 1, burst: 1}",
    "wordy": "limits: {tokens_per_minute: 60}",
    "busy": "limits: {concurrent: 1}",
    "poor": "budget: {usd: 0.001, soft_at: [], when_exhausted: finish}",
    "cut": "budget: {usd: 0.0013, soft_at: [], when_exhausted: cut}",
}
MODELS = {
    "gpt": "[one/gpt]",
    "b": "[two/b]",
    "claude": "[claude/claude]",
    "both": "[one/gpt, two/gpt]",
    "again": "[three/gpt]",
    "dead": "[dead/gpt]",
    "undead": "[dead/gpt, two/gpt]",
    "slow": "[slow/gpt]",
    "silent": "[silent/gpt]",
    "rest": "[resting/gpt]",
    "rests": "[resting/gpt, two/gpt]",
    "hedged": "[one/gpt, two/gpt], hedge: {after_s: 0.02, max_share: 1}",
    "open-*": '["one/*"]',
}
PROVIDERS = {
    "one": "",
    "two": "usage: as_asked",
    "three": "retries: {share: 1, floor: 1000}",
    "dead": "",
    "slow": "timeouts: {first_token_s: 0.5}",
    "silent": "timeouts: {stall_s: 0.4}",
    "resting": "",
    "claude": "dialect: anthropic",
}


def configuration(url: str, dead_port: int) -> str:
    """The ``gateway.yaml``: all providers at one upstream, each under a path of its own."""
    lines = ["server: {deadline_s: 600, keepalive_s: 600}", "pricing: {unpriced: refuse}", "providers:"]
    for name, more in PROVIDERS.items():
        base = (
            f"http://127.0.0.1:{dead_port}/v1"
            if name == "dead"
            else f"{url}/{name}" + ("" if name == "claude" else "/v1")
        )
        dialect = "" if "dialect" in more else "dialect: openai, "
        retries = "" if "retries" in more else f", retries: {NO_RETRIES}"
        lines.append(
            f'  {name}: {{{dialect}base_url: "{base}", api_keys: ["{PROVIDER_KEY}"], pool: {{warm: 0}}, '
            f"breaker: {NEVER_OPEN}{retries}{', ' if more else ''}{more}}}"
        )
    lines.append("models:")
    for name, targets in MODELS.items():
        rates = PRICES.get(name, OTHERS)
        price = "input: {}, cached_input: {}, cache_write: {}, output: {}".format(*rates)
        lines.append(f'  "{name}": {{targets: {targets}, price: {{{price}}}}}')
    lines.append("tenants:")
    for name, more in TENANTS.items():
        models = "" if "models" in more else ', models: ["*"]'
        key = f'{{id: web, hash: "{hash_key(key_of(name))}"}}'
        lines.append(f"  - {{id: {name}, keys: [{key}]{models}{', ' if more else ''}{more}}}")
    return "\n".join([*lines, ""])


def key_of(tenant: str) -> str:
    return f"agw-truth-{tenant}"


class Crowd:
    """The clients and the upstream: they live through a plan, and keep the books of it."""

    def __init__(self, stage: Stage, plan: list[Fate], dice: random.Random) -> None:
        self._stage = stage
        tenants = [fate.tenant or dice.choice(("acme", "beta")) for fate in plan]
        self.told = [Told(n, fate, tenant) for n, (fate, tenant) in enumerate(zip(plan, tenants, strict=True))]
        for one in self.told:
            one.tenant = NONE if one.tenant == "nobody" else one.tenant
        self._seen: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._used: set[int] = set()
        stage.upstream.by(self.play)

    def play(self, request: SeenRequest) -> Script:
        """The script for a visit, which is noted."""
        one = self.told[int(request.header(NUMBER) or "")]
        provider = request.path.split("/")[1]
        plays = one.fate.plays[provider]
        earlier = sum(visit.provider == provider and not visit.stale for visit in one.visits)
        play = plays[min(earlier, len(plays) - 1)]
        is_kept = request.connection in self._used
        self._used.add(request.connection)
        one.visits.append(Visit(provider, play, stale=is_kept and says_nothing(play)))
        self._seen[one.number].set()
        return play.script

    async def contend(self, first: Told, second: Told, go: asyncio.Event) -> None:
        """Two requests of a tenant that may have one at once: the first lasts until the second was refused."""
        living = asyncio.create_task(self.live(iter([first])))
        await self._seen[first.number].wait()
        await self.live(iter([second]))
        go.set()
        await living

    async def live(self, todo: Iterator[Told]) -> None:
        """One client after the other, each on the connection of the one before where that still stands."""
        client: RawClient | None = None
        for one in todo:
            if client is None:
                client = await RawClient.connect(self._stage.gateway.url, held_bytes=1 << 20)
            client.transport.write(wire_of(one))
            if one.fate.leaves:
                await self._leave(one, client)
                client = None
            else:
                one.heard = await hear(client)
                one.body = one.heard.body
                # whose answer broke off is told so by an event, and by the end of its connection
                if not one.heard.head.keeps_alive or (one.heard.status == 200 and one.outcome != "success"):
                    await client.abort()
                    client = None
            if not one.number % 10:
                # streams of others are in their midst: their counters move now
                self._stage.gateway.live.sweep()
        if client is not None:
            await client.abort()

    async def _leave(self, one: Told, client: RawClient) -> None:
        """Go once the exchange has come so far as the fate says."""
        phase = one.fate.leaves
        if phase == "before_head":
            await self._seen[one.number].wait()
        elif phase == "streaming":
            await client.answer_head()
            written = body_of(one.visits[0].play.script)
            while len(one.body) < len(written):
                one.body += (await client.chunk()).payload
        else:
            while phase not in [exchange.phase for exchange in self._stage.gateway.live if exchange.id == one.id]:
                await read_boundary()
        await client.reset()


def says_nothing(play: Play) -> bool:
    """Whether the connection is cut before a byte of an answer."""
    return bool(play.result) and all(isinstance(step, Leave) for step in flat(play.script))


def wire_of(one: Told) -> bytes:
    """The request as it is sent."""
    fate = one.fate
    credential = ("x-api-key", key_of("nobody" if one.tenant == NONE else one.tenant))
    headers = (credential, ("x-request-id", one.id), (NUMBER, str(one.number)))
    if fate.path == "/v1/models":
        return request_wire("GET", fate.path, ("Host", "x"), *headers)
    if fate.raw_body is not None:
        return request_wire(
            "POST", fate.path, ("Host", "x"), ("Content-Type", "application/json"), *headers, body=fate.raw_body
        )
    asked: dict[str, Any] = {"model": fate.model, **PROMPTS[fate.path], **fate.fields}
    for name in ("prompt", "input"):
        if name in asked:
            asked[name] = PROMPT
    if "messages" in asked:
        asked["messages"] = [{"role": "user", "content": PROMPT}]
    if fate.stream:
        asked["stream"] = True
    if one.tenant == "poor":
        asked["max_tokens"] = 1000
    return json_request_wire(fate.path, asked, *headers)
