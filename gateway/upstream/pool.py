"""One connection pool for one provider, and the one place where aiohttp's client exceptions become our errors.

A connection that the provider closed while it was idle is found out only by a request on it: that request is sent once
more, on a fresh connection, and nobody hears of it.
"""

import asyncio
import io
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from gateway import splice
from gateway.core.errors import GatewayError
from gateway.splice.upstream import StaleConnection
from gateway.upstream.reused import WatchedResponse, WatchingConnector
from gateway.upstream.settings import PoolSettings, TlsSettings

T = TypeVar("T")

Response = aiohttp.ClientResponse | splice.SplicedResponse

STALE_WITHIN_S = 5.0
"""So soon after a request was begun a connection ends that was dead before, slow ways and a busy loop included.

Later it is the provider that has worked on the request and failed.
"""

_CONNECT_ERRORS = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Certificates and host names are verified, TLS 1.2 at least.

    Raises:
        OSError, ssl.SSLError: the file of certificate authorities cannot be read.
    """
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class RequestHead:
    """The head of a request to one address, mostly ready: only the client's own headers and the length vary.

    Args:
        url: where the request goes.
        headers: what every request carries, names in lower case.

    Raises:
        ValueError: a header holds a control character.
    """

    def __init__(self, url: URL, headers: Mapping[str, str]) -> None:
        self.url = url
        self.headers = dict(headers)
        lines = [f"POST {url.raw_path_qs} HTTP/1.1", f"host: {url.host_port_subcomponent}"]
        self._ready = "\r\n".join(lines + [_line(name, value) for name, value in self.headers.items()]).encode()

    def write(self, extra: Mapping[str, str], body: bytes) -> bytes:
        """The whole request. `extra` are the client's headers that cross, none of them among the ready ones."""
        lines = "".join(f"\r\n{_line(name, value)}" for name, value in extra.items()).encode()
        return b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (self._ready, lines, len(body), body)


def _line(name: str, value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError(f"the header {name} holds a control character")
    return f"{name}: {value}"


class Pool:
    """Connections to one provider: keep-alive, DNS cache, TLS, a bound, and nothing carried from call to call.

    Must be made inside a running event loop.

    Args:
        provider: the name in error messages.
        url: any address of the provider; all requests go to its host.
        spliced: whether to go past aiohttp's client; False keeps to its public interface.
        on_stale: told of each request that is sent again.

    Attributes:
        stale_retries: requests that were sent again because their connection had been closed while it was idle.
    """

    def __init__(
        self,
        provider: str,
        url: URL,
        settings: PoolSettings,
        tls: TlsSettings,
        *,
        spliced: bool,
        on_stale: Callable[[], None] | None = None,
    ) -> None:
        self._provider = provider
        self._warm = settings.warm
        self._spliced = spliced
        self._loop = asyncio.get_running_loop()
        self._on_stale = on_stale
        self.stale_retries = 0
        # A connector that keeps nothing is the one public way to a connection that was not kept.
        keeping: type[TCPConnector] = splice.SplicingConnector if spliced else WatchingConnector
        fresh: type[TCPConnector] = splice.SplicingConnector if spliced else TCPConnector
        options: dict[str, Any] = {
            "limit": settings.connections,
            "ttl_dns_cache": int(settings.dns_ttl_s),
            # it reads every authority that the machine knows, which takes hundredths of a second
            "ssl": tls_context(tls) if url.scheme == "https" else True,
        }
        self._connectors = (
            keeping(keepalive_timeout=settings.keepalive_s, **options),
            fresh(force_close=True, **options),
        )
        self._session, self._fresh_session = (
            ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                response_class=WatchedResponse,
                timeout=ClientTimeout(total=None, sock_connect=settings.connect_s),
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
            for connector in self._connectors
        )
        self._where = splice.destination(self._session, url)

    async def warm_up(self) -> int:
        """Open the configured number of connections; return how many stand. Never raises."""
        return await splice.warm(self._session, self._where, self._warm) if self._warm else 0

    async def post(self, head: RequestHead, extra: Mapping[str, str], body: bytes) -> Response:
        """Send a request and return once the response head is here. No redirect is followed.

        Raises:
            GatewayError: `connect_failed` or `provider_error`.
            TimeoutError: the caller's own deadline.
        """
        call: Callable[..., Awaitable[Response]]
        arguments: tuple[object, ...]
        if self._spliced:
            call, arguments = splice.send, (self._where, head.write(extra, body))
        else:
            call, arguments = _post_plainly, (head, extra, body)
        begun_at = self._loop.time()
        try:
            return await self._named(call, self._session, *arguments)
        except StaleConnection:
            if self._loop.time() - begun_at >= STALE_WITHIN_S:
                raise self._broken() from None
        # POST may be repeated only where it can be told that it was never applied (RFC 9110 §9.2.2, whose ban on
        # repeating binds proxies; §3.7 sets gateways apart from them): a provider that had closed the idle connection
        # cannot have read it. curl does the same, Go's client and nginx do not. Not to be told apart is a provider that
        # reads a request and leaves without a word: it gets that request twice. So: once, soon, and never after a byte
        # of an answer.
        self.stale_retries += 1
        if self._on_stale is not None:
            self._on_stale()
        return await self._named(call, self._fresh_session, *arguments)

    async def read(self, response: Response, most_bytes: int) -> bytes:
        """Read a body up to `most_bytes`; less than all of it only if it is longer.

        Raises:
            GatewayError: `provider_error`.
        """
        return await self._named(_read, response, most_bytes)

    async def _named(self, call: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Do a call, with what aiohttp raises turned into our errors."""
        try:
            return await call(*arguments)
        except _CONNECT_ERRORS:
            raise GatewayError("connect_failed", f"The provider {self._provider} cannot be reached.") from None
        except (TimeoutError, StaleConnection):
            raise
        except _BROKEN:
            raise self._broken() from None

    def _broken(self) -> GatewayError:
        return GatewayError(
            "provider_error", f"The provider {self._provider} broke off or answered something that is not HTTP."
        )

    def in_use(self) -> int:
        """Connections that carry a request now."""
        return sum(splice.pool_counts(connector)[0] for connector in self._connectors)

    def idle(self) -> int:
        """Connections kept for the next request."""
        return sum(splice.pool_counts(connector)[1] for connector in self._connectors)

    async def close(self) -> None:
        await self._session.close()
        await self._fresh_session.close()
        # aiohttp closes TLS transports in the loop's next turn.
        await asyncio.sleep(0)


async def _post_plainly(session: ClientSession, head: RequestHead, extra: Mapping[str, str], body: bytes) -> Response:
    headers = {**head.headers, **extra}
    return await session.post(head.url, data=io.BytesIO(body), headers=headers, allow_redirects=False)


async def _read(response: Response, most_bytes: int) -> bytes:
    if response.content_length is not None and response.content_length <= most_bytes:
        return await response.read()
    body = bytearray()
    while len(body) < most_bytes:
        data = await response.content.readany()
        if not data:
            break
        body += data
    return bytes(body)
