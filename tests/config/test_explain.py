"""From what pydantic refuses to what people can act on, for every kind of value that a setting can be."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from gateway.config.document import read_document
from gateway.config.explain import MOST_AT_ONCE, Explainer, in_file, mistakes_of, nearest
from gateway.config.mistakes import Mistake, dotted
from gateway.core.settings import Settings
from gateway.proxy.settings import ServerSettings


def _name(text: str) -> str:
    if not text.islower():
        raise ValueError("must be in lower case")
    return text


class Lock(Settings):
    """A section below a section."""

    width_m: Annotated[float, Field(gt=0, le=50)] = 5.0
    """Between the gates."""
    keeper: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    """Who is asked."""


class Canal(Settings):
    """A file with a setting of every kind."""

    flow: Literal["up", "down"] = "up"
    """Which way."""
    boats: Annotated[int, Field(ge=0, le=9)] = 0
    """At once."""
    toll: Annotated[float, Field(gt=0, le=9)] | None = None
    """Per boat."""
    open: bool = True
    """Whether anyone may pass."""
    ports: Annotated[tuple[str, ...], Field(min_length=1)] = ("a",)
    """Where boats stop."""
    lock: Lock = Lock()
    """What boats wait for."""
    locks: Mapping[Annotated[str, AfterValidator(_name)], Lock] = {}
    """By name."""


class Fleet(Settings):
    """A file that must say something."""

    owner: str
    """Whose boats they are."""
    canal: Canal = Canal()
    """Where they are."""


def mistakes(text: str, root: type[BaseModel] = Canal, environ: Mapping[str, str] | None = None) -> list[Mistake]:
    """What is wrong with a file."""
    document = read_document(text, environ or {})
    with pytest.raises(ValidationError) as refusal:
        root.model_validate(document.tree)
    return Explainer(root).explain(refusal.value, document)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("flow: upp", "flow (line 1): must be up or down; found 'upp'. Did you mean up?"),
        ("flow: [up]", "flow (line 1): must be up or down; found a list."),
        ("boats: 10", "boats (line 1): must be a whole number from 0 to 9; found 10."),
        ("boats: 1.5", "boats (line 1): must be a whole number from 0 to 9; found 1.5."),
        ("boats: many", "boats (line 1): must be a whole number from 0 to 9; found 'many'."),
        ("boats:", "boats (line 1): must be a whole number from 0 to 9; found nothing (null)."),
        ("toll: -1", "toll (line 1): must be a number above 0 and at most 9 or null; found -1."),
        ("toll: free", "toll (line 1): must be a number above 0 and at most 9 or null; found 'free'."),
        ("open: maybe", "open (line 1): must be true or false; found 'maybe'."),
        ("ports: []", "ports (line 1): must be a list that is not empty; found an empty list."),
        ("ports: a", "ports (line 1): must be a list that is not empty; found 'a'."),
        ("ports: [a, 1]", "ports.1 (line 1): must be text; found 1. Put it in quotes."),
        ("lock: wide", "lock (line 1): must be a mapping; found 'wide'."),
        ("lock: {width_m: 0}", "lock.width_m (line 1): must be a number above 0 and at most 50; found 0."),
        ("lock: {keeper: ''}", "lock.keeper (line 1): must be text of 1 to 20 characters or null; found ''."),
        (
            "locks: {big: {width_m: 51}}",
            "locks.big.width_m (line 1): must be a number above 0 and at most 50; found 51.",
        ),
        ("locks: {Big: {}}", "locks.Big (line 1): this name must be in lower case."),
        ("flows: up", "flows (line 1): is not a key of this section. Did you mean flow? Allowed here: flow, boats,"),
        ("zzz: 1", "zzz (line 1): is not a key of this section. Allowed here: flow, boats, toll, open, ports, lock,"),
        (
            "width_m: 3",
            "width_m (line 1): is not a key of this section. It belongs one level deeper: lock: {width_m: …}.",
        ),
        ("locks: {big: {width: 1}}", "locks.big.width (line 1): is not a key of this section. Did you mean width_m?"),
    ],
)
def test_one_mistake_is_one_sentence(text: str, sentence: str) -> None:
    """The key, the line, what is allowed, what was found, and what was meant."""
    (mistake,) = mistakes(text)
    assert str(mistake).startswith(sentence)


def test_what_is_missing_is_described() -> None:
    """By the sentence below the field; the line is that of the nearest thing there is."""
    (mistake,) = mistakes("canal: {}\n", Fleet)
    assert str(mistake) == "owner (line 1): is missing: write text. Whose boats they are."


def test_every_mistake_is_told_in_one_pass() -> None:
    """Each with its own line."""
    found = mistakes("flow: upp\nboats: 10\nlock:\n  width_m: 0\n  colour: red\n")
    assert [(mistake.key, mistake.line) for mistake in found] == [
        ("flow", 1),
        ("boats", 2),
        ("lock.width_m", 4),
        ("lock.colour", 5),
    ]


class Voyage(Settings):
    """A file with a default that follows another key."""

    days: Annotated[int, Field(ge=1, le=9)] = 3
    """How long."""
    loaves: int = Field(default_factory=lambda before: 2 * int(before["days"]))
    """To eat."""


def test_a_default_made_from_other_keys_is_not_a_mistake() -> None:
    """Pydantic complains that it could not make one; whoever reads wrote only the other."""
    assert Voyage(days=2).loaves == 4
    assert [mistake.key for mistake in mistakes("days: 0", Voyage)] == ["days"]
    assert [mistake.key for mistake in mistakes("days: 0\nloaves: x", Voyage)] == ["days", "loaves"]


def test_a_list_is_not_called_empty_for_its_wrong_entries() -> None:
    """Pydantic counts those that passed; the others are blamed themselves."""
    (mistake,) = mistakes("ports: [1]")
    assert mistake.key == "ports.0"


def test_what_could_not_be_read_is_not_blamed_again() -> None:
    """The reader has said what is wrong with it."""
    text = "flow: ${UNSET}\nboats: 10\n"
    assert [mistake.key for mistake in read_document(text, {}).mistakes] == ["flow"]
    assert [mistake.key for mistake in mistakes(text)] == ["boats"]


def test_a_value_from_the_environment_is_shown_as_it_was_written() -> None:
    """The name of the variable, never what it holds."""
    (mistake,) = mistakes("flow: ${WAY}", environ={"WAY": "sk-secret"})
    assert mistake.found == "the text of '${WAY}'"
    assert "secret" not in str(mistake)


@pytest.mark.parametrize(
    ("loc", "path"),
    [
        (("server", "port"), ("server", "port")),
        (("models", "a*b", "[key]"), ("models", "a*b")),
        (("models", "m", "targets", 0, "<mapping>", "target"), ("models", "m", "targets", 0, "target")),
        (("models", "m", "price", "<price>"), ("models", "m", "price")),
        ((), ()),
    ],
)
def test_places_are_those_of_the_file(loc: tuple[str | int, ...], path: tuple[str | int, ...]) -> None:
    """Without the marks that pydantic puts between."""
    assert in_file(loc) == path


@pytest.mark.parametrize("name", ["[key]", "<word>", "<mapping>", "", "a.b"])
def test_a_key_of_any_name_is_blamed_by_it(name: str) -> None:
    """Also by one that means something to pydantic."""
    tree: dict[str, object] = {name: 1}
    with pytest.raises(ValidationError) as refusal:
        ServerSettings.model_validate(tree)
    (mistake,) = mistakes_of(ServerSettings, refusal.value, tree)
    assert mistake.key == dotted((name,))
    assert mistake.message == "is not a key of this section"


def test_what_came_over_http_is_not_explained_without_end() -> None:
    """Each explanation takes a while, and a body may have a mistake in every ten bytes."""
    tree: dict[str, object] = {f"n{n}": n for n in range(1000)}
    with pytest.raises(ValidationError) as refusal:
        ServerSettings.model_validate(tree)
    assert len(mistakes_of(ServerSettings, refusal.value, tree)) == MOST_AT_ONCE


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("opnai", ["openai", "anthropic"], "Did you mean openai?"),
        ("x", ["openai", "anthropic"], None),
        ("", ["openai"], None),
        (None, ["openai"], None),
        (12, ["11", "120"], "Did you mean 120?"),
        ("a", [], None),
    ],
)
def test_the_nearest_word(word: object, known: list[str], said: str | None) -> None:
    """Only one that is close."""
    assert nearest(word, known) == said
    assert nearest(word, dict.fromkeys(known)) == said
