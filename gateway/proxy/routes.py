"""Which path belongs to what: the table of routes, and clear answers for everything outside it."""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import HttpVersion10, HttpVersion11, http_exceptions, web

from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.dialects import OPERATIONS, Operation
from gateway.proxy import account_page, catalogue
from gateway.proxy.handler import KeyPage, Line

Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

ADMIN = "/admin"
"""The admin API and all its paths."""


class Routes:
    """aiohttp's handler for every request.

    Args:
        pages: further GET routes (health, metrics) by path.
        account: answers `GET /v1/usage`; None: there is no such page.
        admin: answers everything under `/admin`; None: it is served elsewhere, so there is nothing.
    """

    def __init__(
        self,
        line: Line,
        models: KeyPage,
        pages: dict[str, Page],
        account: KeyPage | None = None,
        admin: Page | None = None,
    ) -> None:
        self._line = line
        self._models = models
        self._account = account
        self._admin = admin
        self._pages = pages
        self._operations: dict[str, Operation] = {operation.path: operation for operation in OPERATIONS}

    def lead_to(self, line: Line, models: KeyPage, account: KeyPage | None = None) -> None:
        """Take further requests down another line; those under way stay on theirs."""
        self._line, self._models, self._account = line, models, account

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.version not in (HttpVersion10, HttpVersion11):
            error = GatewayError("malformed_http", _WORDS["malformed_http"], headers={"Connection": "close"})
            return await self._line.refuse(request, error)
        if request.method in ("CONNECT", "TRACE"):
            return await self._wrong_method(request, "GET, HEAD, POST", then_close=True)
        path = request.path
        operation = self._operations.get(path)
        if operation is not None:
            if request.method == "POST":
                return await self._line.serve(request, operation)
            return await self._wrong_method(request, "POST")
        if self._admin is not None and (path == ADMIN or path.startswith(ADMIN + "/")):
            return await self._admin(request)
        page = self._page(path)
        if page is None:
            error = GatewayError("not_found", "There is nothing here. The routes are listed in the README.")
            return await self._line.refuse(request, error)
        if request.method not in ("GET", "HEAD"):
            return await self._wrong_method(request, "GET, HEAD")
        return await page(request)

    def _page(self, path: str) -> Page | None:
        if path == catalogue.PATH or path.startswith(catalogue.PATH + "/"):
            return partial(self._line.show, page=self._models)
        if path == account_page.PATH and self._account is not None:
            return partial(self._line.show, page=self._account)
        page = self._pages.get(path)
        return None if page is None else partial(self._open, page)

    async def _open(self, page: Page, request: web.BaseRequest) -> web.StreamResponse:
        """Show a page that needs no key, or has keys of its own."""
        response = await page(request)
        response.headers["x-request-id"] = self._line.new_id()
        return response

    def bad_request(self, request: web.BaseRequest, status: int, cause: BaseException | None) -> web.Response:
        """The answer to what is not HTTP, or what failed outside the line: fixed words, nothing echoed."""
        code = _code_of(status, cause)
        return self._line.reject(request, GatewayError(code, _WORDS[code], headers={"Connection": "close"}), cause)

    async def _wrong_method(
        self, request: web.BaseRequest, allowed: str, *, then_close: bool = False
    ) -> web.StreamResponse:
        headers = {"Allow": allowed, **({"Connection": "close"} if then_close else {})}
        error = GatewayError("method_not_allowed", f"This route takes {allowed} only.", headers=headers)
        return await self._line.refuse(request, error)


def _code_of(status: int, cause: BaseException | None) -> str:
    """What a failure of aiohttp's parser means. The cause's words may quote the request: they are only compared."""
    if status >= 500:
        return Outcome.INTERNAL.value
    if isinstance(cause, http_exceptions.ContentEncodingError):
        return "unsupported_media_type"
    if isinstance(cause, http_exceptions.LineTooLong) or getattr(cause, "message", "").startswith(_TOO_MANY):
        return "header_too_large"
    return "malformed_http"


_TOO_MANY = "Too many headers"

_WORDS = {
    "malformed_http": "The request is not valid HTTP/1.1.",
    "unsupported_media_type": "Content-Encoding must be identity, gzip or deflate.",
    "header_too_large": "A line of the request's head is longer than 8,190 bytes, or the head has too many lines.",
    "internal": "The gateway failed.",
}
