"""What a request asks of limits and budgets, and what it is told: the contract of everything that keeps their state.

Long because the words and the verbs are one contract, whoever keeps it: this process (``stores/memory.py``) or Redis.

An *exchange* is admitted once and settled once. Between the two it holds, in each of its *scopes* (its tenant, its
key, its tenant and model), a slot, an estimate of its tokens and the most that it may cost.

==============  =========================================  ==================  ===================================
limit           admitted                                   at settlement       come again after
==============  =========================================  ==================  ===================================
requests        a token bucket has one                     nothing             as long as it takes to fill: exact
tokens          it has the estimate, or is full            the real count      the same
concurrent      fewer have a lease                         the lease ends      a guess: somebody has to end first
budget          spent + held + hold <= budget, or hold 0   hold off, cost on   the next period; a guess where only
                                                                               holds are in the way; never, where
                                                                               the hold alone is too large
==============  =========================================  ==================  ===================================

All scopes agree or none is touched, so a refused request costs nothing. What is exact is so for who sends nothing
else meanwhile and has nothing under way whose count exceeds its estimate.

Money is in integer nano-dollars. Moments are Unix seconds, lengths of time seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

from gateway.core.period import Period, Span, span_at

RELEASE_HINT_S: Final = 1.0
"""What is told where only requests in flight are in the way. When they end nobody knows; a second is the shortest that
``Retry-After`` can say (RFC 9110 §10.2.3) and polls no faster than OpenAI's SDK does by itself."""

LEASE_S: Final = 30.0
"""How long an exchange keeps its slots without being renewed: three heartbeats of 10 s may be late."""

ORPHAN_S: Final = 3600.0
"""How long the hold of a lapsed lease waits for its settlement. The ledger settles the orphans of a crash within
seconds; should nobody ever, the whole hold counts as spent: too much, which cannot overspend a budget."""

WhenExhausted = Literal["cut", "finish"]
"""What happens to a running answer: it may be cut off, or it runs to what was held for it from its beginning."""


class Limit(StrEnum):
    """What ran out: the ``limit`` label of ``aigateway_limit_rejections_total``."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Limits:
    """How often and how much at once; None is no limit. All are 1 or more.

    ``burst`` is how many requests may come at once; None: a second's worth, at least one. Over any time no more than
    ``burst + limit / 60 x seconds`` are admitted.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    burst: int | None = None
    request_burst: float = field(init=False, repr=False, compare=False)
    """What the bucket of requests holds."""
    token_burst: float = field(init=False, repr=False, compare=False)
    """What the bucket of tokens holds: six seconds' worth, at least one.

    A second's worth is less than one ordinary request (of 400,000 a minute it is 6,667, and a request may name 16,384);
    with a minute's the first minute would bring twice the limit. So three minutes bring 3.4 % more than three times the
    limit. A request that is larger still passes where the bucket is full, and leaves a debt that time pays first.
    """

    def __post_init__(self) -> None:
        if any(n is not None and n < 1 for n in (*self._figures, self.burst)):
            raise ValueError(f"limits must be 1 or more, not {self}")
        burst = self.burst if self.burst is not None else max(1.0, (self.requests_per_minute or 0) / 60)
        object.__setattr__(self, "request_burst", float(burst))
        object.__setattr__(self, "token_burst", max(1.0, (self.tokens_per_minute or 0) / 10))

    @property
    def _figures(self) -> tuple[int | None, int | None, int | None]:
        return self.requests_per_minute, self.tokens_per_minute, self.concurrent

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return self._figures == (None, None, None)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent in each period; 0: nothing. ``soft_at`` are the shares of it that are reported."""

    nanousd: int
    period: Period
    zone: ZoneInfo
    soft_at: tuple[float, ...] = ()
    when_exhausted: WhenExhausted = "cut"

    def __post_init__(self) -> None:
        if self.nanousd < 0:
            raise ValueError(f"a budget must be 0 or more, not {self.nanousd}")

    def span_at(self, now_s: float) -> Span:
        """Return the period of this budget that a moment belongs to."""
        return span_at(self.period, self.zone, now_s)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose limits and budget these are; ``key`` names their state, ``owner`` is for people: ``the key `web```."""

    key: str
    owner: str
    limits: Limits | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One exchange, wanting to begin.

    Attributes:
        exchange_id: unique for ever; asking again while it runs gets the same grant and counts once.
        tenant_id: whose keys a store of several nodes keeps together.
        scopes: all that must agree.
        tokens: estimate of its input and output.
        hold_nanousd: the most that it may cost, or its first step.
    """

    exchange_id: str
    tenant_id: str
    scopes: tuple[Scope, ...]
    tokens: int
    hold_nanousd: int

    def __post_init__(self) -> None:
        if self.tokens < 0 or self.hold_nanousd < 0:
            raise ValueError(f"tokens and hold must be 0 or more, not {self.tokens} and {self.hold_nanousd}")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit per minute: ``remaining`` may come at once, after ``reset_s`` seconds it is as new."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Funds:
    """Where a budget stands in its period; more than the limit is spent where estimates were too low."""

    limit_nanousd: int
    spent_nanousd: int
    held_nanousd: int
    span: Span


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a scope stands; None where it has no such limit, ``in_flight`` where it has no limits at all."""

    funds: Funds | None
    requests: Allowance | None
    tokens: Allowance | None
    in_flight: int | None


@dataclass(frozen=True, slots=True)
class Grant:
    """An admission. ``requests`` and ``tokens`` are those of the scope with the least left, None without limit."""

    exchange_id: str
    tenant_id: str
    requests: Allowance | None = None
    tokens: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """A refusal that took nothing.

    Of several limits in the way it names the one with the longest wait, so that after it none is.

    Attributes:
        asked: how much of it was wanted: tokens, or nano-dollars; 1 otherwise.
        retry_after_s: see the table above; None: no wait helps.
        funds: of the budget, where that is the limit.
    """

    limit: Limit
    scope: Scope
    asked: int
    retry_after_s: float | None
    funds: Funds | None = None
    requests: Allowance | None = None
    tokens: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Crossing:
    """A share of a budget that has been spent; told once per threshold, scope and period."""

    scope: Scope
    threshold: float
    funds: Funds


@dataclass(frozen=True, slots=True)
class Settled:
    """``first`` is False where there was nothing to settle: it had been settled, or never admitted."""

    first: bool
    crossed: tuple[Crossing, ...] = ()


class QuotasUnavailable(Exception):
    """It cannot be known what has been spent, so nothing can be admitted now: a 503, not a refusal."""


class Quotas(Protocol):
    """Keeps what is used of limits and budgets. All verbs hold under any concurrency."""

    async def admit(self, ask: Ask) -> Grant | Denied:
        """Take what the exchange asks from all of its scopes, or nothing from any.

        Raises:
            QuotasUnavailable: what a budget has spent in this period cannot be found out.
        """

    async def settle(self, grant: Grant, tokens: int, cost_nanousd: int) -> Settled:
        """End an exchange with what it really used and cost; both may be above what was held. Again: no effect.

        The cost goes to the period in which the exchange was admitted.

        Raises:
            ValueError: a figure below 0.
        """

    async def settle_orphan(self, tenant_id: str, exchange_id: str, cost_nanousd: int) -> Settled:
        """End an exchange whose process is gone, known from the ledger alone; its estimate of tokens stands."""

    async def withdraw(self, grant: Grant) -> None:
        """Undo an admission whose request was refused after all: not even the request counts."""

    async def top_up(self, grant: Grant, more_nanousd: int) -> bool:
        """Hold more, if that fits in every budget; False changes nothing, as does an exchange that has ended.

        Raises:
            ValueError: a figure below 0.
        """

    async def renew(self, grants: Iterable[Grant]) -> None:
        """Keep the slots of running exchanges: the heartbeat of their leases, at least every :data:`LEASE_S`.

        A lease that is not renewed lapses: its slots are free, its hold stays (:data:`ORPHAN_S`). It comes back where
        it is renewed late, even beyond the limit: the exchange does run.
        """

    async def standing(self, scope: Scope) -> Standing:
        """Tell where a scope stands.

        Raises:
            QuotasUnavailable: as in :meth:`admit`.
        """

    async def aclose(self) -> None:
        """Let go of connections and tasks; nothing is settled by it."""
