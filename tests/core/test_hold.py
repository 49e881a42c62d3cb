"""What is held before a request is sent: never less than it can cost, and the same in steps as at once."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.hold import (
    DEFAULT_MAX_OUTPUT_TOKENS,
    ORDINARY_OUTPUT_TOKENS,
    STEP_TOKENS,
    Ceiling,
    Step,
    Steps,
    output_bound,
    token_estimate,
)
from gateway.core.pricing import FREE, Price, cost_nanousd
from gateway.core.tokens import Usage

rates = st.decimals(0, 100, places=6)
optional = st.none() | rates
prices = st.builds(
    Price,
    input=rates,
    output=rates,
    cached_input=optional,
    cache_write=optional,
    cache_write_1h=optional,
    request=rates,
)


def price(input_usd: str, output_usd: str, **more: str) -> Price:
    """USD per million tokens."""
    return Price.model_validate({"input": input_usd, "output": output_usd, **more})


@pytest.mark.parametrize(
    ("table", "prompt", "output", "nanousd"),
    [
        ([price("0.15", "0.60")], 1000, 16_384, 150_000 + 9_830_400),
        ([price("0.15", "0.60", request="0.01")], 1000, 0, 150_000 + 10_000_000),
        ([price("3", "15", cache_write="3.75", cache_write_1h="6")], 1000, 100, 6_000_000 + 1_500_000),
        ([price("1", "1", cached_input="2")], 10, 0, 20_000),
        ([price("0.000001", "0")], 1, 0, 1),
        ([price("10", "1"), price("1", "10")], 100, 10, 1_010_000),
        ([price("10", "1"), price("1", "10")], 10, 100, 1_010_000),
        ([None, price("1", "2")], 10, 10, 30_000),
        ([None], 10, 10, 0),
        ([FREE], 10, 10, 0),
        ([], 10, 10, 0),
    ],
)
def test_the_ceiling_is_the_dearest_that_can_come(
    table: list[Price | None], prompt: int, output: int, nanousd: int
) -> None:
    """Of all targets and all kinds of input, rounded up."""
    assert Ceiling(table).nanousd(prompt, output) == nanousd


@given(st.lists(prices, min_size=1, max_size=4), st.lists(st.integers(0, 10**6), min_size=5, max_size=5), st.data())
def test_no_usage_within_it_costs_more(table: list[Price], tokens: list[int], data: st.DataObject) -> None:
    """Whichever target serves, and however its input is made up."""
    plain, cached, written, for_1h, output = tokens
    usage = Usage(input=plain, cached_input=cached, cache_write=written, cache_write_1h=for_1h, output=output)
    bound = Ceiling(table).nanousd(usage.input_total, output + data.draw(st.integers(0, 1000)))
    assert all(cost_nanousd(usage, one) <= bound for one in table)


@given(st.lists(prices, min_size=1, max_size=4), st.integers(0, 10**6), st.integers(0, 10**6))
def test_it_is_no_more_than_one_target_can_cost(table: list[Price], prompt: int, output: int) -> None:
    """It is reached: leaving out what others cover loses nothing and adds nothing."""
    kinds = [
        Usage(input=prompt, output=output),
        Usage(cached_input=prompt, output=output),
        Usage(cache_write=prompt, output=output),
        Usage(cache_write_1h=prompt, output=output),
    ]
    costs = [one.cost_picousd(kind) for one in table for kind in kinds]
    assert Ceiling(table).nanousd(prompt, output) == -(-max(costs) // 1000)


@pytest.mark.parametrize(
    ("choices", "asked", "configured", "tokens"),
    [
        (1, 100, 4096, 100),
        (3, 100, None, 300),
        (1, None, 4096, 4096),
        (2, None, 4096, 8192),
        (2, None, None, 2 * DEFAULT_MAX_OUTPUT_TOKENS),
        (0, None, 4096, 0),
    ],
)
def test_the_most_that_is_written(choices: int, asked: int | None, configured: int | None, tokens: int) -> None:
    """The request's own word, else the configuration's, else ours; for each choice."""
    assert output_bound(choices, asked, configured) == tokens


@pytest.mark.parametrize(
    ("choices", "asked", "configured", "tokens"),
    [
        (1, 100, None, 107),
        (2, 5000, None, 10_007),
        (1, None, None, 7 + ORDINARY_OUTPUT_TOKENS),
        (2, None, 16_384, 7 + 2 * ORDINARY_OUTPUT_TOKENS),
        (1, None, 100, 107),
        (0, None, None, 7),
    ],
)
def test_the_estimate_for_the_rate(choices: int, asked: int | None, configured: int | None, tokens: int) -> None:
    """What is asked for, else an ordinary answer."""
    assert token_estimate(7, choices, asked, configured) == tokens


def test_a_large_hold_is_taken_in_steps() -> None:
    """The first one with the prompt and the request; each covers more output."""
    steps = Steps(Ceiling([price("1", "10", request="0.001")]), 1000, 2 * STEP_TOKENS + 1)
    first = steps.first
    assert first == Step(1_000_000 + 1_000_000 + STEP_TOKENS * 10_000, STEP_TOKENS)
    second = steps.after(first.output_tokens)
    assert second == Step(STEP_TOKENS * 10_000, 2 * STEP_TOKENS)
    assert steps.after(2 * STEP_TOKENS) == Step(10_000, 2 * STEP_TOKENS + 1)
    assert steps.after(2 * STEP_TOKENS + 1) is None


def test_a_small_hold_is_one_step() -> None:
    """Most requests never ask again."""
    steps = Steps(Ceiling([price("1", "10")]), 1000, 100)
    assert steps.first == Step(2_000_000, 100)
    assert steps.after(100) is None


@given(st.lists(prices, min_size=1, max_size=3), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(500, 10**5))
def test_steps_add_up_to_the_whole(table: list[Price], prompt: int, output: int, step: int) -> None:
    """To the nano-dollar, each paying for what it covers."""
    ceiling = Ceiling(table)
    steps = Steps(ceiling, prompt, output, step)
    now, held = steps.first, 0
    while True:
        held += now.nanousd
        assert now.nanousd >= 0
        assert held == ceiling.nanousd(prompt, now.output_tokens)
        following = steps.after(now.output_tokens)
        if following is None:
            break
        now = following
    assert now.output_tokens == output


def test_a_step_is_at_least_a_token() -> None:
    """Else it would never end."""
    with pytest.raises(ValueError, match="1 token or more"):
        Steps(Ceiling([Price(input=Decimal(1), output=Decimal(1))]), 1, 1, 0)
