"""A database that does not write, under load: nothing is served that is not written down, and nothing stays unwritten.

The figures of the full size are those of the README. The disk is full by a limit of the gateway's process on the size
of its files, which it meets as it would meet the end of the disk: a write fails.
"""

import asyncio
import random
import resource
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.app import Gateway
from gateway.simulator import Simulator
from tests.behaviour.stage import CHAT, asking, config, hear, until_heard
from tests.conftest import MakeGateway
from tests.databases import file_locked
from tests.provider_answers import openai_answer, openai_chunk, openai_stream
from tests.raw_client import Answer, RawClient, json_request_wire
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream
from tests.stack.crash_clients import MODEL, TOKENS
from tests.stack.crash_scene import KEY, PROMPT, Scene
from tests.stack.fleet import at_rate
from tests.upstream_script import CHUNKED, SSE, Script, chunk, end, event, head, sse, wait

USAGE = {"prompt_tokens": 25, "completion_tokens": 8}
COST = 25 * 1000 + 8 * 2000
RUNNING = 10
PER_S = 50.0
ROOM_BYTES = 256 * 1024
LATE_BY_MACHINE_S = 1.0
"""What else may delay the end of a stream; asserted at full size only."""

Row = tuple[str, str, int]
"""State, outcome, nano-dollars."""


def rows(path: Path) -> dict[str, Row]:
    """What a file of SQLite has, by request id; read as anybody could."""
    with closing(sqlite3.connect(path)) as connection:
        found = list(connection.execute("SELECT request_id, state, outcome, cost_nanousd FROM exchanges"))
    assert len({name for name, *_ in found}) == len(found)
    return {name: (state, outcome, cost) for name, state, outcome, cost in found}


def largest_bytes(directory: Path) -> int:
    """The size of the largest file of the database."""
    return max(file.stat().st_size for file in directory.glob("ledger.db*"))


@dataclass
class Asking:
    """Clients of one gateway, and what they have been told."""

    gateway: Gateway
    told: dict[str, int] = field(default_factory=dict)
    waited_s: list[float] = field(default_factory=list)

    async def begin(self, name: str, *, stream: bool = True) -> RawClient:
        """A client of its own that has sent a request."""
        client = await RawClient.connect(self.gateway.url)
        await client.send(asking(CHAT, ("x-request-id", name), stream=stream))
        return client

    async def one(self, name: str, *, stream: bool) -> None:
        """Ask and read to the end."""
        began_s = time.monotonic()
        async with await self.begin(name, stream=stream) as client:
            heard = await hear(client)
        assert heard.whole
        self.told[name] = heard.status
        self.waited_s.append(time.monotonic() - began_s)


async def test_a_locked_database_under_load(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, migrated_file: bytes, tmp_path: Path, soaking: bool
) -> None:
    """New requests get 503, running streams end, and afterwards every answer that was seen has its row."""
    lasts_s, wait_s = (10.0, 2.0) if soaking else (0.3, 4.0)
    path = tmp_path / "ledger.db"
    path.write_bytes(migrated_file)
    sections = f"ledger: {{open_wait_s: {wait_s}, end_wait_s: {wait_s}}}\nstores: {{database_url: 'sqlite:///{path}'}}"
    gateway = await make_gateway(config({"one": upstream.openai_base}, sections=sections), start={"access_log": None})
    clients = Asking(gateway)
    go_on = asyncio.Event()
    word = event(openai_chunk({"content": "word"}))
    last = sse(openai_chunk({}, finish="stop", usage=USAGE)) + sse("[DONE]")
    upstream.by(lambda request: (openai_stream if b'"stream"' in request.body else openai_answer)(usage=USAGE))
    script: Script = [head(200, SSE, CHUNKED), word, wait(go_on), chunk(last), end()]
    upstream.next(*[script] * RUNNING)
    streams = [await clients.begin(f"running-{n}") for n in range(RUNNING)]
    for stream in streams:
        await stream.answer_head()
        await until_heard(stream, b"word")
    with file_locked(path):
        load = asyncio.create_task(at_rate(PER_S, lasts_s, lambda n: clients.one(f"locked-{n}", stream=n % 2 == 0)))
        go_on.set()
        began_s = time.monotonic()
        await asyncio.gather(*(until_heard(stream, b"[DONE]") for stream in streams))
        late_s = time.monotonic() - began_s
        await load
        assert {state for state, *_ in rows(path).values()} == {"open"}
    refused = Counter(clients.told.values())
    assert refused.keys() == {503}
    while (await _status(clients, f"again-{len(clients.told)}")) != 200:
        pass
    await at_rate(PER_S, 1.0, lambda n: clients.one(f"after-{n}", stream=n % 2 == 0))
    for stream in streams:
        await stream.abort()
    await _written(gateway)
    found = rows(path)
    served = [name for name, status in clients.told.items() if status == 200]
    for name in [*served, *(f"running-{n}" for n in range(RUNNING))]:
        assert found[name] == ("settled", "success", COST)
    assert {state for state, *_ in found.values()} == {"settled"}
    print(
        f"\nlocked for {lasts_s:g} s: {refused[503]} refused, the longest after {max(clients.waited_s):.2f} s; "
        f"{RUNNING} running streams ended {late_s:.2f} s late; {len(served)} served afterwards, all written"
    )
    if soaking:
        assert {name for name in clients.told if name.startswith("after")} <= set(served)
        assert late_s <= wait_s + LATE_BY_MACHINE_S


async def _status(clients: Asking, name: str) -> int:
    await clients.one(name, stream=False)
    return clients.told[name]


async def _written(gateway: Gateway) -> None:
    """Wait until every exchange is booked and every row is there."""
    while len(gateway.live):
        await read_boundary()
    await gateway._books.flushed()
    await gateway.state.ledger.flushed()


async def test_a_full_disk(tmp_path: Path, simulator: Simulator, free_port: int) -> None:
    """New requests get 503 that says when to come again; with room again it goes on, and no answer lacks its row."""
    scene = Scene(tmp_path, simulator, free_port, random.Random(0))
    path = tmp_path / "ledger.db"
    scene.write_config(f"sqlite:///{path}")
    with (tmp_path / "gateway.yaml").open("a") as settings:
        settings.write("ledger: {open_wait_s: 1, end_wait_s: 1}\n")
    told: dict[str, int] = {}

    async def ask() -> Answer:
        name = f"asked-{len(told)}"
        document = {"model": MODEL, "messages": PROMPT, "max_tokens": TOKENS, "stream": len(told) % 2 == 0}
        async with await RawClient.connect(scene.url) as client:
            headers = (("Authorization", f"Bearer {KEY}"), ("x-request-id", name))
            await client.send(json_request_wire(CHAT, document, *headers))
            answer = await client.answer()
        told[name] = answer.status
        return answer

    async with scene.gateway() as process:
        pid = process.process.pid
        assert (await ask()).status == 200
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest_bytes(tmp_path) + ROOM_BYTES, most))
        while (refused := await ask()).status == 200:
            pass
        for answer in (refused, await ask(), await ask()):
            assert (answer.status, answer.json()["error"]["code"]) == (503, "overloaded")
            assert answer.head.get("retry-after") == "1"
        full = len(told)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        room_s = time.monotonic()
        while (await ask()).status != 200:
            pass
        again_s = time.monotonic() - room_s
        await scene.kill(process)  # who has an answer has its row, without any goodbye
    found = rows(path)
    served = {name for name, status in told.items() if status == 200}
    assert {found[name][:2] for name in served} == {("settled", "success")}
    assert all(found[name][2] > 0 for name in served)
    assert {state for state, *_ in found.values()} == {"settled"}
    assert found.keys() <= told.keys()
    print(
        f"\ndisk full: {full} requests until then, {len(found)} rows; served again {again_s:.2f} s after there was room"
    )
