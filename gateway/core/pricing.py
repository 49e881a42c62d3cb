"""What tokens cost: prices as people write them, costs as whole nano-dollars."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from gateway.core.quantity import NotSwitch
from gateway.core.settings import Settings
from gateway.core.tokens import Usage

Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6, allow_inf_nan=False), NotSwitch]
"""USD with at most six decimals: USD per million tokens is then a whole number of pico-dollars per token."""


class Price(Settings):
    """What one model costs, in USD per million tokens (``request``: USD each)."""

    input: Dollars
    """Prompt tokens that no cache served."""
    output: Dollars
    """Generated tokens, reasoning included."""
    cached_input: Dollars | None = None
    """Prompt tokens read from the provider's cache; left out: as input."""
    cache_write: Dollars | None = None
    """Prompt tokens written to the provider's cache; left out: as input."""
    cache_write_1h: Dollars | None = None
    """The same, kept for an hour; left out: as cache_write."""
    request: Dollars = Decimal(0)
    """USD for each request, beside its tokens."""

    @cached_property
    def _pico(self) -> tuple[int, int, int, int, int, int]:
        """Whole pico-dollars per token of each kind, and per request."""
        write = self.input if self.cache_write is None else self.cache_write
        of_input, of_cached, of_write, of_write_1h, of_output = (
            int(rate.scaleb(6))
            for rate in (
                self.input,
                self.input if self.cached_input is None else self.cached_input,
                write,
                write if self.cache_write_1h is None else self.cache_write_1h,
                self.output,
            )
        )
        return of_input, of_cached, of_write, of_write_1h, of_output, int(self.request.scaleb(12))

    def cost_picousd(self, usage: Usage) -> int:
        """Return the exact cost in pico-dollars (10^-12 USD)."""
        of_input, of_cached, of_write, of_write_1h, of_output, of_request = self._pico
        return (
            usage.input * of_input
            + usage.cached_input * of_cached
            + usage.cache_write * of_write
            + usage.cache_write_1h * of_write_1h
            + usage.output * of_output
            + of_request
        )


FREE = Price(input=Decimal(0), output=Decimal(0))
"""Costs nothing, whatever the usage."""


def cost_nanousd(usage: Usage, price: Price) -> int:
    """Return the cost in nano-dollars (10^-9 USD): exact in integers, rounded once at the end, half up."""
    return (price.cost_picousd(usage) + 500) // 1000


def _form(value: object) -> str:
    return "<price>" if isinstance(value, (Mapping, Price)) else "<word>"


class PricingSettings(Settings):
    """What happens to a model whose price nobody knows."""

    unpriced: Annotated[
        Annotated[Literal["refuse", "free"], Tag("<word>")] | Annotated[Price, Tag("<price>")],
        Discriminator(_form),
    ] = "refuse"
    """refuse (the request, with code unpriced_model), free, or a price: {input: .., output: ..}."""

    @property
    def fallback(self) -> Price | None:
        """The price of an unpriced model; None is refuse."""
        if isinstance(self.unpriced, Price):
            return self.unpriced
        return FREE if self.unpriced == "free" else None


_VERSION_SUFFIX = re.compile(r"(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-latest)\Z")


class PriceTable:
    """Prices by the provider's model name.

    Args:
        shipped: the table that comes with the package, asked only where the configuration sets no price.
        as_of: the day on which the table was checked against the providers' pages.
    """

    def __init__(self, shipped: Mapping[str, Price], as_of: date) -> None:
        self._prices = MappingProxyType(dict(shipped))
        self.as_of = as_of

    def lookup(self, model: str) -> Price | None:
        """Find the price of the exact name, else without its version (``-2024-07-18``, ``-20241022``)."""
        price = self._prices.get(model)
        if price is None:
            base = _VERSION_SUFFIX.sub("", model)
            price = self._prices.get(base) if base != model else None
        return price

    def __len__(self) -> int:
        return len(self._prices)
