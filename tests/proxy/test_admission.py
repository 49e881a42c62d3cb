"""Admission: which credential counts, which model may be asked, how long a client wants to wait."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.core.errors import GatewayError
from gateway.proxy.admission import credential
from tests.conftest import MakeGateway
from tests.provider_answers import anthropic_answer, openai_answer
from tests.raw_client import RawClient
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, ASK_MESSAGES, BEARER, CHAT, MESSAGES, NARROW_KEY, error_of, open_front
from tests.upstream_script import CHUNKED, JSON, SSE, head, stall

NARROW = (("Authorization", f"Bearer {NARROW_KEY}"),)
UNPRICED = "house-*: {targets: ['one/*']}\n  clod-*: {targets: ['two/*']}"


def given(*headers: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(headers))


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([("Authorization", "Bearer k")], "k"),
        ([("AUTHORIZATION", "BEARER   k  ")], "k"),
        ([("X-Api-Key", "k")], "k"),
        ([("x-api-key", "k"), ("Authorization", "Bearer k")], "k"),
    ],
)
def test_one_credential_counts(headers: list[tuple[str, str]], secret: str) -> None:
    """From either header, or the same from both."""
    assert credential(given(*headers)) == secret


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([], "No API key"),
        ([("Authorization", "Bearer k"), ("Authorization", "Bearer k")], "more than once"),
        ([("x-api-key", "k"), ("x-api-key", "k")], "more than once"),
        ([("x-api-key", "k"), ("Authorization", "Bearer K")], "differ"),
        ([("Authorization", "k")], "must be `Bearer`"),
        ([("Authorization", "Bearer ")], "must be `Bearer`"),
        ([("Authorization", "")], "must be `Bearer`"),
        ([("Authorization", "Basic k"), ("x-api-key", "k")], "must be `Bearer`"),
    ],
)
def test_any_other_number_of_credentials_is_refused(headers: list[tuple[str, str]], said: str) -> None:
    """The sentence says which of the ways it is wrong."""
    with pytest.raises(GatewayError, match=said) as refusal:
        credential(given(*headers))
    assert refusal.value.code == "unauthorized"


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("gpt-4o-mini", 200, None),
        ("llama-3", 200, None),
        ("llama-3.3-70b", 200, None),
        ("llama-2", 403, "forbidden_model"),
        ("claude-sonnet-4-5", 403, "forbidden_model"),
        ("no-such-model", 403, "forbidden_model"),
        ("gpt-4o-mini-2024-07-18", 403, "forbidden_model"),
        ("GPT-4o-mini", 403, "forbidden_model"),
        ("not-configured", 404, "model_not_found"),
    ],
)
async def test_allow_list_is_asked_first(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, model: str, status: int, code: str | None
) -> None:
    """Names and patterns; what is not allowed is forbidden whether it exists or not, so nobody can probe."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    answer = await front.post(CHAT, {**ASK, "model": model}, credential=NARROW)
    assert answer.status == status
    if code is not None:
        error = error_of(answer)
        assert (error["code"], error["param"]) == (code, "model")
        assert model in error["message"]
    assert len(upstream.requests) == (status == 200)


async def test_pattern_passes_the_asked_name_on(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`llama-*: [one/*]` asks the provider for the name as asked; the metric label is the pattern."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    answer = await front.post(CHAT, {**ASK, "model": "llama-3.3-70b"})
    assert answer.head.get("x-gateway-model") == "llama-3.3-70b"
    assert upstream.requests[0].model == "llama-3.3-70b"
    scrape = await front.scrape()
    labels = {"tenant_id": "acme", "provider": "one", "model": "llama-*", "status": "success"}
    assert scrape.value("aigateway_requests_total", **labels) == 1


@pytest.mark.parametrize(
    ("path", "document", "said"),
    [
        (CHAT, {**ASK, "model": "claude-sonnet-4-5"}, ("anthropic dialect only", "openai one")),
        (MESSAGES, {**ASK_MESSAGES, "model": "gpt-4o-mini"}, ("openai dialect only", "anthropic one")),
    ],
)
async def test_model_of_the_other_dialect_is_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, document: object, said: tuple[str, str]
) -> None:
    """400, and the sentence names both dialects."""
    front = await open_front(make_gateway, upstream)
    answer = await front.post(path, document)
    assert answer.status == 400
    error = error_of(answer)
    assert (error["code"], error["param"]) == ("invalid_request", "model")
    assert all(words in error["message"] for words in said)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("pricing", "status", "cost_nanousd"),
    [("", 400, 0), ("unpriced: free", 200, 0), ("unpriced: {input: 1, output: 2}", 200, 11_000 + 2 * 3_000)],
)
async def test_unpriced_model(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, pricing: str, status: int, cost_nanousd: int
) -> None:
    """Refused unless `pricing.unpriced` says otherwise; the sentence names the keys to set."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, pricing=pricing, models=UNPRICED)
    answer = await front.post(CHAT, {**ASK, "model": "house-model"})
    assert answer.status == status
    (line,) = front.access_log()
    if status == 400:
        assert error_of(answer)["code"] == "unpriced_model"
        assert "models.house-*.price" in error_of(answer)["message"]
        assert upstream.requests == []
    else:
        assert line["cost_nanousd"] == cost_nanousd


async def test_what_is_free_needs_no_price(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Counting tokens costs nothing at the provider: an unpriced model may be counted for."""
    upstream.always(anthropic_answer())
    front = await open_front(make_gateway, upstream, models=UNPRICED)
    document = {"model": "clod-1", "messages": ASK_MESSAGES["messages"]}
    assert (await front.post("/v1/messages/count_tokens", document)).status == 200
    assert error_of(await front.post(MESSAGES, {**document, "max_tokens": 1}))["code"] == "unpriced_model"


@pytest.mark.parametrize("wish", ["", "0", "0.0", "-1", "1e3", "nan", "inf", "1,5", "1.2.3", ".", "x", "٣"])
async def test_wish_that_is_no_time_is_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, wish: str
) -> None:
    """`x-gateway-timeout-s` is a positive number of seconds."""
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        header = f"x-gateway-timeout-s: {wish}\r\n".encode()
        body = b'{"model": "gpt-4o-mini", "messages": ["x"]}'
        key = f"{BEARER[0][0]}: {BEARER[0][1]}\r\n".encode()
        start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n"
        client.transport.write(start + key + header + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = await client.answer()
    assert (answer.status, error_of(answer)["code"]) == (400, "invalid_request")
    assert "x-gateway-timeout-s" in error_of(answer)["message"]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_wish_shortens_the_wait(make_gateway: MakeGateway, upstream: ScriptedUpstream, is_stream: bool) -> None:
    """504 after the time that the client gave, for streams and whole answers."""
    upstream.always([head(200, SSE, CHUNKED) if is_stream else head(200, JSON, CHUNKED), stall()])
    front = await open_front(make_gateway, upstream)
    answer = await front.post(CHAT, {**ASK, "stream": is_stream}, ("x-gateway-timeout-s", "0.05"))
    assert (answer.status, error_of(answer)["code"]) == (504, "deadline_exceeded")


async def test_wish_never_lengthens_the_wait(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """A larger wish than the configuration's deadline changes nothing."""
    upstream.always([head(200, SSE, CHUNKED), stall()])
    front = await open_front(make_gateway, upstream, server="deadline_s: 0.05")
    for wish in ("9" * 400, "60"):
        answer = await front.post(CHAT, {**ASK, "stream": True}, ("x-gateway-timeout-s", wish))
        assert (answer.status, error_of(answer)["code"]) == (504, "deadline_exceeded")
