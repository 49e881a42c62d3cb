"""What the ledger keeps of an exchange: the row that opens it, the row that closes it, and one row per attempt.

Money is integer nano-dollars (10^-9 USD), times are integer microseconds since the Unix epoch, counts are tokens.

An opening is committed before any content leaves, so that an exchange whose process dies is not forgotten; the
closing has the whole account. Either may be written twice: a repeat changes nothing.

The rows are written once by whoever makes them, and only read from then on. They are not frozen all the same: every
request makes three of them, and to freeze their 33 fields costs more than to keep them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.outcome import Outcome
from gateway.core.pricing import Price, cost_nanousd
from gateway.core.tokens import Source, Usage

ID_RANDOM_BYTES = 10
"""Random bytes that :func:`new_exchange_id` takes; 74 of their 80 bits are used."""

NO_TAGS = "{}"
NO_USAGE = Usage()


class LedgerUnavailable(Exception):
    """Nothing can be written now: nobody may spend. Its sentence is fit for the caller."""


class RowRefused(Exception):
    """The database takes no such row, whatever its state: a value that no column holds."""


@dataclass(slots=True)
class Opening:
    """What is known before the first provider is asked.

    Attributes:
        exchange_id: unique for ever, from :func:`new_exchange_id`; ``request_id`` may be the client's and repeat.
        instance_id: unique for each start of a process, so that a row can be told to have lost its writer.
        tags: JSON object of texts, from :func:`tags_text`.
        input_estimate_tokens: what is charged for input if the process dies.
        hold_nanousd: held of the budget; counts as spent while the row is open.
        price: from :func:`price_text`, of the target that is asked first; None: costs nothing.
    """

    exchange_id: str
    request_id: str
    tenant_id: str
    key_id: str
    operation: str
    stream: bool
    model_asked: str
    instance_id: str
    opened_at_us: int
    tags: str = NO_TAGS
    input_estimate_tokens: int = 0
    hold_nanousd: int = 0
    price: str | None = None


@dataclass(slots=True)
class AttemptRow:
    """One dispatched attempt: what the operator pays a provider, whatever the tenant is charged.

    Attributes:
        number: from 1, within its exchange.
    """

    exchange_id: str
    number: int
    provider: str
    model: str
    outcome: Outcome
    started_at_us: int
    ended_at_us: int
    cost_nanousd: int
    source: Source


@dataclass(slots=True)
class Closing:
    """The whole account of an exchange that has ended.

    Attributes:
        opening: as it was written; where it could not be, the closing stands for both.
        provider, model_served: who answered; None: nobody.
        usage: what the tenant is charged for, and its source.
        status: HTTP status that the client got, 0 for none.
        ttft_ms: milliseconds to the first content, None where there was none.
    """

    opening: Opening
    outcome: Outcome
    status: int
    ended_at_us: int
    provider: str | None = None
    model_served: str | None = None
    usage: Usage = NO_USAGE
    cost_nanousd: int = 0
    ttft_ms: float | None = None
    attempts: tuple[AttemptRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Orphan:
    """An open row whose process is gone: all that is known of the exchange.

    Attributes:
        output_so_far_tokens: output relayed when the process last said so.
    """

    exchange_id: str
    tenant_id: str
    key_id: str
    opened_at_us: int
    input_estimate_tokens: int
    output_so_far_tokens: int
    hold_nanousd: int
    price: str | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a budget's scope has used of a period.

    Attributes:
        settled_nanousd: cost of what has ended.
        open_nanousd: holds of what has not: an upper bound of its cost.
    """

    settled_nanousd: int
    open_nanousd: int

    @property
    def total_nanousd(self) -> int:
        """What may have been spent at most; a budget that is rebuilt starts from it."""
        return self.settled_nanousd + self.open_nanousd


def new_exchange_id(now_us: int, random: bytes) -> str:
    """Make the id of an exchange: 32 hex digits, unguessable, later ones greater (UUIDv7: RFC 9562, section 5.7).

    In the order of time, so that a database appends to its indexes instead of writing all over them.

    Raises:
        ValueError: not :data:`ID_RANDOM_BYTES` random bytes, or a time that 48 bits of milliseconds do not hold.
    """
    ms = now_us // 1000
    if len(random) != ID_RANDOM_BYTES or not 0 <= ms < 1 << 48:
        raise ValueError(f"an id takes {ID_RANDOM_BYTES} random bytes and a time from 1970 to 10889")
    bits = int.from_bytes(random, "big")
    variant_and_rest = 0b10 << 62 | bits & (1 << 62) - 1
    return f"{ms << 16 | 0x7000 | bits >> 68:016x}{variant_and_rest:016x}"


def tags_text(tags: Mapping[str, str]) -> str:
    """Write tags as the JSON that the row keeps.

    What no database takes in a text is replaced by U+FFFD: NUL (PostgreSQL manual, section 8.14) and lone surrogates.
    """
    if not tags:
        return NO_TAGS
    return json.dumps({_storable(k): _storable(v) for k, v in tags.items()}, separators=(",", ":"))


def _storable(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "\ufffd")


def price_text(price: Price | None) -> str | None:
    """Write a price as the opening keeps it, so that an orphan costs what was agreed, not what holds later."""
    return None if price is None else price.model_dump_json(exclude_none=True)


def estimate_orphan(orphan: Orphan) -> tuple[Usage, int]:
    """What an exchange whose process died is charged: its prompt's estimate and the output it is known to have had.

    Returns:
        The usage, an estimate, and its cost in nano-dollars; the hold, where the price is none that we know to read.
    """
    usage = Usage(input=orphan.input_estimate_tokens, output=orphan.output_so_far_tokens, source=Source.ESTIMATED)
    if orphan.price is None:
        return usage, 0
    try:
        return usage, cost_nanousd(usage, Price.model_validate_json(orphan.price))
    except ValueError:
        return usage, orphan.hold_nanousd
