"""What the ledger keeps: ids that grow with time, texts that every database takes, and what an orphan costs."""

import json
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ledger import (
    ID_RANDOM_BYTES,
    NO_TAGS,
    Orphan,
    Spent,
    estimate_orphan,
    new_exchange_id,
    price_text,
    tags_text,
)
from gateway.core.pricing import Price, cost_nanousd
from gateway.core.tokens import Source, Usage

NOW_US = 1_700_000_000_123_456
PRICE = Price(input=Decimal("0.15"), output=Decimal("0.60"), cached_input=Decimal("0.075"), request=Decimal("0.001"))

random_bytes = st.binary(min_size=ID_RANDOM_BYTES, max_size=ID_RANDOM_BYTES)


def orphan(price: str | None, *, so_far: int = 50) -> Orphan:
    return Orphan("id", "acme", "web", NOW_US, 1200, so_far, 5_000_000, price)


@given(st.integers(0, 2**48 * 1000 - 1), random_bytes)
def test_an_id_is_a_uuid_of_version_7(now_us: int, random: bytes) -> None:
    """With its milliseconds in front, and every random bit that the version leaves room for."""
    made = uuid.UUID(hex=new_exchange_id(now_us, random))
    assert made.hex == new_exchange_id(now_us, random)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_us // 1000
    bits = int.from_bytes(random, "big")
    assert made.int >> 64 & 0xFFF == bits >> 68
    assert made.int & (1 << 62) - 1 == bits & (1 << 62) - 1


@given(st.integers(0, 10**15), st.integers(1000, 10**15), random_bytes, random_bytes)
def test_later_ids_are_greater(now_us: int, later_us: int, one: bytes, other: bytes) -> None:
    """As texts, so that a database appends them."""
    assert new_exchange_id(now_us, one) < new_exchange_id(now_us + later_us, other)


@pytest.mark.parametrize(("now_us", "count"), [(NOW_US, 9), (NOW_US, 11), (-1, 10), (2**48 * 1000, 10)])
def test_ids_are_made_of_enough(now_us: int, count: int) -> None:
    """Neither of too few random bytes, nor of a time that does not fit."""
    with pytest.raises(ValueError, match="10 random bytes"):
        new_exchange_id(now_us, b"x" * count)


def test_no_tags_are_an_empty_object() -> None:
    """As JSON."""
    assert tags_text({}) == NO_TAGS == "{}"


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_tags_can_be_stored_anywhere(tags: dict[str, str]) -> None:
    """What UTF-8 and PostgreSQL have is kept; NUL and halves of surrogates are not."""
    text = tags_text(tags)
    assert text.isascii()
    assert "\\u0000" not in text
    stored = json.loads(text)
    json.dumps(stored, ensure_ascii=False).encode("utf-8")
    clean = {k: v for k, v in tags.items() if "\0" not in k + v and (k + v).encode(errors="ignore").decode() == k + v}
    assert clean.items() <= stored.items()


def test_tags_that_cannot_be_stored_are_marked() -> None:
    """By the replacement character."""
    assert json.loads(tags_text({"a\0": "\ud800b"})) == {"a\ufffd": "\ufffd\ufffd\ufffdb"}


def test_an_orphan_costs_its_prompt_and_what_it_is_known_to_have_said() -> None:
    """By the price of its opening, to the nano-dollar."""
    usage, cost = estimate_orphan(orphan(price_text(PRICE)))
    assert usage == Usage(input=1200, output=50, source=Source.ESTIMATED)
    assert cost == cost_nanousd(usage, PRICE) == 1200 * 150 + 50 * 600 + 1_000_000


def test_an_orphan_without_a_price_costs_nothing() -> None:
    """It was served for free."""
    assert price_text(None) is None
    assert estimate_orphan(orphan(None))[1] == 0


@pytest.mark.parametrize("price", ["", "{}", '{"input": -1, "output": 0}', '{"input": 1, "output": 1, "new": 1}'])
def test_an_orphan_with_a_price_that_nobody_can_read_costs_its_hold(price: str) -> None:
    """It cannot have cost more, and for nothing it was not."""
    assert estimate_orphan(orphan(price))[1] == 5_000_000


amounts = st.decimals(0, 1000, places=6)


@given(amounts, amounts, st.none() | amounts, st.integers(0, 10**6), st.integers(0, 10**6))
def test_prices_survive_the_ledger(
    input_price: Decimal, output_price: Decimal, cached: Decimal | None, prompt: int, so_far: int
) -> None:
    """To the last decimal."""
    price = Price(input=input_price, output=output_price, cached_input=cached)
    found = Orphan("id", "acme", "web", NOW_US, prompt, so_far, 1, price_text(price))
    usage, cost = estimate_orphan(found)
    assert cost == cost_nanousd(usage, price)


def test_what_is_spent_has_what_is_held() -> None:
    """A budget starts from both."""
    assert Spent(settled_nanousd=7, open_nanousd=5).total_nanousd == 12
