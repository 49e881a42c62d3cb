"""Which targets serve the model that a client asks for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from gateway.core.hold import Ceiling
from gateway.core.ledger import price_text
from gateway.core.pricing import Price, PriceTable
from gateway.core.quantity import NotSwitch, Seconds
from gateway.core.settings import Settings
from gateway.core.timeouts import TimeoutOverrides

ANY = "*"

Balance = Literal["ordered", "weighted", "least_busy"]
"""How one of several targets is chosen."""

MAX_REMEMBERED_ROUTES = 1024
"""Routes of pattern names kept ready; the oldest leaves first, so made-up names cannot fill the memory."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")
_MODEL_PATTERN = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9._:/@-]*\*?")
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_model_name(name: str) -> bool:
    """Tell whether a name is 1 to 128 plain characters: safe in a label, a log line, a path and a header."""
    return _MODEL_NAME.fullmatch(name) is not None


def check_model_pattern(name: str) -> str:
    """Return a model name or a pattern (one ``*``, at the end) unchanged, or raise ValueError."""
    if _MODEL_PATTERN.fullmatch(name) is None:
        raise ValueError(
            "must be 1 to 128 letters, digits and . _ : / @ - ; one * may stand at the very end, nowhere else"
        )
    return name


def check_id(name: str) -> str:
    """Return the name of a provider, a tenant or a key unchanged, or raise ValueError."""
    if _PROVIDER_NAME.fullmatch(name) is None:
        raise ValueError("must be 1 to 64 lower-case letters, digits and . _ - ; the first one a letter or a digit")
    return name


def split_target(target: str) -> tuple[str, str]:
    """Split ``provider/model`` at its first slash (models have slashes of their own), or raise ValueError."""
    provider, slash, model = target.partition("/")
    if not slash or _PROVIDER_NAME.fullmatch(provider) is None:
        raise ValueError("must be provider/model, such as openai/gpt-4o-mini")
    if model != ANY and not is_model_name(model):
        raise ValueError(
            "must name one model after the slash (letters, digits and . _ : / @ -), or * alone, "
            "which is the name as asked"
        )
    return provider, model


def _check_target(target: str) -> str:
    split_target(target)
    return target


TargetName = Annotated[str, AfterValidator(_check_target)]
Identifier = Annotated[str, AfterValidator(check_id)]
ModelPattern = Annotated[str, AfterValidator(check_model_pattern)]


class TargetSettings(Settings):
    """One target in its long form."""

    target: TargetName
    """provider/model, or provider/* for the name as asked."""
    weight: Annotated[int, Field(ge=0, le=1_000_000), NotSwitch] = 1
    """Its share where balance is weighted, beside the weights of the others; 0 serves only when they cannot."""


class HedgeSettings(Settings):
    """A second target starts where the first is slow; the first content wins, the other is cancelled, and paid."""

    after_s: Seconds
    """Seconds without content after which the next target starts too."""
    max_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NotSwitch] = 0.05
    """Most of this model's requests that may do so: 0.05 is one in twenty."""


def _form(value: object) -> str:
    return "<mapping>" if isinstance(value, (Mapping, TargetSettings)) else "<text>"


class ModelSettings(Settings):
    """What one name (or pattern of names) that clients ask for leads to."""

    targets: Annotated[
        tuple[
            Annotated[
                Annotated[TargetName, Tag("<text>")] | Annotated[TargetSettings, Tag("<mapping>")],
                Discriminator(_form),
            ],
            ...,
        ],
        Field(min_length=1),
    ]
    """Where requests go, in this order: provider/model, or provider/* for the asked name; one dialect."""
    balance: Balance = "ordered"
    """Which is asked first: ordered the first, weighted one by its weight, least_busy the idler of two."""
    hedge: HedgeSettings | None = None
    """When a second target is asked beside a slow one; left out: never."""
    slow_first_token_s: Seconds | None = None
    """Seconds to the first content beyond which an answer counts as a failure of its target; left out: none does."""
    max_output: Annotated[int, Field(ge=1, le=10_000_000), NotSwitch] | None = None
    """Most output tokens of one request, where the request names none."""
    price: Price | None = None
    """USD per million tokens; left out: the shipped price of the target's model."""
    timeouts: TimeoutOverrides | None = None
    """What this model changes of its provider's timeouts."""

    @property
    def target_names(self) -> tuple[tuple[str, str], ...]:
        """Provider and model of each target, in order."""
        return tuple(split_target(t if isinstance(t, str) else t.target) for t in self.targets)

    @property
    def weights(self) -> tuple[int, ...]:
        """The weight of each target, in order."""
        return tuple(1 if isinstance(t, str) else t.weight for t in self.targets)


@dataclass(frozen=True, slots=True)
class Target:
    """One provider's model; ``price`` None means that requests are refused as unpriced.

    ``circuit`` names its breaker among those of the provider: the model, or the configured pattern where the model is
    whatever matches one, so that names made up by clients make no breakers.
    """

    provider: str
    model: str
    weight: int = 1
    price: Price | None = None
    circuit: str = ""
    price_text: str | None = field(init=False, repr=False, compare=False)
    """The price as an opening row keeps it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "price_text", price_text(self.price))


@dataclass(frozen=True, slots=True)
class Route:
    """Where one asked name leads.

    ``asked`` is the client's word, ``label`` the configured name or pattern (the metric label, a closed set),
    ``targets`` have their ``*`` filled in, ``timeouts`` change the provider's; the rest is as in
    :class:`ModelSettings`.
    """

    asked: str
    label: str
    targets: tuple[Target, ...]
    max_output: int | None
    timeouts: TimeoutOverrides | None
    dialect: str
    balance: Balance = "ordered"
    hedge: HedgeSettings | None = None
    slow_first_token_s: float | None = None
    ceiling: Ceiling = field(init=False, repr=False, compare=False)
    """What a request costs at most, whichever target serves."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ceiling", Ceiling(target.price for target in self.targets))


class ModelTable:
    """The configured models, ready to be asked once per request.

    An exact name wins, then the pattern with the longest prefix.

    Args:
        models: by name or pattern, already checked: targets of known providers, one dialect each.
        dialects: the dialect of each provider.
        prices: asked where a model has no price of its own, by the name that the provider knows.
        unpriced: the price where that finds nothing; None refuses.

    Attributes:
        settings, unpriced: as given.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSettings],
        dialects: Mapping[str, str],
        prices: PriceTable,
        unpriced: Price | None,
    ) -> None:
        self.settings: Mapping[str, ModelSettings] = dict(models)
        self._dialects = dict(dialects)
        self._prices = prices
        self.unpriced = unpriced
        self._exact = {name: self._route(name, name) for name in models if not name.endswith(ANY)}
        patterns = [name for name in models if name.endswith(ANY)]
        self._patterns = tuple((p[:-1], p) for p in sorted(patterns, key=len, reverse=True))
        self._remembered: dict[str, Route] = {}

    def resolve(self, asked: str) -> Route | None:
        """Return the route of a name as asked, or None where no name and no pattern matches it."""
        route = self._exact.get(asked) or self._remembered.get(asked)
        if route is None and is_model_name(asked):
            label = next((pattern for prefix, pattern in self._patterns if asked.startswith(prefix)), None)
            if label is not None:
                route = self._route(asked, label)
                if len(self._remembered) >= MAX_REMEMBERED_ROUTES:
                    del self._remembered[next(iter(self._remembered))]
                self._remembered[asked] = route
        return route

    def names(self) -> tuple[str, ...]:
        """Return exact names and patterns in the configuration's order: the closed set of metric labels."""
        return tuple(self.settings)

    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return each pair of provider and configured name that can occur: the known metric series."""
        return tuple(
            dict.fromkeys(
                (provider, name) for name, model in self.settings.items() for provider, _ in model.target_names
            )
        )

    def circuits(self) -> tuple[tuple[str, str], ...]:
        """Return each pair of provider and circuit that can occur, in the configuration's order: the known breakers."""
        return tuple(
            dict.fromkeys(
                (provider, _circuit(label, model))
                for label, settings in self.settings.items()
                for provider, model in settings.target_names
            )
        )

    def _route(self, asked: str, label: str) -> Route:
        settings = self.settings[label]
        targets = tuple(
            self._target(provider, asked if model == ANY else model, weight, settings.price, _circuit(label, model))
            for (provider, model), weight in zip(settings.target_names, settings.weights, strict=True)
        )
        return Route(
            asked=asked,
            label=label,
            targets=targets,
            max_output=settings.max_output,
            timeouts=settings.timeouts,
            dialect=self._dialects[targets[0].provider],
            balance=settings.balance,
            hedge=settings.hedge,
            slow_first_token_s=settings.slow_first_token_s,
        )

    def _target(self, provider: str, model: str, weight: int, price: Price | None, circuit: str) -> Target:
        price = price or self._prices.lookup(model) or self.unpriced
        return Target(provider=provider, model=model, weight=weight, price=price, circuit=circuit)


def _circuit(label: str, model: str) -> str:
    """Name the breaker of a configured target; an exact name that goes through as asked names its own."""
    return label if model == ANY else model
