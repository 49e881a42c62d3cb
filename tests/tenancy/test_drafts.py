"""What the admin API takes for a tenant and a key: the same words and checks as ``gateway.yaml``."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.tenancy.drafts import KeyDraft, TenantDraft
from gateway.tenancy.tenants import KeySettings, TenantSettings


def test_says_what_the_configuration_says() -> None:
    """But for keys and hashes, which are made; a label is for people who see no file with comments."""
    assert TenantDraft.model_fields.keys() == TenantSettings.model_fields.keys() - {"keys"}
    assert KeyDraft.model_fields.keys() == KeySettings.model_fields.keys() - {"hash"} | {"label"}


@pytest.mark.parametrize(
    ("settings", "where", "why"),
    [
        ({}, ("id",), "Field required"),
        ({"id": "Acme"}, ("id",), "lower-case"),
        ({"id": "'; DROP TABLE tenants; --"}, ("id",), "lower-case"),
        ({"id": "a\nb"}, ("id",), "lower-case"),
        ({"id": "a", "colour": "red"}, ("colour",), "Extra inputs"),
        ({"id": "a", "keys": []}, ("keys",), "Extra inputs"),
        ({"id": "a", "name": ""}, ("name",), "at least 1"),
        ({"id": "a", "name": "x" * 201}, ("name",), "at most 200"),
        ({"id": "a", "name": "a\nERROR forged"}, ("name",), "one line of text"),
        ({"id": "a", "name": "a\x00"}, ("name",), "one line of text"),
        ({"id": "a", "name": "a\u2028b"}, ("name",), "one line of text"),
        ({"id": "a", "models": ["a*b"]}, ("models", 0), "one * may stand at the very end"),
        ({"id": "a", "limits": {"concurrent": -1}}, ("limits", "concurrent"), "greater than or equal to 1"),
        ({"id": "a", "limits": {"tokens_per_minute": 1.5}}, ("limits", "tokens_per_minute"), "valid integer"),
        ({"id": "a", "budget": {"usd": None}}, ("budget", "usd"), "0 for nothing at all"),
        ({"id": "a", "budget": {"usd": 1, "timezone": "Mars/Olympus"}}, ("budget", "timezone"), "is no time zone"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, dict) else "",
)
def test_a_tenant_that_is_not_valid_is_refused_by_its_field(
    settings: dict[str, Any], where: tuple[str | int, ...], why: str
) -> None:
    """One mistake each."""
    with pytest.raises(ValidationError) as refused:
        TenantDraft.model_validate(settings)
    (mistake,) = refused.value.errors()
    assert (mistake["loc"], why in mistake["msg"]) == (where, True)


@pytest.mark.parametrize("field", ["hash", "secret", "digest", "keys"])
def test_nobody_brings_a_secret_of_their_own(field: str) -> None:
    """It is made here."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        KeyDraft.model_validate({"id": "k", field: "agw-mine"})


@pytest.mark.parametrize("name", ["Ácme & Söhne", "\N{ZERO WIDTH JOINER}x", "日本", "a b"])
def test_names_are_for_people(name: str) -> None:
    """Of any script."""
    assert TenantDraft(id="a", name=name).name == name


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2027-01-01T01:00:00+01:00", datetime(2027, 1, 1, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, tzinfo=UTC)),
        (None, None),
    ],
)
def test_an_expiry_is_in_utc(written: object, moment: datetime | None) -> None:
    """Whatever zone it is written in."""
    found = KeyDraft.model_validate({"id": "k", "expires": written}).expires
    assert found == moment and (found is None or found.tzinfo is UTC)


@pytest.mark.parametrize("written", ["9999-12-31T23:00:00-02:00", "0001-01-01T00:00:00+02:00", "soon", 7, True])
def test_what_no_calendar_has_is_no_expiry(written: object) -> None:
    """Beyond the last day it would be an error later on."""
    with pytest.raises(ValidationError, match="must be a date or a moment"):
        KeyDraft.model_validate({"id": "k", "expires": written})
