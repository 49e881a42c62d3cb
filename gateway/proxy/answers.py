"""What comes out of dispatch: an answer whose first content is here, ready to be relayed."""

from collections.abc import Mapping
from dataclasses import dataclass

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


class ProviderRefusal(GatewayError):
    """A provider's 4xx of the client's own making: its status and its words are passed on."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__("invalid_request", "The provider refused the request.", headers=dict(headers))
        self.provider_status = status
        self.body = body

    @property
    def status(self) -> int:
        return self.provider_status
