"""What differs between two configurations: by key, never by value; what may not; and the digest of the rest."""

from dataclasses import replace

import pytest

from gateway.config import Change, Config, ConfigError, assemble, changes, digest, read_document, refuse_fixed
from gateway.tenancy.tenants import hash_key

BEFORE = f"""\
server: {{port: 9000}}
providers:
  one: {{dialect: openai, base_url: "http://127.0.0.1:1/v1", api_keys: [sk-first], headers: {{x-a: secret-a}}}}
  gone: {{dialect: openai, base_url: "http://127.0.0.1:2/v1"}}
models:
  gpt-4.1: {{targets: [one/gpt], price: {{input: 1, output: 2}}}}
tenants:
  - id: acme
    keys: [{{id: web, hash: "{hash_key("agw-web")}"}}, {{id: old, hash: "{hash_key("agw-old")}"}}]
    limits: {{requests_per_minute: 600}}
  - {{id: left}}
"""
AFTER = f"""\
server: {{port: 9001, deadline_s: 7}}
providers:
  one: {{dialect: openai, base_url: "http://127.0.0.1:1/v1", api_keys: [sk-other], headers: {{x-a: b, x-b: secret-b}}}}
  new: {{dialect: openai, base_url: "http://127.0.0.1:2/v1"}}
models:
  gpt-4.1: {{targets: [one/gpt, new/gpt], price: {{input: 1, output: 3}}}}
  more: {{targets: [new/more]}}
tenants:
  - {{id: newcomer}}
  - id: acme
    keys: [{{id: web, hash: "{hash_key("agw-web-2")}"}}, {{id: app, hash: "{hash_key("agw-app")}"}}]
    limits: {{requests_per_minute: 601}}
    budget: {{usd: 5}}
pricing: {{unpriced: free}}
stores: {{on_outage: deny}}
"""


def read(text: str) -> Config:
    return assemble(read_document(text, {}), "the file")


def words(before: Config, after: Config) -> list[str]:
    return [str(change) for change in changes(before, after)]


def test_every_difference_is_named_by_its_key() -> None:
    """Items by their names or ids, wherever they stand; what came or went as a whole once; no value of anything."""
    told = words(read(BEFORE), read(AFTER))
    assert sorted(told) == [
        'models."gpt-4.1".price.output changed',
        'models."gpt-4.1".targets changed',
        "models.more added",
        "pricing.unpriced changed",
        "providers.gone removed",
        "providers.new added",
        "providers.one.api_keys changed",
        "providers.one.headers.x-a changed",
        "providers.one.headers.x-b added",
        "server.deadline_s changed",
        "server.port changed",
        "stores.on_outage changed",
        "tenants.acme.budget changed",
        "tenants.acme.keys.app added",
        "tenants.acme.keys.old removed",
        "tenants.acme.keys.web.hash changed",
        "tenants.acme.limits.requests_per_minute changed",
        "tenants.left removed",
        "tenants.newcomer added",
    ]
    assert not any(secret in line for line in told for secret in ("sk-", "sha256", "secret-"))


@pytest.mark.parametrize("text", [BEFORE, AFTER, ""], ids=["before", "after", "empty"])
def test_equal_files_do_not_differ(text: str) -> None:
    """However often they are read; what stands for the file is no part of it."""
    assert words(read(text), replace(read(text), source="another file")) == []


def test_what_a_file_says_by_default_is_no_difference() -> None:
    """The settings count, not the words."""
    assert words(read("server: {deadline_s: 120}"), read("")) == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("server: {port: 1, host: 127.0.0.1, deadline_s: 1}", ["server.host", "server.port"]),
        ('stores: {database_url: "sqlite:///x.db", on_outage: deny}', ["stores.database_url", "stores.on_outage"]),
        ("ledger: {end_wait_s: 1, tags: [feature]}", ["ledger.end_wait_s"]),
        ("admin: {port: 9}", ["admin.port"]),
    ],
    ids=["server", "stores", "ledger", "admin"],
)
def test_what_cannot_change_is_refused_by_name(text: str, keys: list[str]) -> None:
    """All of it at once; everything else may."""
    changed = changes(read(""), read(text))
    with pytest.raises(ConfigError) as refused:
        refuse_fixed(changed, "gateway.yaml")
    assert [mistake.key for mistake in refused.value.mistakes] == keys
    assert str(refused.value).startswith(f"gateway.yaml has {len(keys)} mistake")
    assert "cannot change while the gateway runs" in str(refused.value)


def test_what_can_change_is_not_refused() -> None:
    """Providers, models, tenants, and the rest of the server."""
    fixed = ("server.port", "stores")
    changed = [change for change in changes(read(BEFORE), read(AFTER)) if not str(change).startswith(fixed)]
    assert len(changed) == 17
    refuse_fixed(changed, "gateway.yaml")
    refuse_fixed([Change(("server", "ports"), "changed")], "gateway.yaml")
    refuse_fixed(changes(read(""), read("ledger: {tags: [feature]}")), "gateway.yaml")


def test_digest_says_whether_two_run_the_same() -> None:
    """Equal settings, equal digests, defaults written or not; a secret is none of it, any other value is."""
    plain = digest(read(BEFORE))
    assert (len(plain), plain) == (64, digest(read(BEFORE.replace("server: {", "server: {deadline_s: 120, "))))
    hidden = BEFORE.replace("sk-first", "sk-second").replace("secret-a", "other").replace("agw-web", "agw-web-2")
    hidden = hidden.replace(hash_key("agw-web"), hash_key("agw-web-2"))
    assert digest(read(hidden)) == plain
    for old, new in (("600", "601"), ("id: left", "id: right"), ("x-a", "x-b"), ("output: 2", "output: 3")):
        assert digest(read(BEFORE.replace(old, new))) != plain
