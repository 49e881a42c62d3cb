"""What is a valid request document: one that every parser reads alike, forwarded byte for byte."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.provider_answers import anthropic_answer, openai_answer
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK_OF, CHAT, MESSAGES, error_of, open_front

SECRET = "the-prompt-that-nobody-may-see"


def with_member(path: str, member: str) -> bytes:
    """A good request of a route with one more member, written as it is."""
    return json.dumps(ASK_OF[path])[:-1].encode() + b", " + member.encode("utf-8", "surrogatepass") + b"}"


UNREADABLE: dict[str, str] = {
    "the model twice": f'"model": "gpt-4o-mini", "note": "{SECRET}"',
    "a key twice further in": f'"metadata": {{"a": 1, "a": "{SECRET}"}}',
    "a key twice, once escaped": f'"note": "{SECRET}", "n\\u006fte": 1',
    "NaN": '"temperature": NaN',
    "Infinity": '"temperature": Infinity',
    "-Infinity": '"temperature": -Infinity',
    "depth 201": '"tools": ' + "[" * 200 + "]" * 200,
    "depth 100,000": '"tools": ' + "[" * 100_000 + "]" * 100_000,
    "19 digits": '"seed": 1234567890123456789',
    "-19 digits": '"seed": -1234567890123456789',
    "5,000 digits": f'"seed": {"9" * 5000}',
    "half a pair, high": '"note": "\\ud800"',
    "half a pair, low": '"note": "\\udc00 x"',
    "half a pair in a key": '"\\udfff": 1',
    "half a pair as bytes": '"note": "\ud800"',
    "a control character": '"note": "a\nb"',
    "an unknown escape": '"note": "\\x41"',
    "single quotes": "'note': 1",
    "a trailing comma": '"note": 1,',
    "a comment": '"note": 1 /* x */',
    "a leading zero": '"seed": 01',
    "a leading plus": '"seed": +1',
    "a hexadecimal number": '"seed": 0x10',
    "True": '"stream": True',
    "an unfinished string": f'"note": "{SECRET}',
}
UNREADABLE_WHOLE: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"   ",
    "a list": b'[{"model": "gpt-4o-mini"}]',
    "a string": b'"gpt-4o-mini"',
    "null": b"null",
    "a number": b"1",
    "not UTF-8": b'{"model": "gpt-4o-mini\xff"}',
    "UTF-16": '{"model": "gpt-4o-mini"}'.encode("utf-16"),
    "UTF-8 with a mark": b'\xef\xbb\xbf{"model": "gpt-4o-mini"}',
    "two documents": b'{"model": "gpt-4o-mini"}{"model": "gpt-4o-mini"}',
    "a form": b"model=gpt-4o-mini&stream=true",
    "an overlong encoding": b'{"model": "gpt\xc0\xaf"}',
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("case", [*UNREADABLE, *UNREADABLE_WHOLE])
async def test_ambiguous_document_is_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, case: str
) -> None:
    """400 in the dialect; the sentence says what is wrong and quotes nothing; the provider hears nothing."""
    front = await open_front(make_gateway, upstream)
    body = with_member(path, UNREADABLE[case]) if case in UNREADABLE else UNREADABLE_WHOLE[case]
    answer = await front.post(path, body)
    assert answer.status == 400
    error = error_of(answer)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_request", None)
    assert error["message"].startswith("The request body ")
    assert SECRET not in answer.body.decode()
    assert upstream.requests == []


READABLE: dict[str, str] = {
    "depth 200": '"tools": ' + "[" * 199 + "]" * 199,
    "brackets in a string": f'"note": "{"[{" * 300}"',
    "18 digits": '"seed": 123456789012345678',
    "a number in another form": '"temperature": 1.0E-2, "top_p": 0.10',
    "a huge exponent": '"temperature": 1e400',
    "a pair": '"note": "\\ud83d\\ude00 \U0001f600"',
    "an escaped slash": '"note": "a\\/b"',
    "the same key on other levels": '"metadata": {"model": {"model": 1}}, "more": {"model": 2}',
    "unknown members": '"x_vendor": {"a": [1, 2.50, null, true]}, "Ünknown": "\\u00fc"',
    "blanks": ' \t\r\n"note" \n : \r 1 ',
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("case", READABLE)
async def test_document_reaches_the_provider_byte_for_byte(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, case: str
) -> None:
    """Unknown members, odd blanks, number forms and escapes pass as they are written."""
    upstream.next(openai_answer() if path == CHAT else anthropic_answer())
    front = await open_front(make_gateway, upstream)
    body = with_member(path, READABLE[case])
    assert (await front.post(path, body)).status == 200
    assert upstream.requests[0].body == body


GOOD: Mapping[str, Mapping[str, Any]] = {
    **ASK_OF,
    "/v1/completions": {"model": "gpt-4o-mini", "prompt": "Hello"},
    "/v1/embeddings": {"model": "gpt-4o-mini", "input": "Hello"},
    "/v1/responses": {"model": "gpt-4o-mini", "input": "Hello"},
    "/v1/messages/count_tokens": {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]},
}
WRONG_FLAGS: list[Any] = ["true", 1, 0, [], {}]
WRONG_COUNTS: list[Any] = [0, -1, 1.5, "7", True, [], 10**9]
WRONG_LISTS: list[Any] = [None, [], {}, "Hello", 1]
WRONG: list[tuple[str, str, list[Any]]] = [
    (CHAT, "stream", WRONG_FLAGS),
    (CHAT, "n", WRONG_COUNTS),
    (CHAT, "max_tokens", WRONG_COUNTS),
    (CHAT, "max_completion_tokens", WRONG_COUNTS),
    (CHAT, "messages", WRONG_LISTS),
    (CHAT, "stream_options", [True, "x", [], 1]),
    ("/v1/completions", "prompt", [None, 1, {}]),
    ("/v1/completions", "stream", WRONG_FLAGS),
    ("/v1/completions", "max_tokens", WRONG_COUNTS),
    ("/v1/embeddings", "input", [None, [], "", 1, {}]),
    ("/v1/responses", "stream", WRONG_FLAGS),
    ("/v1/responses", "background", [True, "no", 1]),
    ("/v1/responses", "previous_response_id", [1, ["resp_1"]]),
    ("/v1/responses", "max_output_tokens", WRONG_COUNTS),
    (MESSAGES, "stream", WRONG_FLAGS),
    (MESSAGES, "max_tokens", [None, *WRONG_COUNTS]),
    (MESSAGES, "messages", WRONG_LISTS),
    ("/v1/messages/count_tokens", "messages", WRONG_LISTS),
]


@pytest.mark.parametrize(("path", "member", "values"), WRONG, ids=[f"{p} {m}" for p, m, _ in WRONG])
async def test_wrong_type_is_refused_by_name(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str, member: str, values: list[Any]
) -> None:
    """400, `param` names the member and the sentence does too; what we use is checked, in every dialect."""
    front = await open_front(make_gateway, upstream)
    for value in values:
        answer = await front.post(path, {**GOOD[path], member: value})
        assert answer.status == 400, value
        error = error_of(answer)
        assert error["param"] == member, value
        assert f"`{member}" in error["message"]
    assert upstream.requests == []


NAMES = [
    'a"} 1\nforged 1',
    "gpt-4o-mini\r\nx-forged: 1",
    "gpt-4o-mini\n\ndata: forged",
    "gpt 4o",
    " gpt-4o-mini",
    "gpt-4o-mini\x00",
    "モデル",
    "a" * 129,
    "z" * 10_240,
    "{{7*7}}",
    "<script>forged</script>",
    "' OR forged --",
    "gpt-4o-mini*",
    "",
    None,
    7,
    ["gpt-4o-mini"],
    {"id": "gpt-4o-mini"},
]


@pytest.mark.parametrize("path", GOOD)
async def test_model_names_are_plain_words(make_gateway: MakeGateway, upstream: ScriptedUpstream, path: str) -> None:
    """Whatever else is refused before it is used: it comes back in no header, no body, no metric and no log line."""
    front = await open_front(make_gateway, upstream)
    for name in NAMES:
        answer = await front.post(path, {**GOOD[path], "model": name})
        assert answer.status == 400
        assert error_of(answer)["param"] == "model"
        for trace in ("forged", "モデル", "zzzz"):
            assert trace not in answer.head.raw.decode() + answer.body.decode()
    scrape = await front.get("/metrics", credential=())
    for trace in ("forged", "モデル", "zzzz", "7*7"):
        assert trace not in scrape.body.decode()
        assert trace not in json.dumps(front.access_log(), ensure_ascii=False)
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["..", "../admin", "llama-3/../../x", "one/gpt-4o-mini", "a:b@c/d.e_f-g"])
async def test_plain_word_that_looks_like_a_path_is_only_a_name(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, name: str
) -> None:
    """No name chooses a provider, a host or a path."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    answer = await front.post(CHAT, {**GOOD[CHAT], "model": name})
    if name.startswith("llama-"):
        assert answer.status == 200
        assert [(request.path, request.json()["model"]) for request in upstream.requests] == [
            ("/v1/chat/completions", name)
        ]
    else:
        assert (answer.status, error_of(answer)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("member", ["api_base", "base_url", "api_key", "user_config", "extra_headers", "callbacks"])
async def test_members_that_steer_other_gateways_are_only_data(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, member: str
) -> None:
    """Address and credential of the provider come from the configuration, whatever the body or a header says."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    evil = "http://127.0.0.1:9/evil"
    answer = await front.post(CHAT, {**GOOD[CHAT], member: evil}, ("X-Api-Base", evil), ("X-Forwarded-Host", "evil"))
    assert answer.status == 200
    (request,) = upstream.requests
    assert request.path == "/v1/chat/completions"
    assert "evil" not in str(request.headers)
    assert request.json()[member] == evil
