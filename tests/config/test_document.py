"""YAML and the environment become a tree; what cannot be read is named with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import MAX_VALUES, read_document

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
PLAIN = st.text(st.characters(exclude_characters="${}", codec="ascii", categories=["L", "N", "P"]), max_size=20)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("010", 10),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("-3", -3),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("2024-10-21", "2024-10-21"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("[a, 1]", ["a", 1]),
        ("{b: c}", {"b": "c"}),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    """YAML 1.2: no country is false, no date is a date, no leading zero is octal."""
    document = read_document(f"key: {text}", {})
    assert document.mistakes == []
    assert document.tree == {"key": value}


ENVIRON = {"A": "apple", "EMPTY": "", "URL": "https://x:1/y", "NUMBER": "7", "DOLLAR": "${A}"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "apple"),
        ("x-${A}-${NUMBER}", "x-apple-7"),
        ("'${A}'", "apple"),
        ("${MISSING:-pear}", "pear"),
        ("${EMPTY:-pear}", "pear"),
        ("${A:-pear}", "apple"),
        ("${MISSING:-}", ""),
        ("${EMPTY}", ""),
        ("${MISSING:-https://a:1/b?c}", "https://a:1/b?c"),
        ("$${A}", "${A}"),
        ("a$${b}${A}", "a${b}apple"),
        ("$$${A}", "$${A}"),
        ("${DOLLAR}", "${A}"),
        ("$A $ 5$", "$A $ 5$"),
        ("${NUMBER}", "7"),
    ],
)
def test_the_environment_fills_in(text: str, value: str) -> None:
    """Once, always as text; $${ is ${."""
    document = read_document(f"key: {text}", ENVIRON)
    assert document.mistakes == []
    assert document.tree == {"key": value}


@given(st.dictionaries(NAMES, PLAIN, min_size=1), st.data())
def test_any_mix_of_text_and_variables_is_filled_in(environ: dict[str, str], data: st.DataObject) -> None:
    """What stands between the variables stays as it is."""
    name = st.sampled_from(sorted(environ))
    parts = data.draw(st.lists(PLAIN.map(lambda t: (t, t)) | name.map(lambda n: (f"${{{n}}}", environ[n]))))
    written = "".join(written for written, _ in parts).replace("'", "''")
    document = read_document(f"key: '{written}'", environ)
    assert document.mistakes == []
    assert document.tree == {"key": "".join(value for _, value in parts)}


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    """Whatever the file holds, there is a tree or a mistake."""
    document = read_document(text, {})
    assert isinstance(document.tree, dict)


BAD: dict[str, tuple[str, str, int | None, str]] = {
    "syntax": ("a: 1\nb: [1, 2\nc: 3", "", 3, "is not YAML, column 2"),
    "a tab": ("a:\n\tb: 1", "", 2, "use spaces"),
    "a control character": ("a: \x01", "", None, "character that no text file has"),
    "two documents": ("a: 1\n---\nb: 2", "", 2, "single document"),
    "an unknown alias": ("a: *nowhere", "", 1, "undefined alias"),
    "a list": ("- a", "", None, "must be a mapping of sections"),
    "a word": ("hello", "", None, "must be a mapping of sections"),
    "a duplicate": ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3", "b.c", 5, "twice, also on line 3"),
    "a duplicate at the top": ("a: 1\na: 2", "a", 2, "twice, also on line 1"),
    "an object": ("a: !!python/object:os.system x", "a", 1, "tag !!python/object:os.system"),
    "a tag of one's own": ("a: !env HOME", "a", 1, "has the tag !env"),
    "a tagged mapping": ("a: !!set {b, c}", "a", 1, "has the tag !!set"),
    "a number that is none": ("a: !!int x", "a", 1, "is not a number"),
    "a key that is a list": ("? [a, b]\n: 1", "", 1, "key that is a list"),
    "an alias to itself": ("a: &x {b: *x}", "a.b", 1, "alias to itself"),
    "a merge of a word": ("a: {<<: b, c: 1}", "a", 1, "merges (<<)"),
    "a variable that is not set": ("a:\n- b\n- ${NOPE}", "a.1", 3, "environment variable NOPE"),
    "a bad name": ("a: ${1x}", "a", 1, "names no variable"),
    "an open brace": ("a: 'x ${A'", "a", 1, "names no variable"),
    "too deep": ("a: " + "[" * 40 + "]" * 40, "a" + ".0" * 31, 1, "nested too deeply"),
    "far too deep": ("a: " + "[" * 1500 + "]" * 1500, "", None, "nested too deeply"),
}


@pytest.mark.parametrize(("text", "key", "line", "fragment"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_named(text: str, key: str, line: int | None, fragment: str) -> None:
    """One mistake with key, line and reason."""
    mistakes = read_document(text, {"A": "apple"}).mistakes
    assert [(m.key, m.line) for m in mistakes] == [(key, line)]
    assert fragment in mistakes[0].message


def test_the_rest_is_read_beside_a_mistake() -> None:
    """One unset variable hides nothing else."""
    document = read_document("a: ${NOPE}\nb:\n  c: ${ALSO}\n  d: 1\n", {})
    assert [m.key for m in document.mistakes] == ["a", "b.c"]
    assert document.tree == {"a": "", "b": {"c": "", "d": 1}}
    assert document.lines[("b", "d")] == 4


@pytest.mark.parametrize("text", ["a: 1\nb: [${A}]", "b: {c: ${A}}", "b: {c: ${A},\n  d: 1}"])
def test_a_variable_without_quotes_in_brackets_gets_a_hint(text: str) -> None:
    """YAML ends a plain word at a brace there; its own message would not say so."""
    (mistake,) = read_document(text, {"A": "apple"}).mistakes
    assert mistake.hint is not None and "in quotes" in mistake.hint


def test_anchors_and_merges_work() -> None:
    """What is said twice may be said once; own keys win, then the earlier source."""
    document = read_document("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 9}\nd: *a\n", {})
    assert document.mistakes == []
    assert document.tree["c"] == {"x": 9, "y": 1, "z": 2}
    assert document.tree["d"] == {"x": 1, "y": 1}


def test_aliases_of_aliases_do_not_unfold_for_ever() -> None:
    """A billion laughs are refused after a bounded number of values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    document = read_document("\n".join(lines), {})
    assert len(document.mistakes) == 1
    assert str(MAX_VALUES) in document.mistakes[0].message
