"""Everything known of one request, filled in as it travels; the only mutable per-request object."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from aiohttp import web

from gateway.core.clock import Clock, WallClock
from gateway.core.errors import GatewayError
from gateway.core.hold import Steps
from gateway.core.ledger import NO_TAGS
from gateway.core.ledger import Opening as OpeningRow
from gateway.core.outcome import CONSEQUENCES, Outcome, Verdict
from gateway.core.quota import Grant
from gateway.core.routing import Route, Target
from gateway.core.tokens import Usage
from gateway.dialects import Dialect, Operation
from gateway.dialects.operation import RequestView
from gateway.proxy.downstream import Downstream
from gateway.stores.sql.commit import Commit
from gateway.tenancy.tenants import Identity
from gateway.upstream.stream import UpstreamStream
from gateway.upstream.targets import Turn

_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Phase(StrEnum):
    """Where a request is: what a client that leaves was waiting for."""

    BEFORE_HEAD = "before_head"
    """No answer of the provider yet."""
    BEFORE_CONTENT = "before_content"
    """The stream is open and has said nothing."""
    STREAMING = "streaming"
    UNARY = "unary"
    """A whole answer is being read."""


@dataclass(slots=True)
class Order:
    """What is asked, by whom, and where it may go: what admission has established for the phases after it.

    ``body`` is what came, byte for byte, and ``document`` the same as read; :meth:`drop` lets go of both once no
    further attempt can need them, so that a long stream does not hold its prompt.
    """

    operation: Operation
    identity: Identity
    view: RequestView
    route: Route
    body: bytes
    document: Mapping[str, Any]

    def drop(self) -> None:
        self.body, self.document = b"", {}


class Trace(Protocol):
    """What tracing keeps with an attempt."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The client's, with the attempt's own trace context; by names in any case."""


@dataclass(slots=True)
class Attempt:
    """One try at one target.

    Attributes:
        patience_s: what its target is entitled to, up to the first content or the whole answer.
        ended_at: when its outcome was certain.
        excused: its outcome says nothing about the target.
        trace: None unless requests are traced.
    """

    target: Target
    started_at: float
    turn: Turn
    patience_s: float = 0.0
    key_index: int = 0
    phase: Phase = Phase.BEFORE_HEAD
    outcome: Outcome | None = None
    ended_at: float | None = None
    excused: bool = False
    trace: Trace | None = None

    def end(self, outcome: Outcome, now: float) -> None:
        """Say how it went. The first word counts: an attempt that has ended stays so.

        A deadline says something about the target only if this attempt alone has waited at least half of what the
        target is entitled to: the client may have wished for less, and attempts before may have used the time up. Nor
        is a long stream a slow one.
        """
        if self.outcome is not None:
            return
        self.outcome, self.ended_at = outcome, now
        self.excused = outcome is Outcome.DEADLINE_EXCEEDED and (
            self.phase is Phase.STREAMING or now - self.started_at < self.patience_s / 2
        )
        self.turn.end(Verdict.NEUTRAL if self.excused else CONSEQUENCES[outcome].verdict)


@dataclass(slots=True)
class Holding:
    """What an exchange has taken of its tenant's limits and budgets.

    Attributes:
        nanousd: what was held of the budgets at admission; None where no budget applies.
        steps: how more is taken as the answer grows; None where all is held.
        covered_tokens: output that is paid for, of a hold in steps.
        is_settled: it has been given back, less what was used.
    """

    grant: Grant
    nanousd: int | None = None
    steps: Steps | None = None
    covered_tokens: int = 0
    is_settled: bool = False


@dataclass(slots=True)
class Entry:
    """The ledger's rows of an exchange: the opening, and the closing once there is one."""

    opening: OpeningRow
    opened: Commit
    closed: Commit | None = None


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        id: ours, or the client's `x-request-id` where it is a plain word.
        serial: ours, unique for ever whatever the client says: its name in every store.
        operation: None where the request belongs to no endpoint.
        received_at: Unix seconds. All other times are readings of the injected monotonic clock.
        deadline: until which a stream's first content must be there.
        wished_s: the client's own limit in seconds, where it set one.
        tags: JSON object of the tags that the client gave it.
        holding: what it has taken of its tenant's limits and budgets, where it has any.
        entry: its rows in the ledger, from its first attempt on.
        accounted: usage and cost are known.
        identity, asked, label: who asked for which model, and under which configured name it is served: known to log
            and metrics even where admission refuses.
        served: the attempt that brought the answer.
        stream: the one that was chosen, once it has content.
        flushed_tokens: output tokens that the counters have of a running stream.
        answer: a whole answer as read; of one too large for that, ``answer_tail`` has the last bytes.
        status: the HTTP status sent, 0 while none is.
    """

    id: str
    serial: str
    dialect: Dialect
    operation: Operation | None
    request: web.BaseRequest
    started_at: float
    received_at: float
    deadline: float
    wished_s: float | None = None
    identity: Identity | None = None
    asked: str | None = None
    label: str | None = None
    order: Order | None = None
    tags: str = NO_TAGS
    holding: Holding | None = None
    entry: Entry | None = None
    attempts: list[Attempt] = field(default_factory=list)
    served: Attempt | None = None
    downstream: Downstream | None = None
    stream: UpstreamStream | None = None
    kept_alive_at: float | None = None
    answer: Mapping[str, Any] | None = None
    answer_tail: bytes = b""
    status: int = 0
    outcome: Outcome | None = None
    error: GatewayError | None = None
    usage: Usage = field(default_factory=Usage)
    cost_nanousd: int = 0
    accounted: bool = False
    flushed_tokens: int = 0

    @property
    def target(self) -> Target | None:
        """The target that served, or the last one tried."""
        if self.served is not None:
            return self.served.target
        return self.attempts[-1].target if self.attempts else None

    @property
    def phase(self) -> Phase:
        """How far the request has come."""
        if self.stream is not None:
            return Phase.STREAMING
        if self.served is not None:
            return self.served.phase
        return self.attempts[-1].phase if self.attempts else Phase.BEFORE_HEAD

    def error_event(self, error: GatewayError) -> bytes:
        """The typed event that ends a stream of this exchange."""
        if self.operation is None:
            raise ValueError("only an operation streams")
        return self.operation.error_event(error, self.id)


def request_id(serial: str) -> str:
    """The id that clients and logs see of what has no better one."""
    return f"req_{serial}"


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens exchanges. `new_serial` makes ids that nobody can guess; `deadline_s` is for their first content."""

    clock: Clock
    wall_clock: WallClock
    new_serial: Callable[[], str]
    deadline_s: float

    def new_id(self) -> str:
        """A request id, for pages that are no exchange."""
        return request_id(self.new_serial())

    def begin(self, request: web.BaseRequest, dialect: Dialect, operation: Operation | None) -> Exchange:
        given = request.headers.get("x-request-id")
        now = self.clock()
        serial = self.new_serial()
        return Exchange(
            id=given if given is not None and _CLIENT_REQUEST_ID.fullmatch(given) else request_id(serial),
            serial=serial,
            dialect=dialect,
            operation=operation,
            request=request,
            started_at=now,
            received_at=self.wall_clock(),
            deadline=now + self.deadline_s,
        )
