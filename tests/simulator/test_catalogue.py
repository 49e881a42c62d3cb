"""Lists of models that the SDKs' own types accept."""

import anthropic.types
import openai.types

from gateway.simulator.catalogue import catalogue, model_card
from gateway.simulator.models import ANTHROPIC_MODELS, OPENAI_MODELS


def test_openai_list() -> None:
    """Every entry is an OpenAI model."""
    listed = catalogue(anthropic=False)
    assert listed["object"] == "list"
    models = [openai.types.Model.model_validate(entry) for entry in listed["data"]]
    assert [model.id for model in models] == list(OPENAI_MODELS)


def test_anthropic_page() -> None:
    """Every entry is an Anthropic model, on a page that is the last one."""
    page = catalogue(anthropic=True)
    models = [anthropic.types.ModelInfo.model_validate(entry) for entry in page["data"]]
    assert [model.id for model in models] == list(ANTHROPIC_MODELS)
    assert (page["first_id"], page["last_id"]) == (ANTHROPIC_MODELS[0], ANTHROPIC_MODELS[-1])
    assert page["has_more"] is False


def test_a_card_for_a_name_off_the_list() -> None:
    """`fail-first-N` has a card for every N."""
    card = anthropic.types.ModelInfo.model_validate(model_card("claude-sim-fail-first-7", anthropic=True))
    assert card.display_name == card.id == "claude-sim-fail-first-7"
