"""Collectors: hostile label values stay values, labels are declared, money is printed exactly."""

from decimal import Decimal
from functools import partial

import pytest
from aioprometheus.collectors import Registry
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.metrics.collectors import BoundCounter, BoundGauge, BoundHistogram, ReadCounter
from gateway.metrics.exposition import ReadyTextFormatter
from tests.metrics.text_format import Exposition, read_exposition

HOSTILE = [
    'a"',
    "a\\",
    '\\"',
    "a\nb",
    "a\r\nb",
    'a"} 1\nforged_metric{y="z',
    "# TYPE x counter",
    "",
    " ",
    "}",
    "\x00",
    "\u2028\u0085",
    "gpt-é-漢-🚀",
]

any_text = st.text(st.characters(exclude_categories=()))


def scrape(registry: Registry) -> Exposition:
    """Render and read back."""
    return read_exposition(ReadyTextFormatter().marshall(registry))


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_label_value_comes_back_as_it_was(value: str) -> None:
    """It is one value of one series: it breaks nothing and forges nothing."""
    registry = Registry()
    BoundCounter(registry, "requests_total", "Requests.", ("model",)).labels(value).inc()
    BoundGauge(registry, "streams", "Streams.", ("model",)).labels(value).set(2)
    BoundHistogram(registry, "wait_seconds", "Wait.", ("model",), bounds=(1,)).labels(value).observe(0.5)
    seen = scrape(registry)
    assert seen.samples == {
        ("requests_total", frozenset({("model", value)})): 1,
        ("streams", frozenset({("model", value)})): 2,
        ("wait_seconds_bucket", frozenset({("model", value), ("le", "1.0")})): 1,
        ("wait_seconds_bucket", frozenset({("model", value), ("le", "+Inf")})): 1,
        ("wait_seconds_count", frozenset({("model", value)})): 1,
        ("wait_seconds_sum", frozenset({("model", value)})): Decimal("0.5"),
    }


@given(st.lists(st.tuples(any_text, any_text), unique=True, max_size=8))
@example([("\ud800", "x"), ("\udfff", "x"), ("?", "x")])
def test_any_label_values_round_trip(rows: list[tuple[str, str]]) -> None:
    """Every text comes back; what UTF-8 cannot carry is replaced, and never makes one series twice."""
    registry = Registry()
    counter = BoundCounter(registry, "x_total", "X.", ("b", "a"))
    for row in rows:
        counter.labels(*row).inc()
    sent = [tuple(v.encode("utf-8", "replace").decode() for v in row) for row in rows]
    expected = {("x_total", frozenset({("b", b), ("a", a)})): sent.count((b, a)) for b, a in sent}
    assert scrape(registry).samples == expected


@given(any_text.map(lambda text: text.encode("utf-8", "replace").decode()))
@example('a "quoted" \\ help\nforged 1')
def test_any_help_round_trips(text: str) -> None:
    """HELP is one line, whatever it says."""
    registry = Registry()
    BoundGauge(registry, "x", text).labels()
    seen = scrape(registry)
    assert seen.helps == {"x": text}
    assert seen.value("x") == 0


def test_one_label_set_is_one_cell() -> None:
    """Binding again gives the same cell, so two holders move one series."""
    counter = BoundCounter(Registry(), "x_total", "X.", ("a",))
    assert counter.labels("1") is counter.labels("1")
    assert counter.labels("1") is not counter.labels("2")


def test_number_of_values_is_checked() -> None:
    """Too few or too many values are a mistake, not a series."""
    counter = BoundCounter(Registry(), "x_total", "X.", ("a", "b"))
    for values in ((), ("1",), ("1", "2", "3")):
        with pytest.raises(ValueError, match="x_total"):
            counter.labels(*values)
    assert not counter.cells()


def test_value_that_is_no_string_is_refused() -> None:
    """1 and "1" would print one series twice."""
    counter = BoundCounter(Registry(), "x_total", "X.", ("a",))
    with pytest.raises(TypeError, match="write a string"):
        counter.labels(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["a-b", "__name", "le", "job", "instance", "", "é", "a\n"])
def test_bad_label_name_is_refused_at_declaration(label: str) -> None:
    """Names that the format or Prometheus itself claims never reach a scrape."""
    with pytest.raises(ValueError, match="cannot be the name of a label"):
        BoundGauge(Registry(), "x", "X.", (label,))


def test_label_declared_twice_is_refused() -> None:
    """One label, one value."""
    with pytest.raises(ValueError, match="twice"):
        BoundGauge(Registry(), "x", "X.", ("a", "a"))


def test_words_for_an_unknown_label_are_refused() -> None:
    """A typo in a vocabulary is found at declaration."""
    with pytest.raises(ValueError, match="stats"):
        BoundGauge(Registry(), "x", "X.", ("state",), words={"stats": ("idle",)})


@pytest.mark.parametrize("bounds", [(), (1, 1), (2, 1), (1, float("inf")), (float("nan"),)])
def test_bounds_must_rise(bounds: tuple[float, ...]) -> None:
    """Unsorted or infinite bounds would make wrong quantiles without a word."""
    with pytest.raises(ValueError, match="rise"):
        BoundHistogram(Registry(), "x_seconds", "X.", bounds=bounds)


def test_whole_bounds_print_with_a_decimal_point() -> None:
    """Rules say le="2.0"; an integer bound must print so too."""
    registry = Registry()
    BoundHistogram(registry, "x_seconds", "X.", bounds=(2, 10)).labels()
    assert [labels["le"] for labels in scrape(registry).series("x_seconds_bucket")] == ["2.0", "10.0", "+Inf"]


def test_stock_ways_in_are_closed() -> None:
    """Stock `inc`, `set` and `observe` escape nothing, and `Counter.set` lets a counter fall."""
    registry = Registry()
    counter = BoundCounter(registry, "x_total", "X.", ("a",))
    gauge = BoundGauge(registry, "y", "Y.")
    seconds = BoundHistogram(registry, "z_seconds", "Z.", bounds=(1,))
    with pytest.raises(TypeError, match=r"labels\(\.\.\.\)"):
        counter.inc({"a": 'b"'})
    with pytest.raises(TypeError, match=r"labels\(\.\.\.\)"):
        counter.set({"a": "b"}, -1)
    with pytest.raises(TypeError, match=r"labels\(\.\.\.\)"):
        gauge.set({}, 1)
    with pytest.raises(TypeError, match=r"labels\(\.\.\.\)"):
        seconds.observe({}, 1)
    assert not scrape(registry).samples


@given(st.lists(st.integers(0, 2**53), max_size=20))
@example([2**53])
@example([2**53 - 1])
@example([1])
def test_cost_is_printed_to_the_last_nano_dollar(spent_nano: list[int]) -> None:
    """No float stands between the sum of integers and the text."""
    registry = Registry()
    cell = BoundCounter(registry, "cost_usd_total", "Cost.", places=9).labels()
    for nano in spent_nano:
        cell.inc(nano)
    assert scrape(registry).value("cost_usd_total") == Decimal(sum(spent_nano)).scaleb(-9)


@pytest.mark.parametrize(
    ("nano", "printed"),
    [(0, "0.0"), (1, "0.000000001"), (10**9, "1.0"), (1_500_000_000, "1.5"), (2**53, "9007199.254740992")],
)
def test_cost_prints_as_a_plain_decimal(nano: int, printed: str) -> None:
    """Readable, and never in scientific notation."""
    registry = Registry()
    BoundCounter(registry, "cost_usd_total", "Cost.", places=9).labels().inc(nano)
    assert ReadyTextFormatter().marshall(registry).decode().splitlines()[-1] == f"cost_usd_total {printed}"


def test_a_dropped_series_is_gone() -> None:
    """What it told of is no more; a new one of that name begins at 0."""
    registry = Registry()
    gauge = BoundGauge(registry, "streams", "Streams.", ("model",))
    for model in ("a", "b"):
        gauge.labels(model).set(2)
    gauge.drop("a")
    gauge.drop("never there")
    assert scrape(registry).samples == {("streams", frozenset({("model", "b")})): 2}
    assert gauge.labels("a").value == 0


def test_a_count_that_is_kept_elsewhere_is_read_at_the_scrape() -> None:
    """By its labels, beside others that are not read; where it begins anew the series stays where it was."""
    registry = Registry()
    decisions = ReadCounter(registry, "decisions_total", "Decisions.", ("decision",))
    counts = {"local": 0, "denied": 5}
    for decision in counts:
        decisions.read_from(partial(counts.__getitem__, decision), decision)
    decisions.labels("allowed").inc(2)

    def shown() -> list[int]:
        seen = scrape(registry)
        return [int(seen.value("decisions_total", decision=word)) for word in ("local", "denied", "allowed")]

    assert shown() == [0, 5, 2]
    counts.update(local=3, denied=1)
    assert shown() == [3, 5, 2]
