"""From rows to what operators see and what memory holds, and back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stores.sql.directory import KeyRow, SecretRow, TenantRow
from gateway.tenancy.drafts import KeyDraft, TenantDraft
from gateway.tenancy.records import (
    Unreadable,
    changed,
    config_key_record,
    config_tenant_record,
    iso,
    key_record,
    microseconds,
    read_key,
    read_tenant,
    stored_tenant,
    stored_terms,
    tenant_record,
)
from tests.tenancy.directory_scene import configured

DIGEST = "ab" * 32


def key_row(settings: str = "{}", *secrets: SecretRow, **changes: Any) -> KeyRow:
    return KeyRow("acme", "web", None, settings, 1, 2, secrets=secrets, **changes)


@pytest.mark.parametrize(
    ("expires_at_us", "ends_at_us", "ends_s"),
    [(None, None, None), (5_000_000, None, 5.0), (None, 2_500_000, 2.5), (5_000_000, 2, 2e-6), (2, 5_000_000, 2e-6)],
)
def test_a_secret_ends_with_its_key_or_before(
    expires_at_us: int | None, ends_at_us: int | None, ends_s: float | None
) -> None:
    """Whichever is sooner."""
    row = key_row("{}", SecretRow(DIGEST, 1, ends_at_us), expires_at_us=expires_at_us)
    assert read_key(row).secrets == ((bytes.fromhex(DIGEST), ends_s),)


@pytest.mark.parametrize(
    "draft",
    [
        {"id": "acme"},
        {"id": "acme", "name": "A", "models": [], "model_limits": {"gpt-*": {"concurrent": 2}}},
        {"id": "acme", "budget": {"usd": "0.000001", "window": "total", "timezone": "Europe/Berlin", "soft_at": []}},
        {"id": "acme", "limits": {"requests_per_minute": 60, "burst": 9}, "budget": {"usd": 1000000000}},
    ],
    ids=" ".join,
)
def test_what_is_stored_is_what_was_said(draft: dict[str, Any]) -> None:
    """No more, so that defaults stay defaults."""
    settings = TenantDraft.model_validate(draft)
    stored = stored_tenant(settings)
    assert stored.keys() == draft.keys()
    assert TenantDraft.model_validate(stored) == settings


def test_of_a_key_its_terms_are_stored() -> None:
    """The rest has columns."""
    draft = KeyDraft.model_validate({"id": "k", "label": "l", "expires": "2030-01-01", "limits": {"concurrent": 1}})
    assert stored_terms(draft) == {"limits": {"concurrent": 1}}


@pytest.mark.parametrize("settings", ["", "null", "7", '{"id": 7}', '{"id": "acme", "models": "*"}', "{'id': 'acme'}"])
def test_what_is_not_valid_says_so(settings: str) -> None:
    """Without the value, which may be anything."""
    row = TenantRow("acme", settings, 1, 2)
    with pytest.raises(Unreadable, match=": "):
        read_tenant(row)
    record = tenant_record(row, None)
    assert record.settings is None and record.unreadable is not None
    assert (record.id, record.created_at_us, record.updated_at_us) == ("acme", 1, 2)


@pytest.mark.parametrize(
    "row",
    [
        key_row("nonsense"),
        key_row('{"id": "web"}'),
        key_row("{}", SecretRow("agw-in-the-clear", 1)),
        key_row("{}", SecretRow("ab" * 31, 1)),
    ],
    ids=["no JSON", "an unknown field", "no hex", "short"],
)
def test_a_key_that_is_not_valid_says_so(row: KeyRow) -> None:
    """It is shown without its terms."""
    with pytest.raises(Unreadable):
        read_key(row)
    record = key_record(row)
    assert record.unreadable is not None and (record.limits, record.budget) == (None, None)
    assert "agw-in-the-clear" not in repr(record)


def test_a_record_of_the_configuration_shows_no_hash() -> None:
    """But what is said of it."""
    settings = configured("file", web="agw-x")
    tenant, key = config_tenant_record(settings, "why"), config_key_record("file", settings.keys[0])
    assert (tenant.id, tenant.source, tenant.conflict, type(tenant.settings)) == ("file", "config", "why", TenantDraft)
    assert (key.tenant_id, key.id, key.source, key.expires_at_us) == ("file", "web", "config", None)
    digest = settings.keys[0].digest.hex()
    assert digest not in repr((tenant, key)) and key.secrets[0].fingerprint == digest[:8]


def test_what_changed_has_both_sides() -> None:
    """And what did not is not told."""
    assert changed({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 5}) == {
        "a": {"old": 1, "new": None},
        "c": {"old": 3, "new": 4},
        "d": {"old": None, "new": 5},
    }


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_are_exact(moment: datetime) -> None:
    """To the microsecond, over the whole calendar."""
    assert iso(microseconds(moment)) == moment.isoformat()


@pytest.mark.parametrize(("at_us", "read"), [(None, None), (0, "1970-01-01T00:00:00+00:00"), (1 << 62, str(1 << 62))])
def test_moments_beyond_the_calendar_are_numbers(at_us: int | None, read: str | None) -> None:
    """A hand may have written them."""
    assert iso(at_us) == read
