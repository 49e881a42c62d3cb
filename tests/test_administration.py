"""Where the admin API is served, and that a whole gateway does what it is told through it."""

import json
import socket
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway.app import Gateway
from tests.behaviour.stage import config
from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream

KEY, VIEWER = "operator-0123456789", "onlooker-0123456789"
ADMIN = f"admin: {{key: {KEY}, viewer_key: {VIEWER}}}"
ASK = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}


class Operator:
    """Somebody with the admin key, and any number of tenants' keys."""

    def __init__(self, gateway: Gateway, base: str | None = None) -> None:
        self._base = base or gateway.url
        self._gateway = gateway

    async def does(self, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, Any]:
        async with ClientSession() as session:
            headers = {"Authorization": f"Bearer {key}"}
            async with session.request(method, f"{self._base}/admin{path}", json=body, headers=headers) as answer:
                text = await answer.text()
                return answer.status, json.loads(text) if text.startswith("{") else text

    async def asks(self, secret: str) -> int:
        async with ClientSession() as session:
            headers = {"Authorization": f"Bearer {secret}"}
            url = f"{self._gateway.url}/v1/chat/completions"
            async with session.post(url, json=ASK, headers=headers) as answer:
                await answer.read()
                return answer.status


@pytest.fixture
async def gateway(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> Gateway:
    upstream.always(openai_answer())
    return await make_gateway(config({"one": upstream.openai_base}, sections=ADMIN), start={"access_log": None})


async def test_a_tenant_from_its_making_to_its_end(gateway: Gateway) -> None:
    """Made, given a key, asked with it, rotated, revoked; each holds at once, and its spending is told."""
    operator = Operator(gateway)
    budget = {"usd": 5, "window": "day"}
    made = await operator.does("POST", "/tenants", {"id": "new", "budget": budget})
    assert made[0] == 201
    status, given = await operator.does("POST", "/tenants/new/keys", {"id": "web"})
    assert status == 201
    assert await operator.asks(given["secret"]) == 200
    status, rotated = await operator.does("POST", "/tenants/new/keys/web/rotate", {"grace_s": 0})
    assert status in (200, 201)
    assert [await operator.asks(secret) for secret in (given["secret"], rotated["secret"])] == [401, 200]
    await gateway.state.ledger.flushed()
    status, _ = await operator.does("GET", "/tenants/new/spending", key=VIEWER)
    assert status == 200
    status, used = await operator.does("GET", "/usage?by=tenant", key=VIEWER)
    assert status == 200
    assert "new" in json.dumps(used)
    assert (await operator.does("DELETE", "/tenants/new/keys/web"))[0] in (200, 204)
    assert await operator.asks(rotated["secret"]) == 401
    status, audit = await operator.does("GET", "/audit", key=VIEWER)
    text = json.dumps(audit)
    assert status == 200
    assert given["secret"] not in text
    assert rotated["secret"] not in text


async def test_an_onlooker_changes_nothing(gateway: Gateway) -> None:
    """It may look."""
    operator = Operator(gateway)
    assert (await operator.does("GET", "/tenants", key=VIEWER))[0] == 200
    assert (await operator.does("POST", "/tenants", {"id": "x"}, key=VIEWER))[0] == 403
    assert (await operator.does("GET", "/tenants", key="wrong-0123456789"))[0] == 401


async def test_without_a_key_it_says_how_to_set_one(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """403 for everything."""
    gateway = await make_gateway(config({"one": upstream.openai_base}), start={"access_log": None})
    status, answer = await Operator(gateway).does("GET", "/tenants")
    assert status == 403
    assert "admin.key" in answer["error"]["message"]


async def test_a_port_of_its_own(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """There, and not on the main one."""
    section = ADMIN.replace("}", ", port: 0}")
    gateway = await make_gateway(config({"one": upstream.openai_base}, sections=section), start={"access_log": None})
    assert (await Operator(gateway, gateway.administration.url).does("GET", "/tenants"))[0] == 200
    assert (await Operator(gateway).does("GET", "/tenants"))[0] == 404


async def test_the_port_is_taken_over(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """A successor that inherits the main socket waits for this one too."""
    first = await make_gateway(
        config({"one": upstream.openai_base}, sections=ADMIN.replace("}", ", port: 0}")), start={"access_log": None}
    )
    port = int(first.administration.url.rpartition(":")[2])
    text = config({"one": upstream.openai_base}, sections=ADMIN.replace("}", f", port: {port}}}"))
    spare = socket.create_server(("127.0.0.1", 0))
    second = await make_gateway(text, start={"access_log": None, "sockets": [spare]})
    assert second.administration.url == ""
    first.administration.give_up()
    while not second.administration.url:
        await read_boundary()
    assert (await Operator(second, second.administration.url).does("GET", "/tenants"))[0] == 200
    with pytest.raises(OSError, match="address already in use"):
        await make_gateway(text, start={"access_log": None})


async def test_providers_are_operated(gateway: Gateway) -> None:
    """Drained: no request goes there; and back."""
    operator = Operator(gateway)
    secret = "agw-stage"
    assert (await operator.does("POST", "/providers/one/drain"))[0] == 200
    assert await operator.asks(secret) == 503
    assert (await operator.does("POST", "/providers/one/undrain"))[0] == 200
    assert await operator.asks(secret) == 200
