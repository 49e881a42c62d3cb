"""What may be said of a tenant and of a key, wherever it is written: ``gateway.yaml`` or the admin API."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.core.routing import ANY, Identifier, ModelPattern
from gateway.core.settings import Settings
from gateway.tenancy.quotas import BudgetSettings, LimitSettings

_NOT_TEXT: Final = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of what would break a line or a log: control characters, surrogates, separators of lines."""

_NO_MOMENT: Final = "must be a date or a moment: 2027-01-01 or 2027-01-01T12:00:00+00:00"


def _check_text(value: str) -> str:
    if any(unicodedata.category(character) in _NOT_TEXT for character in value):
        raise ValueError("must be one line of text: no line breaks and no control characters")
    return value


def _as_moment(value: object) -> object:
    if isinstance(value, str):
        try:
            whole_day = len(value) == len("2027-01-01")
            value = date.fromisoformat(value) if whole_day else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(_NO_MOMENT) from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        try:
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        except OverflowError:  # within a day of the calendar's ends
            raise ValueError(_NO_MOMENT) from None
    if value is None:
        return None
    raise ValueError(_NO_MOMENT)


PlainText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_text)]
"""A line for people to read."""

Moment = Annotated[datetime | None, BeforeValidator(_as_moment)]
"""A date, which is its first instant in UTC, or a moment; without a zone it is in UTC."""


class KeyTerms(Settings):
    """What one key may use, within what its tenant may."""

    limits: LimitSettings | None = None
    """How often and how much at once with this key, within what its tenant may."""
    budget: BudgetSettings | None = None
    """How much may be spent with this key, within what its tenant may; left out: no budget of its own."""


class KeyDraft(KeyTerms):
    """One key of a tenant, as the admin API takes it; the secret is made by the gateway."""

    id: Identifier
    """Name of the key in logs; unique within its tenant, for ever."""
    label: PlainText | None = None
    """What it is for, for people."""
    expires: Moment = None
    """From this moment on the key is refused; a date is its first instant in UTC."""


class TenantDraft(Settings):
    """One tenant, as the admin API takes it; its keys are made one by one."""

    id: Identifier
    """Name in metrics and logs; unique."""
    name: PlainText | None = None
    """Name for people."""
    models: tuple[ModelPattern, ...] = (ANY,)
    """Which models it may use: names, or patterns with a * at the end."""
    limits: LimitSettings | None = None
    """How often and how much at once, all its keys together."""
    model_limits: Mapping[ModelPattern, LimitSettings] = Field(default_factory=dict)
    """The same for single models, by their configured names, or by patterns: then for each model that matches."""
    budget: BudgetSettings | None = None
    """How much may be spent in each period, all its keys together; left out: no budget."""
