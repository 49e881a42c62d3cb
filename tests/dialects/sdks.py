"""The real SDKs on a transport without a socket: how an answer of ours looks to the programs that get it."""

import anthropic
import httpx2
import openai

from gateway.core.errors import GatewayError
from gateway.dialects import Operation

REQUEST_ID = "req-1"
STREAM = {"content-type": "text/event-stream"}


def _transport(answer: httpx2.Response) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(lambda request: answer))


def openai_sdk(answer: httpx2.Response) -> openai.OpenAI:
    """A client that gets this answer to everything and does not ask twice."""
    return openai.OpenAI(api_key="k", base_url="http://gateway/v1", max_retries=0, http_client=_transport(answer))


def anthropic_sdk(answer: httpx2.Response) -> anthropic.Anthropic:
    """A client that gets this answer to everything and does not ask twice."""
    return anthropic.Anthropic(api_key="k", base_url="http://gateway", max_retries=0, http_client=_transport(answer))


def refused(operation: Operation, error: GatewayError) -> httpx2.Response:
    """The answer to a refused request."""
    return httpx2.Response(
        error.status, content=operation.dialect.error_body(error, REQUEST_ID), headers={"request-id": REQUEST_ID}
    )


def broken_off(operation: Operation, error: GatewayError, *before: bytes) -> httpx2.Response:
    """A stream that our typed error event ends."""
    return httpx2.Response(200, content=b"".join(before) + operation.error_event(error, REQUEST_ID), headers=STREAM)
