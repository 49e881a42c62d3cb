"""Keys that are known and still refused: each is found where it stands, said once, and blamed by nobody else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config.document import Document, read_document
from gateway.config.refused import REFUSED, refused, without_refused
from gateway.config.root import RootSettings

GOOD = """\
server: {port: 9000}
providers: {p: {dialect: openai, base_url: "https://p.example/v1", tls: {}}}
models: {m: {targets: [{target: p/x}], balance: ordered}}
tenants: [{id: a, keys: [{id: k, hash: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}]}]
"""


def planted(pattern: tuple[str, ...], value: object) -> tuple[dict[str, Any], tuple[str | int, ...]]:
    """The good file with something at a path of the table, and the path as it is there."""
    tree: dict[str, Any] = copy.deepcopy(read_document(GOOD, {}).tree)
    below: Any = tree
    path: list[str | int] = []
    for part in pattern[:-1]:
        step: Any = part
        if part == "*":
            step = 0 if isinstance(below, list) else next(iter(below))
        path.append(step)
        below = below[step]
    below[pattern[-1]] = value
    return tree, (*path, pattern[-1])


def refused_in(tree: dict[str, Any]) -> list[tuple[str, str]]:
    """Key and sentence of what is refused in a tree."""
    return [(mistake.key, mistake.message) for mistake in refused(Document(tree=tree))]


@pytest.mark.parametrize("pattern", REFUSED, ids=".".join)
@pytest.mark.parametrize("value", [1, None, {"cache": {"limits": 1}}, ["x"]], ids=repr)
def test_a_refused_key_is_refused_whatever_it_holds(pattern: tuple[str, ...], value: object) -> None:
    """Once, with its reason; what stands below it is not looked at, and the rest of the file is as if it were gone."""
    tree, path = planted(pattern, value)
    assert refused_in(tree) == [(".".join(map(str, path)), REFUSED[pattern])]
    assert without_refused(tree) == read_document(GOOD, {}).tree
    RootSettings.model_validate(without_refused(tree))


@pytest.mark.parametrize("pattern", REFUSED, ids=".".join)
def test_every_key_of_the_table_is_still_unknown(pattern: tuple[str, ...]) -> None:
    """A key that the settings know by now would be refused for nothing: it must leave the table."""
    tree, path = planted(pattern, {})
    with pytest.raises(ValidationError) as refusal:
        RootSettings.model_validate(tree)
    (error,) = refusal.value.errors()
    assert (error["type"], error["loc"]) == ("extra_forbidden", path)


def test_every_reason_says_what_to_do() -> None:
    """A sentence that goes on from the key and tells the reader to remove it."""
    assert all("remove it" in sentence and not sentence.endswith(".") for sentence in REFUSED.values())


def test_the_line_is_that_of_the_key() -> None:
    """Not of the section, nor of the value."""
    text = "providers:\n  p:\n    tls:\n      verify:\n        false\ncache: {}\n"
    found = [(mistake.key, mistake.line) for mistake in refused(read_document(text, {}))]
    assert found == [("providers.p.tls.verify", 4), ("cache", 6)]


def test_a_good_file_has_nothing_refused() -> None:
    """And loses nothing: the same names elsewhere are other keys."""
    tree = read_document(GOOD, {}).tree
    assert refused_in(tree) == []
    assert without_refused(tree) == tree
    elsewhere: dict[str, object] = {"providers": {"cache": {"headers": {"ledger": "x"}}}, "tenants": [{"cache": 1}]}
    assert refused_in(elsewhere) == []
    assert without_refused(elsewhere) == elsewhere


KEYS = st.sampled_from(sorted({part for path in REFUSED for part in path if part != "*"} | {"p", "m"}))
TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_what_is_left_has_nothing_refused(tree: dict[str, Any]) -> None:
    """In any tree; the tree itself is not touched, and nothing goes that was not named."""
    before = copy.deepcopy(tree)
    left = without_refused(tree)
    assert tree == before
    assert refused_in(left) == []
    assert without_refused(left) == left
    assert (left == tree) is (refused_in(tree) == [])
