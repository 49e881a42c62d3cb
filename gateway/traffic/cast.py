"""Who asks and what: the tenants of docs/examples/demo.yaml, and one caller who has only a key."""

from dataclasses import dataclass, field
from typing import Final, Literal

Route = Literal["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"]

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
RESPONSES: Final = "/v1/responses"
EMBEDDINGS: Final = "/v1/embeddings"

KEEP_WARM: Final = "[cached] "
"""Makes the simulator report half of the prompt as read from the provider's cache."""

PROMPTS: Final = (
    "Summarise this ticket for the engineer on call.",
    "Why did the last deploy take longer than the one before?",
    "Write a friendly answer to a customer who waits for a refund.",
    "Explain back-pressure to somebody who has never queued for anything.",
    "Which of these three invoices was paid twice?",
    KEEP_WARM + "You are the assistant of the service desk. " * 20 + "Where do I reset my password?",
    KEEP_WARM + "The handbook of the company follows. " * 40 + "How many days of leave are left in March?",
)
"""Few, so that a response cache sees them again."""

TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up_order",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
    },
}


@dataclass(frozen=True, slots=True)
class Question:
    """One kind of request that a caller makes.

    Attributes:
        route: where to; it decides the dialect.
        model: what is asked for.
        stream: whether the answer is streamed.
        weight: how often, beside the caller's other questions.
        max_tokens: the most that is asked for.
        leaves: share of these requests whose client goes away before the end.
        tools: whether a tool is offered.
        warm: whether it is asked at temperature 0, which a response cache may answer.
    """

    route: Route
    model: str
    stream: bool = True
    weight: float = 1.0
    max_tokens: int = 200
    leaves: float = 0.0
    tools: bool = False
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a key; ``weight`` is how often they ask, beside the others."""

    name: str
    key: str = field(repr=False)
    weight: float
    questions: tuple[Question, ...]


DEMO: Final = (
    Caller(
        "acme",
        "gw-demo-acme",
        4.0,
        (
            Question(CHAT, "assistant", weight=5, leaves=0.08),
            Question(CHAT, "assistant", stream=False, weight=2, warm=True),
            Question(CHAT, "deep-thought", weight=0.5, leaves=0.2),
            Question(RESPONSES, "assistant", weight=1),
            Question(EMBEDDINGS, "embedder", stream=False, weight=1.5),
            Question(CHAT, "preview", weight=0.3),
        ),
    ),
    Caller(
        "globex",
        "gw-demo-globex",
        2.0,
        (
            Question(CHAT, "quick", weight=4, leaves=0.02),
            Question(CHAT, "quick", stream=False, weight=2, warm=True),
            Question(CHAT, "assistant", weight=1, tools=True),
            Question(CHAT, "experimental", weight=1, stream=False),
            # not among the models that its key may use
            Question(CHAT, "flagship", weight=0.1),
        ),
    ),
    Caller(
        "initech",
        "gw-demo-initech",
        2.0,
        (Question(CHAT, "flagship", weight=4, leaves=0.05), Question(CHAT, "flagship", stream=False, weight=1)),
    ),
    Caller(
        "umbrella",
        "gw-demo-umbrella",
        2.0,
        (
            Question(MESSAGES, "claude-assistant", weight=4, leaves=0.08),
            Question(MESSAGES, "claude-assistant", stream=False, weight=1, warm=True),
            Question(MESSAGES, "claude-quick", weight=1),
        ),
    ),
)
"""The tenants of the demo; everybody knows their keys, which reach the simulator and nothing else."""

_OF_THE_SIMULATOR: Final = (
    Question(CHAT, "sim-chat", weight=5, leaves=0.08),
    Question(CHAT, "sim-fast", weight=3),
    Question(CHAT, "sim-fast", stream=False, weight=2, warm=True),
    Question(CHAT, "sim-slow", weight=0.5, leaves=0.3),
    Question(CHAT, "sim-tools", weight=0.5, tools=True),
    Question(RESPONSES, "sim-chat", weight=1),
    Question(EMBEDDINGS, "sim-fast", stream=False, weight=1),
    Question(MESSAGES, "claude-sim-chat", weight=3, leaves=0.05),
    Question(MESSAGES, "claude-sim-fast", stream=False, weight=1, warm=True),
    Question(CHAT, "sim-flaky-30", weight=0.7),
    Question(CHAT, "sim-error-mid-stream", weight=0.2),
    Question(CHAT, "sim-429", weight=0.2),
)


def alone(key: str) -> tuple[Caller, ...]:
    """Return a cast of one, who asks for models of the simulator by their own names: no traffic that costs money."""
    return (Caller("you", key, 1.0, _OF_THE_SIMULATOR),)


def headers_of(question: Question, key: str) -> dict[str, str]:
    """Return what to send beside the body: the key as the question's dialect sends it."""
    if question.route == MESSAGES:
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"Authorization": f"Bearer {key}"}


def body_of(question: Question, prompt: str) -> dict[str, object]:
    """Return the document that asks it."""
    if question.route == EMBEDDINGS:
        return {"model": question.model, "input": prompt}
    body: dict[str, object] = {"model": question.model, "stream": question.stream}
    if question.route == RESPONSES:
        return {**body, "input": prompt, "max_output_tokens": question.max_tokens}
    body |= {"messages": [{"role": "user", "content": prompt}], "max_tokens": question.max_tokens}
    if question.warm:
        body["temperature"] = 0
    if question.tools:
        body["tools"] = [TOOL]
    return body
