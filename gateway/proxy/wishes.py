"""What a client asks of the gateway beside its request, in headers: a shorter deadline, tags for its bill."""

import re
from collections.abc import Collection
from typing import NoReturn

from gateway.core.errors import GatewayError
from gateway.core.ledger import tags_text
from gateway.proxy.exchange import Exchange

TIMEOUT = "x-gateway-timeout-s"
TAGS = "x-gateway-tags"

_TAG_VALUE = re.compile(r"[A-Za-z0-9._:/@+ -]{1,64}")


class Wishes:
    """Reads the headers.

    Args:
        tags: the names of tags that are declared (`ledger.tags`).
    """

    def __init__(self, tags: Collection[str]) -> None:
        self._tags = frozenset(tags)

    def heed(self, exchange: Exchange) -> None:
        """Note them on the exchange.

        Raises:
            GatewayError: `invalid_request`, saying what to write.
        """
        headers = exchange.request.headers
        timeout, tags = headers.get(TIMEOUT), headers.get(TAGS)
        if timeout is not None:
            _lower_deadline(exchange, timeout)
        if tags is not None:
            exchange.tags = tags_text(self._read(",".join(headers.getall(TAGS))))

    def _read(self, text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for pair in text.split(","):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or name in found or _TAG_VALUE.fullmatch(value) is None:
                _refuse(
                    "must be NAME=VALUE pairs with commas between them, each name once, values of 1 to 64 letters, "
                    "digits, spaces and . _ : / @ + -"
                )
            if name not in self._tags:
                known = f"declared are: {', '.join(sorted(self._tags))}" if self._tags else "none is declared"
                _refuse(f"has a name that `ledger.tags` of the gateway's configuration does not declare; {known}")
            found[name] = value
        return found


def _lower_deadline(exchange: Exchange, wish: str) -> None:
    """It can shorten the wait and not lengthen it."""
    seconds = float(wish) if wish.isascii() and wish.replace(".", "", 1).isdigit() else 0.0
    if seconds <= 0:
        raise GatewayError("invalid_request", f"{TIMEOUT} must be a number of seconds greater than 0.")
    exchange.wished_s = seconds
    exchange.deadline = min(exchange.deadline, exchange.started_at + seconds)


def _refuse(what: str) -> NoReturn:
    raise GatewayError("invalid_request", f"{TAGS} {what}.")
