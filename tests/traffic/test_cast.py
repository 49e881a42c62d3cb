"""Who asks what agrees with docs/examples/demo.yaml, and with the simulator."""

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.simulator import MODELS
from gateway.tenancy.tenants import hash_key
from gateway.traffic.cast import (
    CHAT,
    DEMO,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Caller,
    Question,
    alone,
    body_of,
    headers_of,
)

EXAMPLE = Path(__file__).parents[2] / "docs/examples/demo.yaml"
FORBIDDEN = {("globex", "flagship")}
"""What is asked though the tenant may not, so that a refusal is seen too."""


@pytest.fixture(scope="module")
def example() -> Config:
    """The configuration that the demo runs on, with nothing set."""
    return load(EXAMPLE, {})


@pytest.mark.parametrize("caller", DEMO, ids=lambda caller: caller.name)
def test_tenants_have_the_callers_keys(caller: Caller, example: Config) -> None:
    """By the hash of the example, which holds no key."""
    (tenant,) = (one for one in example.tenants if one.id == caller.name)
    assert [key.hash for key in tenant.keys] == [hash_key(caller.key)]


def test_every_tenant_asks_and_every_model_is_asked_for(example: Config) -> None:
    """Otherwise a line of the example would be there for nothing."""
    assert [tenant.id for tenant in example.tenants] == [caller.name for caller in DEMO]
    assert {question.model for caller in DEMO for question in caller.questions} == set(example.models.names())


def test_callers_may_ask_what_they_ask(example: Config) -> None:
    """But for what is forbidden on purpose; and in the dialect of the model's providers."""
    dialects = {name: provider.dialect for name, provider in example.providers.items()}
    refused = set()
    for caller in DEMO:
        (tenant,) = (one for one in example.tenants if one.id == caller.name)
        for question in caller.questions:
            allowed = any(
                question.model == pattern or (pattern.endswith("*") and question.model.startswith(pattern[:-1]))
                for pattern in tenant.models
            )
            if not allowed:
                refused.add((caller.name, question.model))
            route = example.models.resolve(question.model)
            assert route is not None
            expected = "anthropic" if question.route == MESSAGES else "openai"
            assert {dialects[target.provider] for target in route.targets} == {expected}
            assert {target.model for target in route.targets} <= set(MODELS)
    assert refused == FORBIDDEN


def test_whoever_has_only_a_key_asks_the_simulator_alone() -> None:
    """Names that no real provider has: such traffic never costs money."""
    (caller,) = alone("gw-demo")
    assert caller.key == "gw-demo"
    assert {question.model for question in caller.questions} <= set(MODELS)
    assert all((q.route == MESSAGES) == q.model.startswith("claude-") for q in caller.questions)


def test_keys_are_not_shown() -> None:
    """A caller in a traceback or a log says nothing about its key."""
    assert "secret" not in repr(alone("secret"))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            Question(CHAT, "m", max_tokens=9, warm=True),
            {
                "model": "m",
                "stream": True,
                "messages": [{"role": "user", "content": "Hi"}],
                "max_tokens": 9,
                "temperature": 0,
            },
        ),
        (
            Question(MESSAGES, "m", stream=False, max_tokens=9),
            {"model": "m", "stream": False, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
        ),
        (Question(RESPONSES, "m", max_tokens=9), {"model": "m", "stream": True, "input": "Hi", "max_output_tokens": 9}),
        (Question(EMBEDDINGS, "m", stream=False), {"model": "m", "input": "Hi"}),
    ],
    ids=lambda value: value.route if isinstance(value, Question) else "",
)
def test_body(question: Question, expected: dict[str, object]) -> None:
    """Each route in its own words."""
    assert body_of(question, "Hi") == expected


def test_a_tool_is_offered_where_the_question_has_one() -> None:
    """And nowhere else."""
    assert "tools" in body_of(Question(CHAT, "m", tools=True), "Hi")
    assert "tools" not in body_of(Question(CHAT, "m"), "Hi")


def test_key_is_sent_as_the_dialect_has_it() -> None:
    """As the SDKs of the two send it."""
    assert headers_of(Question(CHAT, "m"), "k") == {"Authorization": "Bearer k"}
    assert headers_of(Question(MESSAGES, "m"), "k") == {"x-api-key": "k", "anthropic-version": "2023-06-01"}
