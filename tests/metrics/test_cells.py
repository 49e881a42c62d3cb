"""Cells: counters never fall, gauges hold numbers only, histograms count as the stock ones do."""

import logging
import math
from bisect import bisect_left

import pytest
from aioprometheus.histogram import Histogram as StockHistogram
from hypothesis import given
from hypothesis import strategies as st

from gateway.metrics.cells import CounterCell, GaugeCell, HistogramCell

amounts = st.integers(0, 10**6)


def test_counter_counts_by_one_and_by_more() -> None:
    """Integers stay integers, so nothing is rounded away."""
    cell = CounterCell("x ")
    cell.inc()
    cell.inc(2**60)
    assert cell.value == 2**60 + 1


@pytest.mark.parametrize("amount", [-1, -0.5, math.nan, math.inf, -math.inf])
def test_counter_refuses_what_would_spoil_it(amount: float) -> None:
    """A negative, infinite or undefined step leaves the counter as it was."""
    cell = CounterCell("x ")
    cell.inc(3)
    with pytest.raises(ValueError, match="at least 0"):
        cell.inc(amount)
    with pytest.raises(ValueError, match="at least 0"):
        cell.settle(amount, 0)
    with pytest.raises(ValueError, match="at least 0"):
        cell.settle(0, amount)
    assert cell.value == 3


def test_over_estimate_becomes_debt_and_is_paid_back() -> None:
    """A stream estimated at 12 tokens and billed 10 holds the next two increments back."""
    cell = CounterCell("x ")
    cell.inc(12)
    cell.settle(10, 12)
    assert (cell.value, cell.debt) == (12, 2)
    cell.inc()
    assert (cell.value, cell.debt) == (12, 1)
    cell.inc(5)
    assert (cell.value, cell.debt) == (16, 0)


def test_settlement_adds_what_was_not_flushed() -> None:
    """The rest of a stream comes at its end."""
    cell = CounterCell("x ")
    cell.inc(7)
    cell.settle(20, 7)
    assert (cell.value, cell.debt) == (20, 0)


@given(st.lists(st.tuples(st.lists(amounts, max_size=4), amounts), max_size=20))
def test_counter_never_falls_and_ends_at_the_truth(streams: list[tuple[list[int], int]]) -> None:
    """Whatever streams flush and settle, the counter only rises, and value less debt is the exact total."""
    cell = CounterCell("x ")
    seen = [cell.value]
    for flushes, exact in streams:
        for flush in flushes:
            cell.inc(flush)
            seen.append(cell.value)
        cell.settle(exact, sum(flushes))
        seen.append(cell.value)
        assert cell.debt >= 0
    assert seen == sorted(seen)
    assert cell.value - cell.debt == sum(exact for _, exact in streams)


def test_gauge_is_set_raised_and_lowered() -> None:
    """The three verbs."""
    cell = GaugeCell("x ")
    cell.set(5)
    cell.inc()
    cell.dec(4)
    assert cell.value == 2


def test_gauge_makes_a_number_of_a_truth_value() -> None:
    """`True` would be printed as a word that no Prometheus reads."""
    cell = GaugeCell("x ")
    cell.set(True)
    assert f"{cell.value}" == "1"


def test_gauge_refuses_a_word() -> None:
    """A string is no value, set or read."""
    with pytest.raises(TypeError):
        GaugeCell("x ").set("abc")  # type: ignore[arg-type]


def test_gauge_reads_its_function_at_the_scrape_only() -> None:
    """The function is asked once per refresh and never otherwise."""
    asked: list[int] = []

    def idle_connections() -> int:
        asked.append(1)
        return 40 + len(asked)

    cell = GaugeCell("x ")
    cell.read_from(idle_connections)
    assert not asked
    cell.refresh()
    assert (cell.value, len(asked)) == (41, 1)


def test_gauge_whose_function_fails_says_nan_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    """One broken reading spoils neither the scrape nor goes unnoticed."""

    def broken() -> float:
        raise RuntimeError("pool is closed")

    cell = GaugeCell('pool{provider="a"} ')
    cell.set(3)
    cell.read_from(broken)
    with caplog.at_level(logging.WARNING):
        cell.refresh()
    assert math.isnan(cell.value)
    assert 'pool{provider="a"}' in caplog.text
    assert "pool is closed" in caplog.text


def histogram(*bounds: float) -> HistogramCell:
    """A cell whose line beginnings do not matter."""
    return HistogramCell(bounds, tuple("x " for _ in range(len(bounds) + 3)))


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20, unique=True).map(sorted),
    st.lists(st.floats(-1e9, 1e9), max_size=50),
    st.data(),
)
def test_histogram_counts_as_the_stock_one(bounds: list[float], values: list[float], data: st.DataObject) -> None:
    """Bisecting and cumulating late gives the buckets that walking every bucket gives, on a bound too."""
    values += data.draw(st.lists(st.sampled_from(bounds), max_size=5))
    ours, stock = histogram(*bounds), StockHistogram(*bounds)
    for value in values:
        ours.observe(value)
        stock.observe(value)
    assert ours.cumulated() == list(stock.buckets.values())
    assert ours.count == stock.observations
    assert ours.sum == stock.sum


def test_histogram_moved_inline_is_the_same() -> None:
    """The hot path writes into the list itself; that must mean what `observe` means."""
    observed, inline = histogram(0.1, 0.5), histogram(0.1, 0.5)
    for gap in (0.05, 0.1, 0.3, 7.0):
        observed.observe(gap)
        inline.counts[bisect_left(inline.bounds, gap)] += 1
        inline.sum += gap
    assert (inline.counts, inline.sum) == (observed.counts, observed.sum) == ([2, 1, 1], 0.05 + 0.1 + 0.3 + 7.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_histogram_refuses_what_would_spoil_its_sum(value: float) -> None:
    """One NaN in the sum would stay there until the restart."""
    cell = histogram(1.0)
    with pytest.raises(ValueError, match="finite"):
        cell.observe(value)
    assert (cell.count, cell.sum) == (0, 0)
