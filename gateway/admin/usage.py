"""What was used and what it cost, in groups: by tenant, key, model, provider, day or tag."""

from typing import Annotated, Any, Final

from pydantic import Field

from gateway.admin.access import Role
from gateway.admin.figures import FIRST_US, Iso, Moment, NanoUsd, Usd, iso
from gateway.admin.operation import Call, Nothing, Operation
from gateway.admin.refusals import AdminError
from gateway.core.clock import WallClock
from gateway.core.settings import Settings
from gateway.stores.sql.database import Database
from gateway.stores.sql.usage import DAY_US, MAX_LINES, usage
from gateway.tenancy.refusals import usd

DEFAULT_DAYS: Final = 30
MOST_GROUPS: Final = 6


class UsageQuery(Settings):
    """Which usage, in which groups."""

    by: Annotated[str, Field(max_length=1000)] = ""
    """Groups, separated by commas: tenant, key, model (as asked for), provider, day (of UTC), tag:NAME; empty: all in
    one line. Ids of keys are unique within their tenant: ask for tenant,key."""
    from_us: Moment | None = Field(default=None, alias="from")
    """Exchanges that began at this moment or later; left out: 30 days before to."""
    to_us: Moment | None = Field(default=None, alias="to")
    """Exchanges that began before this moment; left out: now."""
    tenant: Annotated[str, Field(max_length=200)] | None = None
    """Only those of this tenant."""
    key: Annotated[str, Field(max_length=200)] | None = None
    """Only those with keys of this id."""
    limit: Annotated[int, Field(ge=1, le=MAX_LINES)] = 1000
    """Most lines, the dearest first."""


class UsageLineAnswer(Settings):
    """The sums of one group."""

    by: dict[str, str | None]
    """What its exchanges have in common; null where they have no such tag or no provider."""
    exchanges: int
    """How many ended."""
    input_tokens: int
    """Tokens of input that no cache served."""
    cached_input_tokens: int
    """Tokens of input that the provider's cache served."""
    cache_write_tokens: int
    """Tokens of input that it wrote to its cache."""
    cache_write_1h_tokens: int
    """Those of them that it keeps for an hour, counted apart."""
    output_tokens: int
    """Tokens of output."""
    reasoning_tokens: int
    """Those of them that were spent on reasoning."""
    cost_nanousd: NanoUsd
    cost_usd: Usd


class UsageAnswer(Settings):
    """Usage and cost of exchanges that have ended."""

    from_: Iso = Field(serialization_alias="from")
    """From this moment on."""
    to: Iso
    """Before this moment."""
    lines: tuple[UsageLineAnswer, ...]
    """The dearest first."""
    has_more: bool
    """Whether there are further lines: ask for a shorter time, one tenant or fewer groups, or raise the limit."""


class Usage:
    """Sums the ledger."""

    def __init__(self, database: Database, wall_clock: WallClock) -> None:
        self._database = database
        self._wall_clock = wall_clock

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "get_usage",
                "GET",
                "/admin/usage",
                "Usage and cost in groups",
                Role.VIEWER,
                self.get,
                UsageQuery,
                Nothing,
                UsageAnswer,
            ),
        )

    async def get(self, call: Call[UsageQuery, Nothing]) -> UsageAnswer:
        """Sum what ended, group by group."""
        query = call.query
        words = [word for word in query.by.split(",") if word]
        if len(words) > MOST_GROUPS or len(set(words)) < len(words):
            raise AdminError("invalid_request", f"by takes at most {MOST_GROUPS} words, each once.", param="by")
        to_us = query.to_us if query.to_us is not None else int(self._wall_clock() * 1e6)
        from_us = query.from_us if query.from_us is not None else max(FIRST_US, to_us - DEFAULT_DAYS * DAY_US)
        if from_us >= to_us:
            raise AdminError("invalid_request", "from must be before to.", param="from")
        try:
            found = await usage(self._database, words, from_us, to_us, query.tenant, query.key, query.limit + 1)
        except ValueError as error:
            raise AdminError("invalid_request", f"{str(error)[:1].upper()}{str(error)[1:]}.", param="by") from None
        lines = tuple(
            UsageLineAnswer(
                by=dict(zip(words, line.by, strict=True)),
                exchanges=line.exchanges,
                input_tokens=line.input_tokens,
                cached_input_tokens=line.cached_input_tokens,
                cache_write_tokens=line.cache_write_tokens,
                cache_write_1h_tokens=line.cache_write_1h_tokens,
                output_tokens=line.output_tokens,
                reasoning_tokens=line.reasoning_tokens,
                cost_nanousd=line.cost_nanousd,
                cost_usd=usd(line.cost_nanousd),
            )
            for line in found[: query.limit]
        )
        return UsageAnswer(from_=iso(from_us), to=iso(to_us), lines=lines, has_more=len(found) > query.limit)
