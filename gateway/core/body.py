"""Request bodies: read strictly, forwarded as they came, changed only where they must change.

What the gateway checks and what the provider obeys have to be the same document. Parsers differ on duplicate keys,
on NaN, on huge integers and on lone surrogates, so a body with any of those is refused (RFC 8259 §4 and §9 leave
them to the implementation), and the bytes that go upstream are the client's own, spliced and not re-serialised.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from gateway.core.errors import GatewayError

MAX_DEPTH = 200
MAX_INTEGER_DIGITS = 18
"""Fits a signed 64-bit integer whatever the digits; parsers disagree beyond 2^53 or 2^64."""

# Possessive, and an unclosed string runs to the end: from every quote there is one way to match, so a body made to
# be read again and again from each of its quotes is read once.
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.?+[^"\\]*+)*+"?+|[{}\[\]:,]', re.DOTALL)

_PLAIN_STRING = re.compile(rb'\s*:\s*("[^"\\]*")')


def _refuse(message: str) -> NoReturn:
    raise GatewayError("invalid_request", message)


class _Duplicate(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Duplicate
    return members


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise OverflowError
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ArithmeticError(name)


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_constant).decode


def parse_strict(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        GatewayError: `invalid_request`; the message says what is wrong and never quotes the body.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("The request body is not valid UTF-8. Send JSON encoded as UTF-8.")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        _refuse(f"The request body is nested more than {MAX_DEPTH} levels deep.")
    try:
        document = _decode(text)
    except _Duplicate:
        _refuse("The request body has an object with the same key twice. Send every key once.")
    except OverflowError:
        _refuse(f"The request body has an integer of more than {MAX_INTEGER_DIGITS} digits.")
    except ArithmeticError:
        _refuse("The request body has NaN or Infinity, which JSON does not know.")
    except json.JSONDecodeError as error:
        _refuse(f"The request body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.")
    if not isinstance(document, dict):
        _refuse("The request body must be a JSON object.")
    if b"\\u" in body and not _is_encodable(document):
        _refuse("The request body has half of a surrogate pair (\\ud800 to \\udfff alone), which is no character.")
    return document


def _is_encodable(document: dict[str, Any]) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for match in _STRUCTURE.finditer(body):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"}", b"]"):
            depth -= 1
    return deepest


def _members(body: bytes) -> dict[str, tuple[int, int]]:
    """Where the values of the top-level members stand: key -> (start, end) in `body`, a valid JSON object.

    White space around a value is within its span.
    """
    spans: dict[str, tuple[int, int]] = {}
    depth = 0
    key = ""
    start = -1
    for match in _STRUCTURE.finditer(body):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        if depth == 1 and token[:1] == b'"' and start < 0:
            key = json.loads(token)
        elif depth == 1 and token == b":":
            start = match.end()
        elif start >= 0 and ((depth == 1 and token == b",") or depth == 0):
            spans[key] = (start, match.start())
            start = -1
    return spans


def _member(body: bytes, name: str) -> tuple[int, int]:
    """Where the value of the top-level member `name`, which is there and a string or an object, stands in `body`.

    A name that stands in the bytes once, in a body without escapes that could spell it otherwise, is the top-level
    one: no need to walk the whole structure.
    """
    key = json.dumps(name).encode()
    if body.count(key) == 1 and b"\\u" not in body:
        match = _PLAIN_STRING.match(body, body.index(key) + len(key))
        if match is not None:
            return match.span(1)
    start, end = _members(body)[name]
    value = body[start:end]
    return start + len(value) - len(value.lstrip()), start + len(value.rstrip())


def splice(body: bytes, document: Mapping[str, Any], changes: Mapping[str, bytes]) -> bytes:
    """Set top-level members of a JSON object to the given JSON texts, leaving every other byte as it is.

    Args:
        body: an object that :func:`parse_strict` accepted.
        document: what it returned for `body`.
        changes: member name -> JSON text; members that are not there are added at the front.
    """
    for name, value in changes.items():
        if name in document:
            start, end = _member(body, name)
            body = body[:start] + value + body[end:]
    added = b",".join(json.dumps(name).encode() + b":" + changes[name] for name in changes if name not in document)
    if not added:
        return body
    at = body.index(b"{") + 1
    return body[:at] + added + (b"," if document else b"") + body[at:]
