"""How an exchange ended, and everything that follows from it: the one table of consequences.

Every other module asks this table; none decides again who was at fault or whether a request may move on.
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The ``status`` label of ``aigateway_requests_total`` and the ``code`` of our errors."""

    SUCCESS = "success"
    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN_MODEL = "forbidden_model"
    RATE_LIMITED = "rate_limited"
    TOO_BUSY = "too_busy"
    OVER_BUDGET = "over_budget"
    PROVIDER_AUTH = "provider_auth"
    PROVIDER_MISROUTED = "provider_misrouted"
    PROVIDER_THROTTLED = "provider_throttled"
    PROVIDER_ERROR = "provider_error"
    CONNECT_FAILED = "connect_failed"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 (a code, not a secret)
    STALLED = "stalled"
    TRUNCATED = "truncated"
    STREAM_ERROR = "stream_error"
    CLIENT_CLOSED = "client_closed"
    BUDGET_CUT = "budget_cut"
    CIRCUIT_OPEN = "circuit_open"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    HEDGE_LOST = "hedge_lost"
    INTERNAL = "internal"


class Fault(StrEnum):
    """Who caused the ending; the SLO sets are generated from it."""

    NONE = "none"
    CLIENT = "client"
    GATEWAY = "gateway"
    CAPACITY = "capacity"
    PROVIDER = "provider"
    PATH = "path"


class Verdict(StrEnum):
    """What the circuit breaker of the target hears."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    NONE = "none"
    """No target was asked."""


class Billing(StrEnum):
    """What the tenant pays for an exchange that ended so."""

    NOTHING = "nothing"
    USAGE = "usage"
    RELAYED = "relayed"
    """The tokens that reached the client, estimated where the provider reported none."""


@dataclass(frozen=True, slots=True)
class Consequences:
    """One row of the table.

    ``may_move_on``: another target may be tried while no content has reached the client.
    ``status``: the HTTP status where no head was sent yet; 0 where no answer is possible or the provider's is used.
    """

    fault: Fault
    verdict: Verdict
    may_move_on: bool
    status: int
    billing: Billing


_F, _V, _B = Fault, Verdict, Billing
CONSEQUENCES: dict[Outcome, Consequences] = {
    Outcome.SUCCESS: Consequences(_F.NONE, _V.SUCCESS, False, 200, _B.USAGE),
    Outcome.INVALID_REQUEST: Consequences(_F.CLIENT, _V.SUCCESS, False, 400, _B.NOTHING),
    Outcome.UNAUTHORIZED: Consequences(_F.CLIENT, _V.NONE, False, 401, _B.NOTHING),
    Outcome.FORBIDDEN_MODEL: Consequences(_F.CLIENT, _V.NONE, False, 403, _B.NOTHING),
    Outcome.RATE_LIMITED: Consequences(_F.CLIENT, _V.NONE, False, 429, _B.NOTHING),
    Outcome.TOO_BUSY: Consequences(_F.CLIENT, _V.NONE, False, 429, _B.NOTHING),
    Outcome.OVER_BUDGET: Consequences(_F.CLIENT, _V.NONE, False, 402, _B.NOTHING),
    Outcome.PROVIDER_AUTH: Consequences(_F.GATEWAY, _V.NEUTRAL, True, 502, _B.NOTHING),
    Outcome.PROVIDER_MISROUTED: Consequences(_F.GATEWAY, _V.NEUTRAL, True, 502, _B.NOTHING),
    Outcome.PROVIDER_THROTTLED: Consequences(_F.CAPACITY, _V.NEUTRAL, True, 429, _B.NOTHING),
    Outcome.PROVIDER_ERROR: Consequences(_F.PROVIDER, _V.FAILURE, True, 502, _B.NOTHING),
    Outcome.CONNECT_FAILED: Consequences(_F.PATH, _V.FAILURE, True, 502, _B.NOTHING),
    Outcome.FIRST_TOKEN_TIMEOUT: Consequences(_F.PROVIDER, _V.FAILURE, True, 504, _B.RELAYED),
    Outcome.STALLED: Consequences(_F.PROVIDER, _V.FAILURE, True, 502, _B.RELAYED),
    Outcome.TRUNCATED: Consequences(_F.PROVIDER, _V.FAILURE, True, 502, _B.RELAYED),
    Outcome.STREAM_ERROR: Consequences(_F.PROVIDER, _V.FAILURE, True, 502, _B.RELAYED),
    Outcome.CLIENT_CLOSED: Consequences(_F.CLIENT, _V.NEUTRAL, False, 499, _B.RELAYED),
    Outcome.BUDGET_CUT: Consequences(_F.CLIENT, _V.NEUTRAL, False, 402, _B.RELAYED),
    Outcome.CIRCUIT_OPEN: Consequences(_F.PROVIDER, _V.NONE, False, 503, _B.NOTHING),
    Outcome.DEADLINE_EXCEEDED: Consequences(_F.PROVIDER, _V.FAILURE, False, 504, _B.RELAYED),
    Outcome.OVERLOADED: Consequences(_F.GATEWAY, _V.NONE, False, 503, _B.NOTHING),
    Outcome.DRAINING: Consequences(_F.GATEWAY, _V.NEUTRAL, False, 503, _B.RELAYED),
    Outcome.HEDGE_LOST: Consequences(_F.NONE, _V.NEUTRAL, False, 0, _B.RELAYED),
    Outcome.INTERNAL: Consequences(_F.GATEWAY, _V.NEUTRAL, False, 500, _B.NOTHING),
}
