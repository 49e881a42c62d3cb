"""`GET /v1/models`: what this key may call, in the words of either dialect."""

import pytest

from tests.conftest import MakeGateway
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import NARROW_KEY, error_of, open_front

ANTHROPIC = ("anthropic-version", "2023-06-01")
NARROW = (("x-api-key", NARROW_KEY),)
PATH = "/v1/models"


async def test_list_in_openai_s_words(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Exact names in the configuration's order; patterns stand for names that nobody can list."""
    front = await open_front(make_gateway, upstream, start={"wall_clock": lambda: 1_800_000_000.9})
    answer = await front.get(PATH)
    assert answer.json() == {
        "object": "list",
        "data": [
            {"id": "gpt-4o-mini", "object": "model", "created": 1_800_000_000, "owned_by": "one"},
            {"id": "claude-sonnet-4-5", "object": "model", "created": 1_800_000_000, "owned_by": "two"},
        ],
    }
    assert answer.head.get("request-id") is None


async def test_list_in_anthropic_s_words(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Their shape where their version is named: https://docs.anthropic.com/en/api/models-list."""
    front = await open_front(make_gateway, upstream)
    answer = await front.get(PATH, ANTHROPIC)
    document = answer.json()
    assert {key: value for key, value in document.items() if key != "data"} == {
        "has_more": False,
        "first_id": "gpt-4o-mini",
        "last_id": "claude-sonnet-4-5",
    }
    assert [set(item) for item in document["data"]] == [{"type", "id", "display_name", "created_at"}] * 2
    assert answer.head.get("request-id") == answer.head.get("x-request-id")


async def test_list_holds_what_the_key_may_call(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """The allow-list cuts it, in both shapes."""
    front = await open_front(make_gateway, upstream)
    for headers in ((), (ANTHROPIC,)):
        answer = await front.get(PATH, *headers, credential=NARROW)
        assert [model["id"] for model in answer.json()["data"]] == ["gpt-4o-mini"]


@pytest.mark.parametrize("name", ["gpt-4o-mini", "llama-3.3-70b", "llama-3%2Fx", "llama-3/x", "llama-3:free@1"])
async def test_one_model(make_gateway: MakeGateway, upstream: ScriptedUpstream, name: str) -> None:
    """By its name, slashes and all; a name that a pattern covers is there too."""
    front = await open_front(make_gateway, upstream)
    plain = name.replace("%2F", "/")
    for headers in ((), (ANTHROPIC,)):
        answer = await front.get(f"{PATH}/{name}", *headers, credential=NARROW)
        assert (answer.status, answer.json()["id"]) == (200, plain)


@pytest.mark.parametrize(
    "name", ["nope", "claude-sonnet-4-5", "not-configured", "llama-3%0d%0ax:y", "llama-*", "%ff", "a" * 200]
)
async def test_model_that_is_not_there_for_this_key(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, name: str
) -> None:
    """404, the same for what is forbidden and for what does not exist."""
    front = await open_front(make_gateway, upstream)
    for headers, kind in (((), "invalid_request_error"), ((ANTHROPIC,), "not_found_error")):
        answer = await front.get(f"{PATH}/{name}", *headers, credential=NARROW)
        assert answer.status == 404
        error = error_of(answer)
        assert (error["code"], error["type"]) == ("model_not_found", kind)
        assert "There is no such model" in error["message"]


async def test_list_needs_a_key(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """401 for the list and for one model."""
    front = await open_front(make_gateway, upstream)
    for path in (PATH, f"{PATH}/gpt-4o-mini"):
        assert error_of(await front.get(path, credential=()))["code"] == "unauthorized"
    assert [line["tenant"] for line in front.access_log()] == [None, None]
