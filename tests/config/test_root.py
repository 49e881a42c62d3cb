"""The whole file as one model: every section may be left out, and nothing of it changes afterwards."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.root import RootSettings

PROVIDER = {"dialect": "openai", "base_url": "https://p.example/v1"}
SECTIONS: dict[str, Any] = {
    "server": {"port": 9000},
    "ops": {"metrics_token": "t0"},
    "providers": {"p": PROVIDER},
    "models": {"m": {"targets": ["p/x"]}, "x-*": {"targets": ["p/*"]}},
    "tenants": [{"id": "acme"}],
    "stores": {"on_outage": "deny"},
    "ledger": {"end_wait_s": 1},
    "admin": {"port": 9001},
    "telemetry": {"sample": 0.5},
    "pricing": {"unpriced": "free"},
}


def refused_at(written: dict[str, Any]) -> list[tuple[int | str, ...]]:
    """Where a file is refused."""
    with pytest.raises(ValidationError) as refusal:
        RootSettings.model_validate(written)
    return [error["loc"] for error in refusal.value.errors()]


@pytest.mark.parametrize("left_out", SECTIONS)
def test_any_section_may_be_left_out(left_out: str) -> None:
    """Then it is as in an empty file; the others are as written."""
    settings = RootSettings.model_validate({name: SECTIONS[name] for name in SECTIONS if name != left_out})
    assert getattr(settings, left_out) == getattr(RootSettings(), left_out)
    assert settings.model_fields_set == SECTIONS.keys() - {left_out}


def test_every_section_is_described() -> None:
    """The sentences below the fields are what editors show from the schema."""
    described = RootSettings.model_json_schema()["properties"]
    assert set(described) == set(SECTIONS)
    assert all(section["description"].endswith(".") for section in described.values())


@pytest.mark.parametrize("section", ["providers", "models"])
def test_names_are_frozen_and_nobody_else_holds_them(section: str) -> None:
    """Neither through the settings nor through the tree that they came from can a name be added."""
    tree = {name: dict(value) if isinstance(value, dict) else value for name, value in SECTIONS.items()}
    found = getattr(RootSettings.model_validate(tree), section)
    names = set(found)
    with pytest.raises(TypeError):
        found["new"] = next(iter(found.values()))
    tree[section]["new"] = next(iter(tree[section].values()))
    assert set(found) == names


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"providers": {"P": PROVIDER}}, ("providers", "P", "[key]")),
        ({"models": {"a b": {"targets": ["p/x"]}}}, ("models", "a b", "[key]")),
        ({"models": {"a*b": {"targets": ["p/x"]}}}, ("models", "a*b", "[key]")),
        ({"serverr": {}}, ("serverr",)),
        ({"tenants": {}}, ("tenants",)),
        ({"providers": []}, ("providers",)),
    ],
)
def test_what_is_no_name_or_section_is_refused(written: dict[str, Any], place: tuple[str, ...]) -> None:
    """At its place; a name that is wrong is marked as a key."""
    assert refused_at(written) == [place]
