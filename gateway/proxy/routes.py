"""Which path belongs to what: the table of routes, and clear answers for everything outside it."""

from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion10, HttpVersion11, http_exceptions, web

from gateway.core.errors import GatewayError
from gateway.core.outcome import Outcome
from gateway.dialects import OPERATIONS, Operation
from gateway.proxy import catalogue
from gateway.proxy.handler import Line

Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Routes:
    """aiohttp's handler for every request.

    Args:
        pages: further GET routes (health, metrics) by path.
    """

    def __init__(self, line: Line, models: catalogue.Catalogue, pages: dict[str, Page]) -> None:
        self._line = line
        self._models = models
        self._pages = pages
        self._operations: dict[str, Operation] = {operation.path: operation for operation in OPERATIONS}

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
        page = self._pages.get(path)
        is_models = path == catalogue.PATH or path.startswith(catalogue.PATH + "/")
        if page is None and not is_models:
            error = GatewayError("not_found", "There is nothing here. The routes are listed in the README.")
            return await self._line.refuse(request, error)
        if request.method not in ("GET", "HEAD"):
            return await self._wrong_method(request, "GET, HEAD")
        if page is not None:
            response = await page(request)
            response.headers["x-request-id"] = self._line.new_id()
            return response
        return await self._line.list_models(request, self._models)

    async def _wrong_method(
        self, request: web.BaseRequest, allowed: str, *, then_close: bool = False
    ) -> web.StreamResponse:
        headers = {"Allow": allowed, **({"Connection": "close"} if then_close else {})}
        error = GatewayError("method_not_allowed", f"This route takes {allowed} only.", headers=headers)
        return await self._line.refuse(request, error)


def bad_request(line: Line) -> Callable[[web.BaseRequest, int, BaseException | None], web.Response]:
    """The answer to what is not HTTP, or what failed outside the line: fixed words, nothing echoed."""

    def answer(request: web.BaseRequest, status: int, cause: BaseException | None) -> web.Response:
        code = _code_of(status, cause)
        return line.reject(request, GatewayError(code, _WORDS[code], headers={"Connection": "close"}), cause)

    return answer


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
