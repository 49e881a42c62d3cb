"""One provider: its address, its pool, its credentials, and which of its headers cross."""

from collections.abc import Callable, Mapping

from yarl import URL

from gateway import __version__
from gateway.core.clock import Clock
from gateway.dialects import DIALECTS, Operation
from gateway.dialects.anthropic import API_VERSION
from gateway.upstream.credentials import KeyPool
from gateway.upstream.pool import Pool, RequestHead, Response
from gateway.upstream.settings import ProviderSettings

USER_AGENT = f"aigateway/{__version__}"

_TO_UPSTREAM = (
    "accept",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "idempotency-key",
    "traceparent",
    "tracestate",
)
_RATE_LIMIT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
_REQUEST_ID_HEADERS = ("x-request-id", "request-id")


class Provider:
    """A named upstream. Must be made inside a running event loop."""

    def __init__(
        self,
        name: str,
        settings: ProviderSettings,
        *,
        spliced: bool,
        clock: Clock,
        on_stale: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.dialect = DIALECTS[settings.dialect]
        self.pool = Pool(name, URL(settings.base_url), settings.pool, settings.tls, spliced=spliced, on_stale=on_stale)
        self.keys = KeyPool([key.get_secret_value() for key in settings.api_keys], clock)
        configured = {header.lower(): value.get_secret_value() for header, value in settings.headers.items()}
        self._own_headers = {
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "content-type": "application/json",
            **configured,
        }
        defaults = {"anthropic-version": API_VERSION} if settings.dialect == "anthropic" else {}
        self._defaults = {header: value for header, value in defaults.items() if header not in configured}
        self._from_client = tuple(header for header in _TO_UPSTREAM if header not in configured)
        self._heads: dict[tuple[str, str | None], RequestHead] = {}

    async def post(
        self, operation: Operation, body: bytes, client_headers: Mapping[str, str], key: str | None
    ) -> Response:
        """Send one request; raises as :meth:`Pool.post` does.

        Args:
            client_headers: by names in any case.

        Of the client's headers those that are not ASCII do not cross: RFC 9110 §5.5 gives them no meaning.
        """
        extra = dict(self._defaults)
        for name in self._from_client:
            value = client_headers.get(name)
            if value is not None and value.isascii():
                extra[name] = value
        return await self.pool.post(self._head(operation, key), extra, body)

    def _head(self, operation: Operation, key: str | None) -> RequestHead:
        """What does not vary between requests to one endpoint with one key."""
        head = self._heads.get((operation.upstream_path, key))
        if head is None:
            url = URL(self.settings.base_url.rstrip("/") + operation.upstream_path)
            if self.settings.query:
                url = url.with_query(dict(self.settings.query))
            credential = self.dialect.credential(key) if key is not None else {}
            head = RequestHead(url, {**self._own_headers, **credential})
            self._heads[operation.upstream_path, key] = head
        return head

    async def warm_up(self) -> int:
        return await self.pool.warm_up()

    async def close(self) -> None:
        await self.pool.close()


def crossing_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What crosses to downstream of a provider's response headers, beside the content type.

    Rate limits are the operator's, not the tenant's, so they come under a prefix of their own. Values that are not
    ASCII stay behind: RFC 9110 §5.5 gives them no meaning.
    """
    crossing: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if not value.isascii():
            continue
        if lower in _REQUEST_ID_HEADERS:
            crossing["x-provider-request-id"] = value
        elif lower == "retry-after":
            crossing["Retry-After"] = value
        elif lower.startswith(_RATE_LIMIT_PREFIXES):
            crossing[f"x-provider-{lower}"] = value
    return crossing
