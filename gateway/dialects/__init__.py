"""The dialects: what a request asks for, what an event or an answer says, how an error looks. Pure."""

from gateway.dialects.anthropic import ANTHROPIC, CountTokens, Messages
from gateway.dialects.openai import OPENAI, ChatCompletions, Completions, Embeddings
from gateway.dialects.operation import Dialect, Operation
from gateway.dialects.responses import Responses

OPERATIONS: tuple[Operation, ...] = (
    ChatCompletions(),
    Completions(),
    Embeddings(),
    Responses(),
    Messages(),
    CountTokens(),
)
"""Every endpoint that is relayed to a provider."""

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (OPENAI, ANTHROPIC)}

__all__ = ["ANTHROPIC", "DIALECTS", "OPENAI", "OPERATIONS", "Dialect", "Operation"]
