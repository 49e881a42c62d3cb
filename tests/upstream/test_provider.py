"""One provider: what of a client's headers crosses, under which credential, and what comes back."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import SecretStr

from gateway.dialects import OPERATIONS
from gateway.upstream.provider import USER_AGENT, Provider, crossing_headers
from gateway.upstream.settings import PoolSettings, ProviderSettings
from tests.provider_answers import unary
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_connection import SeenRequest

BY_PATH = {operation.path: operation for operation in OPERATIONS}
Asked = Callable[..., Awaitable[SeenRequest]]


@pytest.fixture
async def asked(upstream: ScriptedUpstream) -> AsyncIterator[Asked]:
    """Asks once with some client headers and some settings; returns what upstream saw."""
    upstream.always(unary({}))
    made: list[Provider] = []

    async def ask(dialect: str, client: Mapping[str, str], **settings: object) -> SeenRequest:
        base = upstream.openai_base if dialect == "openai" else upstream.anthropic_base
        fields = {"dialect": dialect, "base_url": base, "pool": PoolSettings(warm=0), **settings}
        provider = Provider("p", ProviderSettings.model_validate(fields), spliced=True, clock=time.monotonic)
        made.append(provider)
        path = "/v1/chat/completions" if dialect == "openai" else "/v1/messages"
        headers = CIMultiDictProxy(CIMultiDict(client))
        response = await provider.post(BY_PATH[path], b"{}", headers, provider.keys.pick()[1])
        await provider.pool.read(response, 100)
        return upstream.requests[-1]

    yield ask
    for provider in made:
        await provider.close()


async def test_openai(asked: Asked) -> None:
    """A bearer token, our user agent, no compression, and nothing of the client's that is not listed."""
    seen = await asked("openai", {"X-Evil": "1", "Cookie": "a", "Authorization": "Bearer theirs"}, api_keys=("sk-1",))
    assert seen.path == "/v1/chat/completions"
    assert seen.header("authorization") == "Bearer sk-1"
    assert seen.header("user-agent") == USER_AGENT
    assert seen.header("accept-encoding") == "identity"
    assert {"x-evil", "cookie"}.isdisjoint(name.lower() for name, _ in seen.headers)


@pytest.mark.parametrize(
    ("client", "configured", "version"),
    [
        ({}, {}, "2023-06-01"),
        ({"anthropic-version": "2024-01-01"}, {}, "2024-01-01"),
        ({"anthropic-version": "2024-01-01"}, {"anthropic-version": "2022-01-01"}, "2022-01-01"),
    ],
)
async def test_anthropics_version(
    asked: Asked, client: dict[str, str], configured: dict[str, str], version: str
) -> None:
    """The client's own, else ours; what the operator wrote wins over both, and stands there once."""
    headers = {name: SecretStr(value) for name, value in configured.items()}
    seen = await asked("anthropic", client, api_keys=("sk-1",), headers=headers)
    assert seen.path == "/v1/messages"
    assert seen.header("x-api-key") == "sk-1"
    assert seen.header("anthropic-version") == version


async def test_the_operators_headers_win(asked: Asked) -> None:
    """A header of the configuration replaces the client's of the same name; no key is no credential."""
    seen = await asked(
        "openai", {"openai-beta": "x"}, headers={"OpenAI-Beta": "y", "api-key": "azure"}, query={"v": "1 2"}
    )
    assert (seen.header("openai-beta"), seen.header("api-key"), seen.header("authorization")) == ("y", "azure", None)
    assert seen.path in {"/v1/chat/completions?v=1+2", "/v1/chat/completions?v=1%202"}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"x-request-id": "a"}, {"x-provider-request-id": "a"}),
        ({"Request-Id": "a"}, {"x-provider-request-id": "a"}),
        ({"retry-after": "3"}, {"Retry-After": "3"}),
        ({"X-RateLimit-Limit-Requests": "9"}, {"x-provider-x-ratelimit-limit-requests": "9"}),
        ({"anthropic-ratelimit-x": "9"}, {"x-provider-anthropic-ratelimit-x": "9"}),
        ({"Set-Cookie": "a", "Server": "b", "openai-organization": "c", "Content-Encoding": "gzip"}, {}),
        ({"x-request-id": "caf\udce9", "retry-after": "drei\u00df"}, {}),
    ],
)
def test_headers_that_come_back(theirs: dict[str, str], ours: dict[str, str]) -> None:
    """A short list, under names of our own; the rest stays."""
    assert crossing_headers(theirs) == ours
