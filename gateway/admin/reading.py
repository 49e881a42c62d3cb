"""Reads what a caller sent: a bounded body as a document, and a query without surprises."""

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

from aiohttp import HttpVersion11, web

from gateway.admin.refusals import AdminError
from gateway.core.body import parse_strict
from gateway.core.errors import GatewayError

MAX_BODY_BYTES: Final = 1024 * 1024
"""More than any body of this API: a configuration of a thousand tenants is smaller."""
BODY_S: Final = 30.0
"""How long a body may take to arrive whole."""

JSON: Final = "application/json"
YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain")
"""RFC 9512 and what was usual before it; plain text, because some clients send nothing better."""

_CODINGS = ("", "identity", "gzip", "deflate")
_CONTINUE = "100-continue"
_TOO_LARGE = f"The request body is larger than {MAX_BODY_BYTES} bytes."
_CLOSE = {"Connection": "close"}


async def read_document(request: web.BaseRequest, yaml_field: str | None = None) -> dict[str, Any]:
    """Read a body: a JSON object, or nothing, which is an empty one.

    Args:
        yaml_field: takes a body of YAML too, unparsed, as the value of this field.

    Raises:
        AdminError: it is too large, too slow, of another kind, or no JSON object; never quotes it.
    """
    _check_head(request)
    if request.content.is_eof() and not request.content.total_bytes:
        # some clients name a type where there is nothing
        return {}
    kind = request.headers.get("Content-Type", JSON).partition(";")[0].strip().lower()
    if kind != JSON and (yaml_field is None or kind not in YAML):
        also = f", or {YAML[0]} with the YAML itself" if yaml_field is not None else ""
        raise AdminError("unsupported_media_type", f"Send JSON with Content-Type: {JSON}{also}.")
    body = await _read(request)
    if yaml_field is not None and kind != JSON:
        try:
            return {yaml_field: body.decode("utf-8-sig")}
        except UnicodeDecodeError:
            raise AdminError("invalid_request", "The request body is not valid UTF-8.") from None
    if not body.strip():
        return {}
    try:
        return parse_strict(body)
    except GatewayError as error:
        raise AdminError("invalid_request", error.message) from None


def _check_head(request: web.BaseRequest) -> None:
    headers = request.headers
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise AdminError("request_too_large", _TOO_LARGE, headers=_CLOSE)
    if any(value.strip().lower() != _CONTINUE for value in headers.getall("Expect", ())):
        raise AdminError("expectation_failed", "Expect can only be 100-continue.", headers=_CLOSE)
    if headers.get("Content-Encoding", "").strip().lower() not in _CODINGS:
        raise AdminError("unsupported_media_type", "Content-Encoding must be identity, gzip or deflate.")


async def _read(request: web.BaseRequest) -> bytes:
    if "Expect" in request.headers and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            # aiohttp unpacks what is packed, so the bound is on what comes out
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    raise AdminError("request_too_large", _TOO_LARGE, headers=_CLOSE)
                pieces.append(piece)
    except TimeoutError:
        message = f"The request body did not arrive within {BODY_S:g} s."
        raise AdminError("request_timeout", message, headers=_CLOSE) from None
    except web.RequestPayloadError:
        raise AdminError("invalid_request", "The request body is not framed as HTTP says.", headers=_CLOSE) from None
    return b"".join(pieces)


def read_query(request: web.BaseRequest, known: Sequence[str]) -> dict[str, str]:
    """Read a query: each parameter at most once, and none that means nothing here.

    Args:
        known: the names of the parameters.

    Raises:
        AdminError: ``invalid_request``, with the nearest name that there is.
    """
    found: dict[str, str] = {}
    for name, value in request.query.items():
        shown = name[:100]
        if name not in known:
            close = get_close_matches(shown, known, n=1, cutoff=0.6)
            guess = f" Did you mean {close[0]}?" if close else ""
            takes = f"It takes {', '.join(known)}." if known else "It takes none."
            message = f"The query has no parameter named {shown!r}.{guess} {takes}"
            raise AdminError("invalid_request", message, param=shown)
        if name in found:
            raise AdminError("invalid_request", f"The query has {name} more than once: send it once.", param=name)
        found[name] = value
    return found
