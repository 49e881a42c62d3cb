"""What spans are called and what they say: names of the OpenTelemetry GenAI conventions, and ours beside them.

Names of ``gen_ai.*`` are those of the GenAI semantic conventions 0.1.0
(https://github.com/open-telemetry/semantic-conventions-genai, status: Development); those of ``http.*``, ``url.*``,
``server.*`` and ``error.type`` are of the general ones. No prompt, no answer and no key is in any of them.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from yarl import URL

from gateway.core.outcome import CONSEQUENCES, Fault, Outcome
from gateway.core.tokens import Source
from gateway.dialects import Operation
from gateway.proxy.exchange import Attempt, Exchange, Order

Attributes = dict[str, str | int | float | bool]

_OPERATIONS: Final[Mapping[str, str]] = {"responses": "chat"}
"""The convention's word where ours is another: it counts OpenAI's Responses among chat completions."""

_NO_ERRORS: Final = frozenset({Outcome.SUCCESS, Outcome.HEDGE_LOST})
_ENDED_BY_US: Final = frozenset({*_NO_ERRORS, Outcome.CLIENT_CLOSED, Outcome.BUDGET_CUT, Outcome.DRAINING})
"""Endings of an attempt that say nothing against its provider."""


def operation_name(operation: Operation) -> str:
    """The value of ``gen_ai.operation.name``."""
    return _OPERATIONS.get(operation.name, operation.name)


def request_name(exchange: Exchange, operation: Operation) -> str:
    """``chat gpt-4o``; without the model where it leads nowhere, as clients can make up as many as they like."""
    name = operation_name(operation)
    return name if exchange.label is None else f"{name} {exchange.asked}"


def of_request(exchange: Exchange, operation: Operation) -> Attributes:
    """What is known of a request when its span begins."""
    found: Attributes = {
        "gen_ai.operation.name": operation_name(operation),
        "http.request.method": exchange.request.method,
        "http.route": operation.path,
        "url.path": operation.path,
        "aigateway.request.id": exchange.id,
    }
    if exchange.asked is not None:
        found["gen_ai.request.model"] = exchange.asked
    return found


def of_request_ended(exchange: Exchange) -> Attributes:
    """What is known of it in the end."""
    outcome = exchange.outcome or Outcome.INTERNAL
    found: Attributes = {
        "aigateway.outcome": outcome.value,
        "aigateway.attempts": len(exchange.attempts),
        "aigateway.cost_nanousd": exchange.cost_nanousd,
    }
    if exchange.identity is not None:
        found["aigateway.tenant.id"] = exchange.identity.tenant.id
    if exchange.status:
        found["http.response.status_code"] = exchange.status
    if exchange.downstream is not None:
        found["gen_ai.request.stream"] = True
    if exchange.stream is not None and exchange.stream.first_at is not None:
        found["gen_ai.response.time_to_first_chunk"] = exchange.stream.first_at - exchange.started_at
    if outcome not in _NO_ERRORS:
        found["error.type"] = exchange.error.code if exchange.error is not None else outcome.value
    return found


def request_failed(exchange: Exchange) -> bool:
    """Whether its span has the status Error: somebody other than the client is to blame."""
    return CONSEQUENCES[exchange.outcome or Outcome.INTERNAL].fault not in (Fault.NONE, Fault.CLIENT)


def attempt_name(order: Order, attempt: Attempt) -> str:
    return f"{operation_name(order.operation)} {attempt.target.model}"


def of_attempt(order: Order, attempt: Attempt) -> Attributes:
    """What is known of an attempt when its span begins."""
    provider, view = attempt.turn.state.provider, order.view
    host, port = _address(provider.settings.base_url)
    found: Attributes = {
        "gen_ai.operation.name": operation_name(order.operation),
        # the flavour of the telemetry, not who is paid: any server may speak a dialect
        "gen_ai.provider.name": provider.settings.dialect,
        "gen_ai.request.model": attempt.target.model,
        "server.address": host,
        "server.port": port,
        "aigateway.provider": provider.name,
    }
    if view.stream:
        found["gen_ai.request.stream"] = True
    if view.choices != 1:
        found["gen_ai.request.choice.count"] = view.choices
    if view.max_output is not None:
        found["gen_ai.request.max_tokens"] = view.max_output
    return found


def of_attempt_ended(exchange: Exchange, attempt: Attempt, said: Attributes) -> Attributes:
    """What is known of it in the end. Tokens stand at the one attempt that served, so that sums count nothing twice.

    Args:
        said: what a stream's first event has said (:func:`of_first_event`).
    """
    outcome = attempt.outcome or Outcome.INTERNAL
    found: Attributes = {"aigateway.outcome": outcome.value, **said}
    if outcome not in _NO_ERRORS:
        found["error.type"] = outcome.value
    if attempt is not exchange.served:
        return found
    if exchange.answer is not None:
        found |= _of_answer(exchange.answer)
    if exchange.stream is not None and exchange.stream.first_at is not None:
        found["gen_ai.response.time_to_first_chunk"] = exchange.stream.first_at - attempt.started_at
    usage = exchange.usage
    if usage.source is Source.NONE:
        return found
    found |= {
        "gen_ai.usage.input_tokens": usage.input_total,
        "gen_ai.usage.output_tokens": usage.output,
        "aigateway.usage.source": usage.source.value,
    }
    details = {
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write + usage.cache_write_1h,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }
    return found | {name: tokens for name, tokens in details.items() if tokens}


def attempt_failed(attempt: Attempt) -> bool:
    """Whether its span has the status Error: it brought no whole answer, and not because somebody ended it here."""
    return attempt.outcome not in _ENDED_BY_US


def of_first_event(payload: bytes) -> Attributes:
    """What the first event of a stream says of itself: its id, and the model that answers. Nothing if it is silent."""
    at = payload.find(b"data:")
    line = payload[at + len(b"data:") :].partition(b"\n")[0] if at >= 0 else b""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(event, dict):
        return {}
    inner = event.get("message") or event.get("response")  # Anthropic's message_start; OpenAI's response.created
    return _of_answer(inner if isinstance(inner, dict) else event)


def _of_answer(document: Mapping[str, Any]) -> Attributes:
    found = {"gen_ai.response.id": document.get("id"), "gen_ai.response.model": document.get("model")}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


@lru_cache(maxsize=256)
def _address(base_url: str) -> tuple[str, int]:
    url = URL(base_url)
    return url.host or "", url.port or 0
