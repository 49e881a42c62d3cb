"""Limits and budgets as people write them, and whose apply to a request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from gateway.core.period import Period
from gateway.core.quantity import NotSwitch
from gateway.core.quota import Budget, Limits, Scope, WhenExhausted
from gateway.core.routing import ANY
from gateway.core.settings import Settings

MOST_SOFT_THRESHOLDS: Final = 10

PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000), NotSwitch]


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("must be US dollars, 0 for nothing at all; where there is no budget, leave budget out")
    return value


BudgetDollars = Annotated[
    Decimal,
    Field(ge=0, le=1_000_000_000, decimal_places=6, allow_inf_nan=False),
    NotSwitch,
    BeforeValidator(_not_null),
]
"""USD with at most six decimals, so whole nano-dollars."""

Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NotSwitch]


class LimitSettings(Settings):
    """How often, and how much at once; a limit that is left out does not exist."""

    requests_per_minute: PerMinute | None = None
    """Requests that fill up again each minute, a sixtieth of them each second."""
    tokens_per_minute: PerMinute | None = None
    """Tokens of input and output, likewise; six seconds' worth may come at once, or one request that is larger."""
    concurrent: PerMinute | None = None
    """Requests in flight at once."""
    burst: PerMinute | None = None
    """Requests that may come at once; left out: a second's worth, at least one."""

    @field_validator("burst")
    @classmethod
    def _of_something(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("requests_per_minute", value) is None:
            raise ValueError("needs requests_per_minute beside it: it is how many of them may come at once")
        return value

    @property
    def limits(self) -> Limits | None:
        """The same for the machine; None where nothing is limited."""
        limits = Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrent, self.burst)
        return None if limits.is_none else limits


class BudgetSettings(Settings):
    """How much may be spent in each period."""

    usd: BudgetDollars
    """US dollars for each period; 0: nothing may be spent."""
    window: Literal["day", "week", "month", "total"] = "month"
    """The period after which it begins again: day, week (from Monday), month, or total, which never does."""
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """Whose calendar counts: an IANA time zone such as Europe/Berlin."""
    soft_at: Annotated[tuple[Share, ...], Field(max_length=MOST_SOFT_THRESHOLDS)] = (0.5, 0.8)
    """Shares of it that are reported when they are spent, once for each period."""
    when_exhausted: WhenExhausted = "cut"
    """Running streams: cut holds in steps and ends them where the money ends, finish holds all from the beginning."""

    @field_validator("timezone")
    @classmethod
    def _exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # the last for `Europe`, a folder of the tzdata package
            raise ValueError("is no time zone: write a name of the IANA database, UTC or Europe/Berlin, say") from None
        return value

    @field_validator("soft_at")
    @classmethod
    def _in_order(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value):
            raise ValueError("has a share twice: write each once")
        return tuple(sorted(value))

    @property
    def budget(self) -> Budget:
        """The same for the machine."""
        return Budget(
            int(self.usd.scaleb(9)), Period(self.window), ZoneInfo(self.timezone), self.soft_at, self.when_exhausted
        )


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a scope is: a tenant's own, or that of one of its keys, or of a configured model for it."""

    tenant_id: str
    key_id: str | None = None
    model: str | None = None

    @property
    def scope_key(self) -> str:
        """Its name in every store."""
        if self.key_id is not None:
            return f"key/{self.tenant_id}/{self.key_id}"
        if self.model is not None:
            return f"model/{self.tenant_id}/{self.model}"
        return f"tenant/{self.tenant_id}"


def owner_of(scope_key: str) -> Owner:
    """Read a scope's key back.

    Raises:
        ValueError: it is none.
    """
    kind, _, rest = scope_key.partition("/")
    tenant_id, slash, name = rest.partition("/")
    if kind == "tenant" and tenant_id and not slash:
        return Owner(tenant_id)
    if kind in ("key", "model") and tenant_id and name:
        return Owner(tenant_id, key_id=name) if kind == "key" else Owner(tenant_id, model=name)
    raise ValueError(f"not the key of a scope: {scope_key}")


class Entitlement:
    """What one tenant may use: from a key and a model to the scopes that must agree.

    Args:
        tenant_id: whose it is.
        limits: of all its requests together.
        budget: likewise.
        keys: of those keys that have any of their own.
        models: by configured name or pattern; one with ``*`` is for each model that it covers by itself, a
            name before any, then the longest.
    """

    def __init__(
        self,
        tenant_id: str,
        limits: LimitSettings | None = None,
        budget: BudgetSettings | None = None,
        keys: Mapping[str, tuple[LimitSettings | None, BudgetSettings | None]] | None = None,
        models: Mapping[str, LimitSettings] | None = None,
    ) -> None:
        self._tenant_id = tenant_id
        self._own = _scopes(Owner(tenant_id), f"the tenant `{tenant_id}`", limits, budget)
        self._keys = {
            key_id: self._own + _scopes(Owner(tenant_id, key_id=key_id), f"the key `{key_id}`", *its)
            for key_id, its in (keys or {}).items()
        }
        self._patterns = sorted(
            (models or {}).items(), key=lambda item: (item[0][-1:] != ANY, len(item[0])), reverse=True
        )
        self._models: dict[str, tuple[Scope, ...]] = {}

    @property
    def own(self) -> Scope | None:
        """The tenant's scope; None: nothing limits all its requests together."""
        return next(iter(self._own), None)

    @property
    def keys(self) -> tuple[Scope, ...]:
        """The scopes of those of its keys that have limits or a budget of their own."""
        return tuple(scopes[-1] for scopes in self._keys.values() if len(scopes) > len(self._own))

    def of_key(self, key_id: str) -> Scope | None:
        """Return the scope of one of its keys; None: the key has no limits or budget of its own."""
        return next(iter(self._keys.get(key_id, self._own)[len(self._own) :]), None)

    def scopes(self, key_id: str, label: str) -> tuple[Scope, ...]:
        """Return the scopes of a request: tenant, key, model, those of them that limit anything.

        Args:
            key_id: which key authenticated it.
            label: the configured name or pattern that serves it, never the asked name: labels are a closed set.
        """
        of_model = self._models.get(label)
        if of_model is None:
            of_model = self._models[label] = self._of_model(label)
        return self._keys.get(key_id, self._own) + of_model

    def _of_model(self, label: str) -> tuple[Scope, ...]:
        limits = next((limits for pattern, limits in self._patterns if covers(pattern, label)), None)
        owner = f"the model `{label}` for the tenant `{self._tenant_id}`"
        return _scopes(Owner(self._tenant_id, model=label), owner, limits, None)


def _scopes(owner: Owner, name: str, limits: LimitSettings | None, budget: BudgetSettings | None) -> tuple[Scope, ...]:
    scope = Scope(owner.scope_key, name, limits.limits if limits else None, budget.budget if budget else None)
    return () if scope.limits is None and scope.budget is None else (scope,)


def covers(pattern: str, label: str) -> bool:
    """Tell whether a name or pattern is for all that a configured name or pattern serves."""
    return pattern == label or (pattern.endswith(ANY) and label.startswith(pattern[:-1]))


def may_cut(scopes: Iterable[Scope]) -> bool:
    """Tell whether a stream holds in steps and may be cut off: some budget says so, and none promises to finish."""
    words = {scope.budget.when_exhausted for scope in scopes if scope.budget is not None}
    return words == {"cut"}
