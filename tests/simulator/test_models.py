"""Names decide behaviours; the docs print the same list."""

import re
from pathlib import Path

import pytest

from gateway.simulator.models import (
    ANTHROPIC_MODELS,
    MODELS,
    OPENAI_MODELS,
    behaviour_named,
    behaviour_of,
)
from gateway.simulator.refusals import REFUSALS

DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_every_listed_model_exists_in_its_dialect_only() -> None:
    """Each name of a list behaves there, and does not exist on the routes of the other dialect."""
    assert len(OPENAI_MODELS) == len(ANTHROPIC_MODELS) == len(set(OPENAI_MODELS))
    for openai, anthropic in zip(OPENAI_MODELS, ANTHROPIC_MODELS, strict=True):
        assert behaviour_of(openai, anthropic=False, other=None) is not None
        assert behaviour_of(openai, anthropic=False, other=None) == behaviour_of(anthropic, anthropic=True, other=None)
        assert behaviour_of(openai, anthropic=True, other="fast") is None
        assert behaviour_of(anthropic, anthropic=False, other="fast") is None
    assert set(MODELS) == {*OPENAI_MODELS, *ANTHROPIC_MODELS}


def test_every_refusal_has_its_wording() -> None:
    """No behaviour refuses with words that are not there."""
    for name in OPENAI_MODELS:
        behaviour = behaviour_named(name.removeprefix("sim-"))
        assert behaviour is not None
        assert behaviour.refusal is None or behaviour.refusal in REFUSALS


@pytest.mark.parametrize(
    ("name", "fail_first"), [("fail-first-0", 0), ("fail-first-12", 12), ("fail-first-999999", 999999)]
)
def test_any_number_fails_first(name: str, fail_first: int) -> None:
    """The number is read from the name."""
    behaviour = behaviour_named(name)
    assert behaviour is not None
    assert (behaviour.refusal, behaviour.fail_first) == ("500", fail_first)


@pytest.mark.parametrize("name", ["", "nonsense", "fail-first-", "fail-first-x", "fail-first-1x", "FAST"])
def test_other_names_are_no_behaviour(name: str) -> None:
    """What is not listed does not exist."""
    assert behaviour_named(name) is None
    assert behaviour_of(f"sim-{name}", anthropic=False, other="fast") is None


def test_foreign_names_behave_as_the_setting_says() -> None:
    """A real provider's model name gets the behaviour that was set."""
    assert behaviour_of("gpt-4o", anthropic=False, other="slow") == behaviour_named("slow")
    assert behaviour_of("claude-sonnet", anthropic=True, other="slow") == behaviour_named("slow")
    assert behaviour_of("gpt-4o", anthropic=False, other=None) is None


def test_the_docs_print_the_list() -> None:
    """The table of docs/simulator.md has one row for each model, word for word."""
    rows = re.findall(r"^\| `(sim-\S+)` \| `(claude-sim-\S+)` \| (.+) \|$", DOCS.read_text("utf-8"), re.M)
    expected = [(o, a, MODELS[o]) for o, a in zip(OPENAI_MODELS, ANTHROPIC_MODELS, strict=True)]
    assert rows == expected
