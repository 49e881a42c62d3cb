"""Phase 1, admit: who asks, for what, and may they. Cheapest check first; nothing is read before the key is known."""

import asyncio

from aiohttp import HttpVersion11, web
from multidict import CIMultiDictProxy

from gateway.core.body import parse_strict
from gateway.core.errors import GatewayError
from gateway.core.routing import ModelTable, Route
from gateway.dialects import Operation
from gateway.proxy.books import Books
from gateway.proxy.exchange import Exchange, Order
from gateway.proxy.grants import Grants
from gateway.proxy.settings import ServerSettings
from gateway.proxy.wishes import Wishes
from gateway.tenancy.tenants import Identity, Tenants

FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""A request with one of these came through a proxy, so perhaps from the internet."""

_CODINGS = ("", "identity", "gzip", "deflate")

_CONTINUE = "100-continue"


def credential(headers: CIMultiDictProxy[str]) -> str:
    """The one credential of a request: `Authorization: Bearer` or `x-api-key`.

    Both with the same value count as one (some SDKs send both).

    Raises:
        GatewayError: `unauthorized`: none, several, or something else than a bearer token.
    """
    given = headers.getall("Authorization", ()), headers.getall("x-api-key", ())
    if len(given[0]) > 1 or len(given[1]) > 1:
        raise GatewayError("unauthorized", "A credential was sent more than once. Send exactly one.")
    secrets = set(given[1])
    for value in given[0]:
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise GatewayError("unauthorized", "Authorization must be `Bearer` and a gateway key.")
        secrets.add(token.strip())
    if not secrets:
        raise GatewayError(
            "unauthorized",
            "No API key. Send a gateway key as `Authorization: Bearer KEY` or as `x-api-key: KEY`.",
        )
    if len(secrets) > 1:
        raise GatewayError("unauthorized", "Authorization and x-api-key differ. Send exactly one credential.")
    return secrets.pop()


def _continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body (RFC 9110 §10.1.1; HTTP/1.0 has no interim answers)."""
    if "Expect" in request.headers and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class Admission:
    """Decides whether a request goes on.

    Args:
        local_only: tenants whose keys are public knowledge (the demo's), refused to requests from behind a proxy.
    """

    def __init__(
        self,
        settings: ServerSettings,
        tenants: Tenants,
        models: ModelTable,
        wishes: Wishes,
        books: Books,
        grants: Grants,
        local_only: frozenset[str] = frozenset(),
    ) -> None:
        self._wishes = wishes
        self._books = books
        self._grants = grants
        self._settings = settings
        self._tenants = tenants
        self._models = models
        self._local_only = local_only

    def authenticate(self, request: web.BaseRequest) -> Identity:
        """Say who asks.

        Raises:
            GatewayError: `unauthorized`.
        """
        identity = self._tenants.authenticate(credential(request.headers))
        if identity.tenant.id in self._local_only and any(name in request.headers for name in FORWARDING_HEADERS):
            raise GatewayError(
                "unauthorized",
                "The demo key is public and answers direct requests only. Configure a tenant with a key of its own.",
            )
        return identity

    async def admit(self, exchange: Exchange, operation: Operation) -> Order:
        """Establish who asks for what, and that they may.

        Raises:
            GatewayError: the request goes no further.
        """
        exchange.identity = identity = self.authenticate(exchange.request)
        body = await self._read(exchange.request)
        document = parse_strict(body)
        view = operation.view(document)
        exchange.asked = view.model
        self._wishes.heed(exchange)
        route = self.route(identity, view.model)
        exchange.label = route.label
        self._check_route(route, operation)
        order = Order(operation, identity, view, route, body, document)
        exchange.order = order
        if operation.priced:
            self._books.check()
        await self._grants.take(exchange, order)
        return order

    def _check_route(self, route: Route, operation: Operation) -> None:
        if route.dialect != operation.dialect.name:
            raise GatewayError(
                "invalid_request",
                f"The model `{route.asked}` is served in the {route.dialect} dialect only; this route speaks the "
                f"{operation.dialect.name} one.",
                param="model",
            )
        if operation.priced and all(target.price is None for target in route.targets):
            raise GatewayError(
                "unpriced_model",
                f"The model `{route.asked}` has no price, so its cost could not be counted. Set "
                f"models.{route.label}.price, or pricing.unpriced, in the gateway's configuration.",
                param="model",
            )

    def route(self, identity: Identity, model: str) -> Route:
        """Where a model leads, if this tenant may go there.

        Raises:
            GatewayError: `forbidden_model`, whether the model exists or not; `model_not_found`.
        """
        if not identity.tenant.may_use(model):
            raise GatewayError(
                "forbidden_model",
                f"This key may not use the model `{model}`. GET /v1/models lists those it may.",
                param="model",
            )
        route = self._models.resolve(model)
        if route is None:
            raise GatewayError(
                "model_not_found",
                f"There is no model `{model}` here. GET /v1/models lists those this key may use.",
                param="model",
            )
        return route

    async def _read(self, request: web.BaseRequest) -> bytes:
        headers = request.headers
        self._check_head(headers, request.content_length)
        try:
            if request.content.is_eof():
                return await request.read()
            _continue(request)
            async with asyncio.timeout(self._settings.body_timeout_s):
                return await request.read()
        except TimeoutError:
            raise GatewayError(
                "request_timeout",
                f"The request body did not arrive within {self._settings.body_timeout_s:g} s.",
                headers={"Connection": "close"},
            ) from None
        except web.HTTPRequestEntityTooLarge:
            raise self._too_large() from None
        except web.RequestPayloadError:
            raise GatewayError("invalid_request", "The request body is not framed as HTTP says.") from None

    def _check_head(self, headers: CIMultiDictProxy[str], length: int | None) -> None:
        if length is not None and length > self._settings.max_body_bytes:
            raise self._too_large()
        if any(value.strip().lower() != _CONTINUE for value in headers.getall("Expect", ())):
            raise GatewayError(
                "expectation_failed", "Expect can only be 100-continue.", headers={"Connection": "close"}
            )
        kind = headers.get("Content-Type")
        if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
            raise GatewayError(
                "unsupported_media_type",
                "The request body must be JSON: send Content-Type: application/json.",
            )
        if headers.get("Content-Encoding", "").strip().lower() not in _CODINGS:
            raise GatewayError(
                "unsupported_media_type",
                "Content-Encoding must be identity, gzip or deflate.",
                headers={"Accept-Encoding": "identity, gzip, deflate"},
            )
        coding = headers.get("Transfer-Encoding")
        if coding is not None and coding.strip().lower() != "chunked":
            raise GatewayError(
                "unsupported_transfer_coding",
                "Transfer-Encoding must be exactly `chunked`.",
                headers={"Connection": "close"},
            )

    def _too_large(self) -> GatewayError:
        return GatewayError(
            "request_too_large",
            f"The request body is larger than {self._settings.max_body_mb} MiB (server.max_body_mb).",
            headers={"Connection": "close"},
        )
