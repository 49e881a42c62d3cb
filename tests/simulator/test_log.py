"""The simulator's log: what happened to each request, for this machine only, without prompt or credential."""

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from gateway.simulator import Simulator, SimulatorSettings, start
from gateway.simulator.journal import Ended
from gateway.simulator.provider import Provider
from tests.simulator.conversation import CHAT, MESSAGES, ask, body_for, last


async def test_the_log_cuts_long_names(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    """A model's name of any length takes 128 characters of the log."""
    await ask(http, CHAT, body_for(CHAT, "fast", max_tokens=1) | {"model": "x" * 10_000})
    assert last(simulator).model == "x" * 128


async def test_the_log_tells_what_happened(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    """The log shows model, status, tokens and ending of each request, and neither prompt nor key."""
    secret = {"Authorization": "Bearer sk-secret"}
    await ask(http, CHAT, body_for(CHAT, "fast", "my secret prompt", stream=True, max_tokens=7), headers=secret)
    await ask(http, MESSAGES, body_for(MESSAGES, "529", "my secret prompt"), headers={"x-api-key": "sk-secret"})
    async with http.get("/__simulator/log") as response:
        text = await response.text()
        log = await response.json()
    assert "secret" not in text
    assert (log["requests"], log["open"], log["tokens"]) == (2, 0, 7)
    first, second = log["recent"]
    assert first["path"] == CHAT and first["model"] == "sim-fast" and first["stream"]
    assert (first["status"], first["tokens"], first["ended"]) == (200, 7, "complete")
    assert first["ended_s"] >= first["started_s"] >= 0
    assert (second["model"], second["status"], second["ended"]) == ("claude-sim-529", 529, "refused")


async def test_a_failure_of_its_own_is_logged_without_words(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the simulator is a 500 and a traceback; what the exception quotes stays out of the log."""

    prompt = "my " + "secret"

    def broken_clock() -> float:
        raise RuntimeError(prompt)

    running = await start(settings=SimulatorSettings(speed=1000), wall=broken_clock)
    try:
        async with aiohttp.ClientSession(running.base_url) as http:
            heard = await ask(http, CHAT, body_for(CHAT, "fast", prompt))
    finally:
        await running.close()
    assert heard.status == 500
    assert last(running).ended is Ended.FAULT
    assert "RuntimeError" in caplog.text and "broken_clock" in caplog.text
    assert prompt not in caplog.text + heard.raw.decode()


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("203.0.113.5", 404), ("2001:db8::1", 404)],
)
async def test_the_log_is_for_this_machine_only(address: str, status: int) -> None:
    """A peer from elsewhere is told that the log does not exist."""
    provider = Provider(SimulatorSettings(), clock=lambda: 0.0, wall=lambda: 0.0)
    application = provider.application()

    @web.middleware
    async def from_afar(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await handler(request.clone(remote=address))

    application.middlewares.append(from_afar)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}/__simulator/log"
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.status == status
    finally:
        await runner.cleanup()
