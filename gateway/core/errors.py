"""Everything we refuse or fail with: one exception, one table from code to status and to either dialect's type.

The codes are the words of :class:`gateway.core.outcome.Outcome` plus a few that say more of ``invalid_request``.
"""

from dataclasses import dataclass

from gateway.core.outcome import CONSEQUENCES, Outcome


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What a code means on the wire.

    Types are those of OpenAI's ``error.type`` (https://platform.openai.com/docs/guides/error-codes) and
    Anthropic's ``error.type`` (https://docs.anthropic.com/en/api/errors).
    """

    outcome: Outcome
    status: int
    openai_type: str
    anthropic_type: str


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    417: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    499: "invalid_request_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    417: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    499: "invalid_request_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def _kind(outcome: Outcome, status: int) -> ErrorKind:
    return ErrorKind(
        outcome, status, _OPENAI_TYPES.get(status, "server_error"), _ANTHROPIC_TYPES.get(status, "api_error")
    )


KINDS: dict[str, ErrorKind] = {
    **{str(o): _kind(o, c.status) for o, c in CONSEQUENCES.items() if c.status >= 400},
    "not_found": _kind(Outcome.INVALID_REQUEST, 404),
    "model_not_found": _kind(Outcome.INVALID_REQUEST, 404),
    "method_not_allowed": _kind(Outcome.INVALID_REQUEST, 405),
    "request_timeout": _kind(Outcome.INVALID_REQUEST, 408),
    "request_too_large": _kind(Outcome.INVALID_REQUEST, 413),
    "unsupported_media_type": _kind(Outcome.INVALID_REQUEST, 415),
    "expectation_failed": _kind(Outcome.INVALID_REQUEST, 417),
    "unsupported_transfer_coding": ErrorKind(
        Outcome.INVALID_REQUEST, 501, "invalid_request_error", "invalid_request_error"
    ),
    "malformed_http": _kind(Outcome.INVALID_REQUEST, 400),
    "header_too_large": _kind(Outcome.INVALID_REQUEST, 431),
    "unpriced_model": _kind(Outcome.INVALID_REQUEST, 400),
}


class GatewayError(Exception):
    """A refusal or a failure that has a clear answer.

    Args:
        code: a key of :data:`KINDS`; anything else is a programming error (``KeyError``).
        message: one or two sentences for the caller: what is wrong and what to do. Never quotes the request's body.
        param: the request field that is wrong, where there is one (OpenAI's ``error.param``).
        retry_after_s: seconds after which the same request may succeed; sent as ``Retry-After``.
        headers: further response headers (``Allow``, say).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.kind = KINDS[code]
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = headers or {}

    @property
    def outcome(self) -> Outcome:
        return self.kind.outcome

    @property
    def status(self) -> int:
        return self.kind.status
