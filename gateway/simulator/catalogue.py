"""The lists of models, in the shape of either dialect."""

from datetime import UTC, datetime
from typing import Any

from gateway.simulator.models import ANTHROPIC_MODELS, MODELS, OPENAI_MODELS

_CREATED = 1_767_225_600
"""Unix seconds; the day that every model claims as its birthday: 2026-01-01."""

Json = dict[str, Any]


def catalogue(*, anthropic: bool) -> Json:
    """Returns the answer to ``GET /v1/models``; Anthropic's is one page that holds everything."""
    if not anthropic:
        return {"object": "list", "data": [model_card(name, anthropic=False) for name in OPENAI_MODELS]}
    return {
        "data": [model_card(name, anthropic=True) for name in ANTHROPIC_MODELS],
        "has_more": False,
        "first_id": ANTHROPIC_MODELS[0],
        "last_id": ANTHROPIC_MODELS[-1],
    }


def model_card(name: str, *, anthropic: bool) -> Json:
    """Returns the answer to ``GET /v1/models/{name}``."""
    if not anthropic:
        return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}
    return {
        "type": "model",
        "id": name,
        "display_name": MODELS.get(name, name),
        "created_at": datetime.fromtimestamp(_CREATED, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
    }
