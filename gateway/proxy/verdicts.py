"""What a provider's answer means: from its status and its words to one of our outcomes."""

from collections.abc import Mapping

import orjson

from gateway.core.errors import GatewayError
from gateway.core.retry_after import retry_after_s
from gateway.core.routing import ANY, Route, Target
from gateway.dialects import ANTHROPIC
from gateway.proxy.answers import ProviderFailure, ProviderRefusal, Rests
from gateway.upstream.provider import Provider, crossing_headers

ERROR_BODY_LIMIT_BYTES = 64 * 1024

_OF_OUR_OWN_MAKING = {401: Rests.KEY_REFUSED, 402: Rests.KEY_EXHAUSTED, 403: Rests.NOTHING}

UNSAID_WAIT_S = 1.0
"""How long a throttled key or target rests where the provider does not say."""

_EXHAUSTED = "insufficient_quota"
"""OpenAI's code of a 429 that no wait cures (https://platform.openai.com/docs/guides/error-codes)."""


def judge(
    provider: Provider,
    target: Target,
    route: Route,
    answer: tuple[int, Mapping[str, str], bytes],
    now: float,
) -> GatewayError:
    """The error that a status other than 200 stands for.

    A provider's 401, 402 and 403 concern the operator's account: the client's key is fine, so the client gets a 502.
    A 404 is the operator's too, unless the model's name came from the client through a pattern. Anthropic's 429 names
    a wait where it is for speed (https://docs.anthropic.com/en/api/rate-limits); without one it is a spending limit.

    Args:
        answer: status, headers, and as much of the body as says what is wrong.
        now: Unix seconds.
    """
    name = provider.name
    status, headers, body = answer
    if status in _OF_OUR_OWN_MAKING:
        words = f"The provider {name} does not accept the gateway's credential."
        return ProviderFailure("provider_auth", words, _OF_OUR_OWN_MAKING[status])
    wait = retry_after_s(headers, now)
    if status in (429, 529) or (status == 503 and wait is not None):
        exhausted = _is_exhausted(body) or (wait is None and provider.dialect is ANTHROPIC)
        rests = Rests.TARGET if status != 429 else Rests.KEY_EXHAUSTED if exhausted else Rests.KEY
        return ProviderFailure(
            "provider_throttled",
            f"The provider {name} is over its limit or overloaded. Try again later.",
            rests,
            retry_after_s=wait if wait is not None else UNSAID_WAIT_S,
            is_guess=wait is None,
        )
    if status == 404 and not (route.label.endswith(ANY) and target.model == route.asked):
        return _misrouted(name, target)
    if 400 <= status < 500 and status != 408:
        return _refusal(provider, status, headers, body)
    return GatewayError("provider_error", f"The provider {name} answered with status {status}.", retry_after_s=wait)


def _is_exhausted(body: bytes) -> bool:
    """Whether a 429 says that the account has no money left, rather than that it goes too fast (OpenAI's says so)."""
    try:
        error = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
    return isinstance(error, dict) and _EXHAUSTED in (error.get("code"), error.get("type"))


def _misrouted(name: str, target: Target) -> GatewayError:
    return GatewayError("provider_misrouted", f"The provider {name} does not know the model {target.model}.")


def _refusal(provider: Provider, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    try:
        is_error = provider.dialect.is_error(orjson.loads(body))
    except orjson.JSONDecodeError:
        is_error = False
    if is_error:
        return ProviderRefusal(status, provider.keys.scrub(body), crossing_headers(headers))
    if status == 404:
        return GatewayError("provider_misrouted", f"The provider {provider.name} has no such endpoint or model.")
    return GatewayError("invalid_request", f"The provider {provider.name} refused the request with status {status}.")
