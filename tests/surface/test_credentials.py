"""Who may come in: exactly one known credential, judged before anything else is read, and never shown to anybody."""

import pytest

from gateway.config import DEMO_KEY
from gateway.proxy.admission import FORWARDING_HEADERS
from gateway.tenancy.tenants import hash_key
from tests.conftest import MakeGateway
from tests.provider_answers import anthropic_answer, openai_answer
from tests.raw_client import RawClient, request_wire
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import (
    ASK,
    ASK_MESSAGES,
    ASK_OF,
    BEARER,
    CHAT,
    EXPIRED_KEY,
    KEY,
    MESSAGES,
    NARROW_KEY,
    Headers,
    error_of,
    open_front,
)

REFUSED: dict[str, Headers] = {
    "none": (),
    "two Authorization headers": BEARER * 2,
    "two different Authorization headers": (*BEARER, ("Authorization", f"Bearer {NARROW_KEY}")),
    "two x-api-key headers": (("x-api-key", KEY), ("x-api-key", KEY)),
    "both kinds, different": (*BEARER, ("x-api-key", NARROW_KEY)),
    "a good key beside Basic": (("Authorization", "Basic dXNlcjpwYXNz"), ("x-api-key", KEY)),
    "Basic": (("Authorization", "Basic dXNlcjpwYXNz"),),
    "Bearer alone": (("Authorization", "Bearer"),),
    "Bearer and blanks": (("Authorization", "Bearer   "),),
    "no scheme": (("Authorization", KEY),),
    "an empty x-api-key": (("x-api-key", ""),),
    "a space inside": (("x-api-key", "agw-a b"),),
    "513 characters": (("x-api-key", "a" * 513),),
    "bytes that are not ASCII": (("x-api-key", "agw-\xff\xfe"),),
    "a tab": (("Authorization", f"Bearer {KEY}\tx"),),
    "expired": (("x-api-key", EXPIRED_KEY),),
    "unknown": (("x-api-key", "agw-unknown"),),
    "a known key in other letters": (("x-api-key", KEY.upper()),),
    "the hash instead of the key": (("x-api-key", hash_key(KEY)),),
    "SQL": (("x-api-key", "'OR/**/1=1--"),),
}
ACCEPTED: dict[str, Headers] = {
    "Authorization": BEARER,
    "x-api-key": (("x-api-key", KEY),),
    "both, equal": (*BEARER, ("x-api-key", KEY)),
    "another spelling of bearer": (("authorization", f"bEARER  {KEY}"),),
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("case", REFUSED)
async def test_wrong_credential_is_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, case: str
) -> None:
    """401 in the dialect of the route, nothing of the credential in it, and the provider hears nothing."""
    front = await open_front(make_gateway, upstream)
    answer = await front.post(path, ASK_OF[path], credential=REFUSED[case])
    assert answer.status == 401
    error = error_of(answer)
    assert (error["type"], error["code"]) == ("authentication_error", "unauthorized")
    assert ("request_id" in answer.json()) == (path == MESSAGES)
    shown = answer.head.raw + answer.body
    secrets = [word for _, value in REFUSED[case] for word in value.split() if word.lower() not in ("bearer", "basic")]
    assert not [secret for secret in secrets if len(secret) > 1 and secret.encode("latin-1") in shown]
    assert upstream.requests == []
    (line,) = front.access_log()
    assert (line["outcome"], line["status"], line["tenant"], line["key"]) == ("unauthorized", 401, None, None)


@pytest.mark.parametrize("case", ACCEPTED)
async def test_right_credential_is_accepted(make_gateway: MakeGateway, upstream: ScriptedUpstream, case: str) -> None:
    """One key in either header, or the same key in both as some SDKs send it."""
    upstream.next(openai_answer(), anthropic_answer())
    front = await open_front(make_gateway, upstream)
    assert (await front.post(CHAT, ASK, credential=ACCEPTED[case])).status == 200
    assert (await front.post(MESSAGES, ASK_MESSAGES, credential=ACCEPTED[case])).status == 200
    assert {(line["tenant"], line["key"]) for line in front.access_log()} == {("acme", "web")}
    for request in upstream.requests:
        assert KEY not in str(request.headers)


@pytest.mark.parametrize("credential", ["key", "Key", "api_key", "access_token"])
async def test_credential_in_the_query_is_none(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, credential: str
) -> None:
    """A key in the URL would end in every log on the way: it does not count."""
    front = await open_front(make_gateway, upstream)
    answer = await front.post(f"{CHAT}?{credential}={KEY}", ASK, ("Cookie", f"{credential}={KEY}"), credential=())
    assert answer.status == 401


async def test_nothing_of_the_body_is_awaited_before_the_key_is_known(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """A head that announces 1 GiB without a key is answered at once, with no byte of the body sent."""
    front = await open_front(make_gateway, upstream)
    for headers in ([("Content-Length", str(2**30))], [("Transfer-Encoding", "chunked")]):
        async with await RawClient.connect(front.url) as client:
            await client.send(request_wire("POST", CHAT, ("Host", "gateway"), *headers))
            assert (await client.answer()).status == 401


@pytest.mark.parametrize("header", FORWARDING_HEADERS)
async def test_demo_key_is_refused_behind_a_proxy(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, header: str
) -> None:
    """The demo's key is public: a request that was forwarded may come from anywhere. Other keys do not mind."""
    demo = f"""
providers:
  demo: {{dialect: openai, base_url: "{upstream.openai_base}"}}
models:
  sim-chat: {{targets: [demo/sim-chat], price: {{input: 1, output: 1}}}}
tenants:
- {{id: demo, keys: [{{id: demo, hash: "{hash_key(DEMO_KEY)}"}}]}}
- {{id: local, keys: [{{id: local, hash: "{hash_key(KEY)}"}}]}}
"""
    upstream.always(openai_answer())
    gateway = await make_gateway(demo, start={"local_only": frozenset({"demo"}), "access_log": None})
    for key, forwarded, status in (
        (DEMO_KEY, True, 401),
        (DEMO_KEY, False, 200),
        (KEY, True, 200),
    ):
        async with await RawClient.connect(gateway.url) as client:
            headers = [("Authorization", f"Bearer {key}"), *([(header, "203.0.113.7")] if forwarded else [])]
            await client.post(CHAT, {**ASK, "model": "sim-chat"}, *headers)
            assert (await client.answer()).status == status
