"""Pieces join to their text, texts come from their seed, and counting follows the rule of the docs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.prose import compose, cut, prompt_tokens, source, stop_at


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    """Whatever the text, nothing is lost between the pieces and none is empty."""
    pieces = cut(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(st.integers(), st.integers(1, 300), st.integers(0, 300))
def test_texts_have_the_length_asked_for(seed: int, fewest: int, more: int) -> None:
    """A text has at least the pieces asked for, ends with a sentence, and comes again from the same seed."""
    pieces = compose(source(seed), fewest, fewest + more)
    assert len(pieces) >= fewest
    assert len(pieces) < fewest + more + 60 if more else len(pieces) == fewest
    assert pieces[-1].endswith(".")
    assert not pieces[0].startswith(" ")
    assert compose(source(seed), fewest, fewest + more) == pieces


def test_texts_hold_characters_of_several_bytes() -> None:
    """In a long text there are some of two, three and four bytes."""
    text = "".join(compose(source(0), 2000, 2000))
    assert {len(character.encode()) for character in text} == {1, 2, 3, 4}


@given(st.integers(), st.lists(st.text(max_size=3), max_size=4), st.integers(0, 200))
def test_stop_ends_before_the_earliest_sequence(seed: int, others: list[str], at: int) -> None:
    """What is kept is the text up to the first stop sequence, in pieces of the same cut."""
    pieces = compose(source(seed), 40, 80)
    text = "".join(pieces)
    stops = (*others, text[at : at + 2])
    kept, met = stop_at(pieces, stops)
    assert all(stop not in "".join(kept) for stop in stops if stop)
    if met is None:
        assert kept == pieces
    else:
        assert text.startswith("".join(kept) + met)
        assert pieces[: max(0, len(kept) - 1)] == kept[:-1]


@pytest.mark.parametrize(
    ("text_bytes", "messages", "images", "tokens"),
    [(0, 0, 0, 1), (1, 0, 0, 1), (4, 0, 0, 1), (5, 0, 0, 2), (5, 1, 0, 6), (0, 2, 1, 93), (4000, 3, 0, 1012)],
)
def test_prompts_are_counted_by_hand(text_bytes: int, messages: int, images: int, tokens: int) -> None:
    """4 bytes are a token, a message 4, an image 85; never less than one."""
    assert prompt_tokens(text_bytes, messages, images) == tokens


def test_sources_differ_by_each_part() -> None:
    """No two lists of parts run together."""
    parts = [("a", "b"), ("ab", ""), ("", "ab"), ("a", "c"), ("a", "b", 0)]
    assert len({source(*p).random() for p in parts}) == len(parts)
