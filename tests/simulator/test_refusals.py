"""Errors as the providers word them."""

import orjson
import pytest

from gateway.simulator.refusals import REFUSALS, Refused, invalid, unknown_model


@pytest.mark.parametrize("name", REFUSALS)
def test_both_dialects_have_their_shape(name: str) -> None:
    """Every refusal is a whole error object of either provider, with the model's name filled in."""
    refused = Refused(REFUSALS[name], "some-model")
    openai = orjson.loads(refused.body(anthropic=False, request_id="req_1"))
    assert set(openai["error"]) == {"message", "type", "param", "code"}
    anthropic = orjson.loads(refused.body(anthropic=True, request_id="req_1"))
    assert anthropic["type"] == "error"
    assert anthropic["request_id"] == "req_1"
    assert "{model}" not in openai["error"]["message"] + anthropic["error"]["message"]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("400", "invalid_request_error"),
        ("401", "authentication_error"),
        ("404", "not_found_error"),
        ("429", "rate_limit_error"),
        ("429-quota", "rate_limit_error"),
        ("500", "api_error"),
        ("529", "overloaded_error"),
    ],
)
def test_anthropic_types(name: str, type_: str) -> None:
    """The types of Anthropic's error page belong to their status."""
    assert Refused(REFUSALS[name]).document(anthropic=True, request_id="")["error"]["type"] == type_


def test_only_what_passes_says_when_to_come_back() -> None:
    """A rate limit and an overload carry `Retry-After`; a spent quota does not."""
    waits = {name for name in REFUSALS if "Retry-After" in Refused(REFUSALS[name]).headers(anthropic=False)}
    assert waits == {"429", "503"}
    assert Refused(REFUSALS["429"]).headers(anthropic=True) == {
        "Retry-After": "1",
        "anthropic-ratelimit-requests-remaining": "0",
    }


def test_a_quota_is_told_from_a_rate() -> None:
    """OpenAI's two kinds of 429 differ by type and code."""
    rate, quota = (
        Refused(REFUSALS[name]).document(anthropic=False, request_id="")["error"] for name in ("429", "429-quota")
    )
    assert (rate["type"], rate["code"]) == ("requests", "rate_limit_exceeded")
    assert (quota["type"], quota["code"]) == ("insufficient_quota", "insufficient_quota")


def test_mistakes_name_the_field() -> None:
    """Anthropic's wording begins with the field, OpenAI's has it apart."""
    refused = invalid("Field required", "max_tokens")
    assert refused.document(anthropic=True, request_id="")["error"]["message"] == "max_tokens: Field required"
    assert refused.document(anthropic=False, request_id="")["error"]["param"] == "max_tokens"
    assert unknown_model("x{y}").document(anthropic=True, request_id="")["error"]["message"] == "model: x{y}"
