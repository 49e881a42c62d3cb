"""What a provider's answer means: from its status and its words to one of our outcomes."""

from collections.abc import Mapping

import orjson

from gateway.core.errors import GatewayError
from gateway.core.retry_after import retry_after_s
from gateway.core.routing import ANY, Route, Target
from gateway.proxy.answers import ProviderRefusal
from gateway.upstream.provider import Provider, crossing_headers

ERROR_BODY_LIMIT_BYTES = 64 * 1024

_OF_OUR_OWN_MAKING = (401, 402, 403)


def judge(
    provider: Provider,
    target: Target,
    route: Route,
    answer: tuple[int, Mapping[str, str], bytes],
    now: float,
) -> GatewayError:
    """The error that a status other than 200 stands for.

    A provider's 401, 402 and 403 concern the operator's account: the client's key is fine, so the client gets a 502.
    A 404 is the operator's too, unless the model's name came from the client through a pattern.

    Args:
        answer: status, headers, and as much of the body as says what is wrong.
        now: Unix seconds.
    """
    name = provider.name
    status, headers, body = answer
    if status in _OF_OUR_OWN_MAKING:
        return GatewayError("provider_auth", f"The provider {name} does not accept the gateway's credential.")
    wait = retry_after_s(headers, now)
    if status in (429, 529) or (status == 503 and wait is not None):
        return GatewayError(
            "provider_throttled",
            f"The provider {name} is over its limit or overloaded. Try again later.",
            retry_after_s=wait if wait is not None else 1.0,
        )
    if status == 404 and not (route.label.endswith(ANY) and target.model == route.asked):
        return _misrouted(name, target)
    if 400 <= status < 500 and status != 408:
        return _refusal(provider, status, headers, body)
    return GatewayError("provider_error", f"The provider {name} answered with status {status}.")


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
