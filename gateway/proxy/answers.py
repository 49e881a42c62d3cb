"""What comes out of dispatch: an answer whose first content is here, ready to be relayed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gateway.core.errors import GatewayError
from gateway.proxy.downstream import Downstream
from gateway.upstream.pool import Response
from gateway.upstream.stream import UpstreamStream


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """An event stream that has content (or its whole end) waiting."""

    stream: UpstreamStream
    downstream: Downstream
    headers: Mapping[str, str]

    def drop(self) -> None:
        """Nobody wants it."""
        self.stream.abort()


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer that was read to its end, or to the limit: then `rest` still has the remainder.

    ``document`` is the body as read, None of one that is too large for it. ``deadline`` is the
    clock reading until which the remainder must be there.
    """

    body: bytes
    document: Mapping[str, object] | None
    content_type: str
    headers: Mapping[str, str]
    rest: Response | None = None
    deadline: float = 0.0

    def drop(self) -> None:
        """Nobody wants it."""
        if self.rest is not None:
            self.rest.close()


Answer = StreamAnswer | WholeAnswer


class Rests(Enum):
    """Who is to be left alone after a failure."""

    NOTHING = "nothing"
    KEY = "key"
    """It is over its limit (429), for as long as the provider says."""
    KEY_REFUSED = "key refused"
    """The provider does not accept it (401)."""
    KEY_EXHAUSTED = "key exhausted"
    """Its quota is used up: no wait that a request could afford brings it back."""
    TARGET = "target"
    """It is overloaded (529, or 503 with Retry-After)."""


class ProviderFailure(GatewayError):
    """A provider's answer that says who should rest; `retry_after_s` says how long, where it is known.

    Args:
        is_guess: the provider has not said how long.
    """

    def __init__(
        self, code: str, message: str, rests: Rests, retry_after_s: float | None = None, *, is_guess: bool = False
    ) -> None:
        super().__init__(code, message, retry_after_s=retry_after_s)
        self.rests = rests
        self.is_guess = is_guess


class ProviderRefusal(GatewayError):
    """A provider's 4xx of the client's own making: its status and its words are passed on."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__("invalid_request", "The provider refused the request.", headers=dict(headers))
        self.provider_status = status
        self.body = body

    @property
    def status(self) -> int:
        return self.provider_status
