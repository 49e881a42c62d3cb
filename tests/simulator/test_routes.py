"""The simulator's routes: what each takes, what is none, and which dialect a refusal speaks."""

import io

import aiohttp
import orjson
import pytest

from gateway.simulator import ANTHROPIC_MODELS, OPENAI_MODELS, SimulatorSettings
from gateway.simulator.journal import Ended
from tests.simulator.conftest import Simulate
from tests.simulator.conversation import CHAT, MESSAGES, PATHS, ask, body_for, last


@pytest.mark.parametrize("path", [*PATHS, "/v1/embeddings", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"\\ud800"', b"\xff", b'{"model": 7}', b"{}"])
async def test_bodies_that_are_no_request(http: aiohttp.ClientSession, path: str, raw: bytes) -> None:
    """A body that is no JSON object, or names no model, is a 400."""
    async with http.post(path, data=raw) as response:
        assert response.status == 400
        assert "error" in await response.json()


async def test_too_large_a_body(simulate: Simulate) -> None:
    """A body over the limit is a 413, and written down as refused."""
    running = await simulate(SimulatorSettings(speed=1000, max_body_mb=1))
    body = io.BytesIO(orjson.dumps(body_for(MESSAGES, "fast", "x" * 2**20)))
    async with aiohttp.ClientSession(running.base_url) as http, http.post(MESSAGES, data=body) as response:
        assert response.status == 413
        assert (await response.json())["error"]["type"] == "request_too_large"
    assert last(running).ended is Ended.REFUSED


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/v1/images"), ("PUT", "/v1/models")])
async def test_unknown_routes(http: aiohttp.ClientSession, method: str, path: str) -> None:
    """What is no route is a 404 in the dialect that the headers speak."""
    async with http.request(method, path) as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "unknown_url"
    async with http.request(method, path, headers={"anthropic-version": "2023-06-01"}) as response:
        assert (await response.json())["error"]["type"] == "not_found_error"


async def test_the_route_decides_the_dialect(http: aiohttp.ClientSession) -> None:
    """Anthropic's header on a route of OpenAI's changes nothing, nor does another method."""
    header = {"anthropic-version": "2023-06-01"}
    assert (await ask(http, CHAT, body_for(CHAT, "fast"), headers=header)).status == 200
    refused = await ask(http, CHAT, body_for(CHAT, "400"), headers=header)
    assert "x-request-id" in refused.headers and "code" in refused.json["error"]
    async with http.get(CHAT, headers=header) as response:
        assert (await response.json())["error"]["code"] == "unknown_url"


async def test_model_lists(http: aiohttp.ClientSession) -> None:
    """The lists hold every model of the dialect, and each can be asked for alone."""
    anthropic = {"anthropic-version": "2023-06-01"}
    async with http.get("/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == list(OPENAI_MODELS)
    async with http.get("/v1/models", headers=anthropic) as response:
        assert [model["id"] for model in (await response.json())["data"]] == list(ANTHROPIC_MODELS)
    for name, headers, status in (
        ("sim-fast", {}, 200),
        ("sim-nonsense", {}, 404),
        ("claude-sim-fast", anthropic, 200),
        ("sim-fast", anthropic, 404),
    ):
        async with http.get(f"/v1/models/{name}", headers=headers) as response:
            assert response.status == status
