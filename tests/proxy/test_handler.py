"""The line as a whole: every request goes through it once, ends once, and failures of ours stay ours."""

import logging
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.core.outcome import Outcome
from gateway.dialects import OPERATIONS
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.handler import dialect_of
from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, CHAT, MESSAGES, error_of, open_front

SECRET = "the-prompt-that-nobody-may-see"


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/v1/chat/completions", {}, "openai"),
        ("/v1/chat/completions", {"anthropic-version": "2023-06-01"}, "openai"),
        ("/v1/messages", {}, "anthropic"),
        ("/v1/messages/count_tokens", {}, "anthropic"),
        ("/v1/models", {}, "openai"),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, "anthropic"),
        ("/nowhere", {}, "openai"),
        ("/nowhere", {"Anthropic-Version": "x"}, "anthropic"),
        ("/v1/messages/batches", {}, "anthropic"),
    ],
)
def test_dialect_is_the_route_s_else_the_header_s(path: str, headers: dict[str, str], name: str) -> None:
    """A request is Anthropic's if its route is, or if it names their version."""
    operation = next((operation for operation in OPERATIONS if operation.path == path), None)
    assert dialect_of(make_mocked_request("POST", path, headers=headers), operation).name == name


async def test_failure_of_our_own_is_a_500_with_an_id(
    make_gateway: MakeGateway,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback stands in the log under the id that the client has, without the prompt; then all is well again."""

    async def fail(*_: Any) -> None:
        raise KeyError("a bug")

    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    ask = {**ASK, "messages": [{"role": "user", "content": SECRET}]}
    with monkeypatch.context() as broken:
        broken.setattr(Dispatch, "open", fail)
        answer = await front.post(CHAT, ask)
    assert (answer.status, error_of(answer)["code"]) == (500, "internal")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (answer.head.get("x-request-id") or "?") in record.getMessage()
    assert "a bug" not in answer.body.decode()
    assert SECRET not in caplog.text
    assert (await front.post(CHAT, ask)).status == 200
    assert [(line["outcome"], line["level"]) for line in front.access_log()] == [
        ("internal", "warning"),
        ("success", "info"),
    ]
    scrape = await front.scrape()
    labels = {"tenant_id": "acme", "provider": "none", "model": "gpt-4o-mini", "status": "internal"}
    assert scrape.value("aigateway_requests_total", **labels) == 1


async def test_nothing_stays_in_the_line(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """After refusals, failures and answers no exchange is held."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    for path, body in ((CHAT, ASK), (CHAT, b"{"), (MESSAGES, {"model": "nope"}), (CHAT, {**ASK, "model": "nope"})):
        await front.post(path, body)
    assert len(front.gateway.live) == 0


async def test_requests_are_counted_once_each(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """By tenant, model and outcome: `none` before a key is known, `other` for a name of nobody's configuration."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    await front.post(CHAT, ASK)
    await front.post(CHAT, ASK, credential=())
    await front.post(CHAT, {**ASK, "model": "nope"})
    await front.post(CHAT, b"{")
    await front.get("/nowhere")
    await front.get("/v1/models")
    scrape = await front.scrape()
    counted = {
        (labels["tenant_id"], labels["provider"], labels["model"], labels["status"])
        for labels in scrape.series("aigateway_requests_total")
        if scrape.value("aigateway_requests_total", **labels)
    }
    assert counted == {
        ("acme", "one", "gpt-4o-mini", Outcome.SUCCESS),
        ("none", "none", "none", Outcome.UNAUTHORIZED),
        ("acme", "none", "other", Outcome.INVALID_REQUEST),
        ("acme", "none", "none", Outcome.INVALID_REQUEST),
        ("none", "none", "none", Outcome.INVALID_REQUEST),
        ("acme", "none", "none", Outcome.SUCCESS),
    }
    durations = [
        scrape.value("aigateway_request_duration_seconds_count", **labels)
        for labels in scrape.series("aigateway_request_duration_seconds_count")
    ]
    assert sum(durations) == 6
