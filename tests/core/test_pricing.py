"""Prices as people write them, costs exact to the nano-dollar."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.pricing import FREE, Price, PriceTable, PricingSettings, cost_nanousd
from gateway.core.tokens import Usage

COUNTS = st.integers(0, 10**9)
RATES = st.decimals(0, 1_000_000, places=6)
USAGES = st.builds(Usage, input=COUNTS, cached_input=COUNTS, cache_write=COUNTS, cache_write_1h=COUNTS, output=COUNTS)
PRICES = st.builds(
    Price,
    input=RATES,
    output=RATES,
    cached_input=st.none() | RATES,
    cache_write=st.none() | RATES,
    cache_write_1h=st.none() | RATES,
    request=RATES,
)


@given(USAGES, PRICES)
def test_cost_is_exact_and_rounded_once(usage: Usage, price: Price) -> None:
    """Against fractions: never off by more than half a nano-dollar, ties upward."""
    write = price.input if price.cache_write is None else price.cache_write
    exact_usd = Fraction(price.request) + (
        usage.input * Fraction(price.input)
        + usage.cached_input * Fraction(price.input if price.cached_input is None else price.cached_input)
        + usage.cache_write * Fraction(write)
        + usage.cache_write_1h * Fraction(write if price.cache_write_1h is None else price.cache_write_1h)
        + usage.output * Fraction(price.output)
    ) / Fraction(10**6)
    error = cost_nanousd(usage, price) - exact_usd * 10**9
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("price", "usage", "nano"),
    [
        (Price(input=0.15, output=0.60), Usage(input=1000, output=500), 150_000 + 300_000),
        (Price(input=3, output=15, cached_input=0.3), Usage(cached_input=1_000_000), 300_000_000),
        (Price(input=3, output=15), Usage(cached_input=1_000_000), 3_000_000_000),
        (Price(input=3, output=15, cache_write=3.75), Usage(cache_write_1h=1_000_000), 3_750_000_000),
        (Price(input=3, output=15), Usage(cache_write=1_000_000, cache_write_1h=1_000_000), 6_000_000_000),
        (Price(input=0, output=0, request=0.000001), Usage(), 1_000),
        (Price(input=0.0005, output=0), Usage(input=1), 1),
        (Price(input=0.000499, output=0), Usage(input=1), 0),
        (Price(input=3, output=0, cached_input=0), Usage(cached_input=7), 0),
        (FREE, Usage(input=10**9, output=10**9), 0),
    ],
)
def test_cost_by_kind(price: Price, usage: Usage, nano: int) -> None:
    """Each kind has its rate; what a price leaves out costs what the wider kind costs; half rounds up."""
    assert cost_nanousd(usage, price) == nano


def test_reasoning_is_not_paid_twice() -> None:
    """Reasoning is part of output."""
    price = Price(input=1, output=2)
    assert cost_nanousd(Usage(output=10, reasoning=9), price) == cost_nanousd(Usage(output=10), price)


@pytest.mark.parametrize(
    "written",
    [
        {"input": -1, "output": 0},
        {"input": 0.1234567, "output": 0},
        {"input": 1},
        {"output": 1},
        {"input": True, "output": 0},
        {"input": "much", "output": 0},
        {"input": 1_000_001, "output": 0},
        {"input": "Infinity", "output": 0},
        {"input": "NaN", "output": 0},
        {"input": 1, "output": 1, "outputs": 1},
    ],
)
def test_a_price_that_cannot_be_is_refused(written: dict[str, Any]) -> None:
    """Negative, unbounded, finer than a pico-dollar per token, or not whole: refused."""
    with pytest.raises(ValidationError):
        Price.model_validate(written)


@given(RATES)
def test_prices_mean_the_same_as_float_text_and_decimal(rate: Decimal) -> None:
    """YAML gives floats, the environment gives text: both are read as they were written."""
    if Decimal(str(float(rate))) != rate:
        return  # more digits than a float holds: YAML would have lost them before us
    one = Price(input=rate, output=rate)
    assert Price.model_validate({"input": float(rate), "output": str(rate)}) == one


@pytest.mark.parametrize(
    ("unpriced", "fallback"),
    [("refuse", None), ("free", FREE), ({"input": 1, "output": 2}, Price(input=1, output=2))],
)
def test_unpriced_models_have_a_policy(unpriced: object, fallback: Price | None) -> None:
    """Refuse, free, or a price of their own."""
    assert PricingSettings.model_validate({"unpriced": unpriced}).fallback == fallback


def test_unpriced_models_are_refused_by_default() -> None:
    """Nobody is served for nothing by accident."""
    assert PricingSettings().fallback is None


TABLE = PriceTable(
    {
        "gpt-4o": Price(input=2.5, output=10),
        "gpt-4o-2024-05-13": Price(input=5, output=15),
        "claude-3-5-haiku": Price(input=0.8, output=4),
    },
    date(2026, 1, 1),
)


@pytest.mark.parametrize(
    ("model", "input_usd"),
    [
        ("gpt-4o", 2.5),
        ("gpt-4o-2024-08-06", 2.5),
        ("gpt-4o-2024-05-13", 5),
        ("claude-3-5-haiku-20241022", 0.8),
        ("claude-3-5-haiku@20241022", 0.8),
        ("claude-3-5-haiku-latest", 0.8),
        ("gpt-4o-mini", None),
        ("gpt-4o-2024-08-06-preview", None),
        ("gpt-4o-0806", None),
        ("", None),
    ],
)
def test_a_price_is_found_with_or_without_the_version(model: str, input_usd: float | None) -> None:
    """A dated name has its own price, else that of its base; a similar name has none."""
    price = TABLE.lookup(model)
    assert (price and float(price.input)) == input_usd
