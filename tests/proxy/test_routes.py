"""The table of routes: what is there, what is not, and the headers that every answer carries."""

import re
from typing import Any

import pytest
from aiohttp import http_exceptions, web
from aiohttp.test_utils import make_mocked_request

from gateway import __version__
from gateway.core.errors import GatewayError
from gateway.dialects import OPERATIONS
from gateway.proxy.routes import Routes
from tests.conftest import MakeGateway
from tests.provider_answers import anthropic_answer, openai_answer
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, ASK_MESSAGES, BEARER, CHAT, MESSAGES, error_of, open_front

ANTHROPIC = ("anthropic-version", "2023-06-01")
PAGES = ["/health", "/health/live", "/health/ready", "/metrics", "/v1/models", "/v1/models/gpt-4o-mini", "/v1/usage"]
NOWHERE = [
    "/",
    "/v1",
    "/v1/",
    "/v1/chat",
    "/v1/chat/completions/",
    "//v1/chat/completions",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/V1/chat/completions",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/moderations",
    "/v1/files",
    "/v1/batches",
    "/v1/realtime",
    "/v1beta/models/gemini-pro:generateContent",
    "/v1/modelsx",
    "/v1/usage/",
    "/metrics/",
    "/health/x",
    "/favicon.ico",
    "/%00",
    "/v1/%2e%2e/metrics",
]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", NOWHERE)
async def test_nothing_is_there(make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, method: str) -> None:
    """404 in the dialect that the client speaks: Anthropic's where it names their version."""
    front = await open_front(make_gateway, upstream)
    for headers, kind in (((), "invalid_request_error"), ((ANTHROPIC,), "not_found_error")):
        answer = await front.tell(request_wire(method, path, ("Host", "gateway"), *BEARER, *headers))
        assert answer.status == 404
        error = error_of(answer)
        assert (error["code"], error["type"]) == ("not_found", kind)
        assert ("request_id" in answer.json()) == bool(headers)
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/messages/"])
async def test_below_messages_everything_is_anthropic_s(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str
) -> None:
    """Their SDK may ask there without naming a version."""
    front = await open_front(make_gateway, upstream)
    assert error_of(await front.get(path))["type"] == "not_found_error"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", [operation.path for operation in OPERATIONS])
async def test_operations_take_post(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, method: str
) -> None:
    """405 and `Allow`, and no permission for other origins."""
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.send(request_wire(method, path, ("Host", "gateway"), ("Origin", "http://elsewhere"), *BEARER))
        answer_head = await client.answer_head()
    assert (answer_head.status, answer_head.get("allow")) == (405, "POST")
    assert not [name for name, _ in answer_head.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", PAGES)
async def test_pages_take_get(make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, method: str) -> None:
    """405 and `Allow` there too."""
    front = await open_front(make_gateway, upstream)
    answer = await front.tell(request_wire(method, path, ("Host", "gateway"), *BEARER))
    assert (answer.status, answer.head.get("allow")) == (405, "GET, HEAD")
    assert error_of(answer)["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", [*PAGES, "/nowhere"])
async def test_head_is_get_without_the_body(make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str) -> None:
    """The same status and headers, not a byte behind them: the next answer on the connection is whole."""
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        for method in ("HEAD", "GET"):
            await client.send(request_wire(method, path, ("Host", "gateway"), *BEARER))
            if method == "HEAD":
                alone = await client.answer_head()
        answer = await client.answer()
    assert alone.status == answer.status
    assert [name for name, _ in alone.headers] == [name for name, _ in answer.head.headers]
    assert answer.body


@pytest.mark.parametrize(
    "target", [f"{CHAT}?api-version=1&x=%0d%0a", "/v1/chat%2Fcompletions", "/v1/ch%61t/completions"]
)
async def test_routes_are_found_by_the_decoded_path(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, target: str
) -> None:
    """One meaning for one path, however it is encoded; a query changes nothing and goes no further."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    assert (await front.post(target, ASK)).status == 200
    assert [request.path for request in upstream.requests] == ["/v1/chat/completions"]


@pytest.mark.parametrize("given", ["mine-1", "not plain", ""])
@pytest.mark.parametrize(("path", "document"), [(CHAT, ASK), (MESSAGES, ASK_MESSAGES), (CHAT, {}), ("/nowhere", {})])
async def test_every_answer_has_a_request_id(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, document: object, given: str
) -> None:
    """The client's own if it is a plain word, else a new one, on answers and refusals; the log has the same."""
    upstream.always(openai_answer() if path == CHAT else anthropic_answer())
    front = await open_front(make_gateway, upstream)
    answer = await front.post(path, document, ("x-request-id", given))
    said = answer.head.get("x-request-id")
    assert said is not None
    assert said == given if given == "mine-1" else re.fullmatch("req_[0-9a-f]{32}", said)
    assert answer.head.get("request-id") == (said if path == MESSAGES else None)
    assert front.access_log()[0]["id"] == said


@pytest.mark.parametrize(("path", "document"), [(CHAT, ASK), (MESSAGES, ASK_MESSAGES)])
async def test_answers_say_who_served(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, document: dict[str, object]
) -> None:
    """The gateway's own headers; of the provider's only those of the list."""
    script = (openai_answer if path == CHAT else anthropic_answer)()
    upstream.always(script)
    front = await open_front(make_gateway, upstream)
    answer = await front.post(path, document)
    headers = {name.lower(): value for name, value in answer.head.headers}
    expected = {
        "server": f"aigateway/{__version__}",
        "x-gateway-provider": "one" if path == CHAT else "two",
        "x-gateway-model": document["model"],
        "x-gateway-attempts": "1",
        "x-gateway-cache": "bypass",
        "content-type": "application/json",
        "x-content-type-options": "nosniff",
        "content-length": str(len(answer.body)),
    }
    assert expected.items() <= headers.items()
    assert headers.keys() - expected.keys() <= {"x-request-id", "request-id", "date"}


async def test_a_failure_outside_the_line_is_told_in_fixed_words(
    make_gateway: MakeGateway,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug of ours on a page: 500 as JSON, the connection closed, its text in no body and no log."""
    front = await open_front(make_gateway, upstream)

    def fail(_: object) -> None:
        raise http_exceptions.BadHttpMessage("the-secret-text")

    monkeypatch.setattr("gateway.ops._json", fail)
    answer = await front.get("/health")
    assert (answer.status, error_of(answer)["code"]) == (500, "internal")
    assert "the-secret-text" not in answer.body.decode() + caplog.text


class Nowhere:
    """A line that has nothing to offer."""

    async def refuse(self, request: web.BaseRequest, error: GatewayError) -> web.StreamResponse:
        return web.Response(status=error.status)


@pytest.mark.parametrize(
    ("path", "is_admin"),
    [
        ("/admin", True),
        ("/admin/", True),
        ("/admin/tenants/acme%2Fx?limit=1", True),
        ("/adm%69n/tenants", True),
        ("/admins", False),
        ("/Admin/tenants", False),
        ("/v1/admin/tenants", False),
        ("//admin/tenants", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_everything_below_admin_is_one_handler_s(path: str, is_admin: bool, method: str) -> None:
    """Whatever the method; where that is served elsewhere, there is nothing."""
    line: Any = Nowhere()

    async def admin(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=299)

    request = make_mocked_request(method, path)
    assert (await Routes(line, line, {}, admin=admin)(request)).status == (299 if is_admin else 404)
    assert (await Routes(line, line, {})(request)).status == 404
