"""A whole file becomes one immutable configuration, or every mistake in it at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trustme

from gateway.config import Config, json_schema, load, shipped_prices
from gateway.core.period import Period
from gateway.core.pricing import FREE, Price
from gateway.core.quota import Budget
from gateway.core.routing import HedgeSettings, ModelSettings
from gateway.core.timeouts import TimeoutOverrides
from gateway.stores.settings import LedgerSettings
from gateway.tenancy.tenants import hash_key
from tests.config.bad_files import P
from tests.config.conftest import Write, mistakes_in

HASH = hash_key("agw-one")
GOOD = f"""\
server: {{port: 9000, max_body_mb: 1, max_in_flight: 500, drain_s: 3}}
ops: {{metrics_token: "${{TOKEN:-}}"}}
providers:
  openai: {{dialect: openai, base_url: https://api.openai.com/v1/, api_keys: ["${{OPENAI}}"]}}
  eu:
    dialect: openai
    base_url: http://10.1.2.3:8000/v1
    headers: {{api-key: abc}}
    query: {{api-version: 2024-10-21}}
    timeouts: {{stall_s: 5}}
    breaker: {{consecutive_failures: 3, cooldown_s: 2}}
    unfinished: {{settle: drain, max_tokens: 100, max_s: 9}}
  anthropic: {{dialect: anthropic, base_url: https://api.anthropic.com, api_keys: [a, b], pool: {{warm: 0}}}}
models:
  gpt-4o-mini:
    targets: [openai/gpt-4o-mini, {{target: eu/gpt-4o-mini, weight: 3}}]
    balance: weighted
    hedge: {{after_s: 2.5}}
    slow_first_token_s: 20
    timeouts: {{stall_s: 9}}
  "gpt-*": {{targets: ["openai/*"], max_output: 4096}}
  mine: {{targets: [eu/mine], price: {{input: 0.15, output: 0.60}}}}
tenants:
  - id: acme
    keys: [{{id: web, hash: "{HASH}", expires: 2027-01-01, budget: {{usd: 0}}}}]
    models: ["gpt-*"]
    budget: {{usd: 12.5, window: week, timezone: Europe/Berlin, soft_at: [0.9, 0.5], when_exhausted: finish}}
  - {{id: free, budget: null}}
stores: {{database_url: "postgresql://me:${{DB_PASSWORD:-pw}}@db/x", redis_url: "${{REDIS_URL:-}}", on_outage: deny}}
ledger: {{open_wait_s: 1, end_wait_s: 3, retention_days: 400, tags: [feature]}}
"""


@pytest.fixture
def good(write: Write) -> Config:
    """A configuration with a bit of everything."""
    return load(write(GOOD), {"OPENAI": "sk-secret"})


def test_a_good_file_becomes_a_configuration(good: Config) -> None:
    """Every section arrives where its component finds it."""
    assert (good.server.port, good.server.max_body_bytes, good.server.deadline_s) == (9000, 1024 * 1024, 120)
    assert good.ops.metrics_token is None
    assert good.source.endswith("gateway.yaml")
    openai, eu = good.providers["openai"], good.providers["eu"]
    assert openai.base_url == "https://api.openai.com/v1"
    assert [key.get_secret_value() for key in openai.api_keys] == ["sk-secret"]
    assert (eu.headers["api-key"].get_secret_value(), dict(eu.query)) == (
        "abc",
        {"api-version": "2024-10-21"},
    )
    assert (eu.timeouts.stall_s, eu.timeouts.unary_s, eu.pool.warm, eu.usage) == (5, 600, 1, "inject")
    assert good.models.names() == ("gpt-4o-mini", "gpt-*", "mine")
    route = good.models.resolve("gpt-4o-mini")
    assert route is not None
    assert [(t.provider, t.model) for t in route.targets] == [
        ("openai", "gpt-4o-mini"),
        ("eu", "gpt-4o-mini"),
    ]
    assert route.targets[0].price == good.prices.lookup("gpt-4o-mini")
    assert route.timeouts == TimeoutOverrides(stall_s=9)
    assert [tenant.id for tenant in good.tenants] == ["acme", "free"]


def test_what_money_needs_arrives_where_it_is_used(good: Config) -> None:
    """Budgets as whole nano-dollars, 0 apart from none; the stores' addresses with what the environment says."""
    acme, free = good.tenants
    (key,) = acme.keys
    assert acme.budget is not None and key.budget is not None
    assert free.budget is None
    assert key.budget.budget.nanousd == 0
    assert acme.budget.budget == Budget(
        12_500_000_000, Period.WEEK, ZoneInfo("Europe/Berlin"), soft_at=(0.5, 0.9), when_exhausted="finish"
    )
    assert good.stores.database_url.get_secret_value() == "postgresql://me:pw@db/x"
    assert (good.stores.redis_url, good.stores.on_outage) == (None, "deny")
    assert good.ledger == LedgerSettings(open_wait_s=1, end_wait_s=3, retention_days=400, tags=("feature",))


def test_what_an_outage_needs_arrives_where_it_is_used(good: Config) -> None:
    """Bounds and drain at the server, circuit and unfinished streams at the provider, the choice in the route."""
    server, eu, openai = good.server, good.providers["eu"], good.providers["openai"]
    assert (server.max_in_flight, server.max_queued, server.drain_s, server.ready_grace_s) == (500, 1000, 3, 3)
    assert (eu.breaker.consecutive_failures, eu.breaker.cooldown_s, eu.breaker.probes) == (3, 2, 1)
    assert (eu.unfinished.settle, eu.unfinished.max_tokens, eu.unfinished.max_s) == ("drain", 100, 9)
    assert openai.unfinished.settle == "cancel"
    route = good.models.resolve("gpt-4o-mini")
    assert route is not None
    assert (route.balance, [target.weight for target in route.targets]) == ("weighted", [1, 3])
    assert route.hedge == HedgeSettings(after_s=2.5, max_share=0.05)
    assert route.slow_first_token_s == 20
    assert good.models.circuits() == (
        ("openai", "gpt-4o-mini"),
        ("eu", "gpt-4o-mini"),
        ("openai", "gpt-*"),
        ("eu", "mine"),
    )


def test_nothing_changes_after_load(good: Config) -> None:
    """Neither sections nor maps nor lists take a new value."""
    changes: list[Callable[[], object]] = [
        lambda: setattr(good, "source", "x"),
        lambda: setattr(good.server, "port", 1),
        lambda: setattr(good.providers["eu"].timeouts, "stall_s", 1),
        lambda: good.providers.update({}),  # type: ignore[attr-defined]
        lambda: good.providers["eu"].headers.update({}),  # type: ignore[attr-defined]
        lambda: good.providers["eu"].query.pop("api-version"),  # type: ignore[attr-defined]
        lambda: good.tenants.append(None),  # type: ignore[attr-defined]
        lambda: good.tenants[0].keys.append(None),  # type: ignore[attr-defined]
    ]
    for change in changes:
        with pytest.raises((AttributeError, TypeError, ValueError)):
            change()


def test_no_secret_is_in_a_representation(good: Config) -> None:
    """A configuration that reaches a log shows no key, header value, parameter or hash."""
    text = repr(good) + str(good.providers)
    for secret in ("sk-secret", "abc", "2024-10-21", HASH, "pw@db"):
        assert secret not in text


def test_a_metrics_token_comes_from_the_environment(write: Write) -> None:
    """Set it closes /metrics, unset it leaves them open."""
    text = "ops:\n  metrics_token: ${TOKEN:-}\n"
    token = load(write(text), {"TOKEN": "t0"}).ops.metrics_token
    assert token is not None and token.get_secret_value() == "t0"
    assert load(write(text), {}).ops.metrics_token is None


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "models:\ntenants:\n", "{}"])
def test_everything_may_be_left_out(write: Write, text: str) -> None:
    """An empty file, or an empty section, is the defaults."""
    config = load(write(text), {})
    assert (config.server.port, config.models.names(), config.tenants) == (8080, (), ())


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:9", True),
        ("[::1]:9", True),
        ("localhost", True),
        ("a.localhost", True),
        ("ollama:11434", True),
        ("10.0.0.1", True),
        ("172.16.9.9", True),
        ("192.168.1.1", True),
        ("169.254.1.1", True),
        ("[fd00::1]", True),
        ("8.8.8.8", False),
        ("0.0.0.0", False),
        ("[2001:4860:4860::8888]", False),
        ("172.32.0.1", False),
        ("localhost.example.com", False),
        ("0x08080808", False),
    ],
)
def test_plaintext_stays_at_home(write: Write, host: str, allowed: bool) -> None:
    """http:// is for loopback, private addresses and names without a dot, unless the operator says so."""
    assert load(write(P.replace("https://p.example", f"http://{host}") % ", allow_plaintext: true"), {})
    path = write(P.replace("https://p.example", f"http://{host}") % "")
    if allowed:
        assert load(path, {}).providers["p"].base_url == f"http://{host}/v1"
    else:
        assert "unencrypted" in str(mistakes_in(path)[0])


def test_unpriced_models_follow_the_policy(write: Write) -> None:
    """With a policy, a model without a price is no mistake; a pattern never is, its names may have prices."""
    models = P % "" + "models: {m: {targets: [p/unheard-of]}, 'x*': {targets: ['p/*']}}\n"
    route = load(write(models + "pricing: {unpriced: free}"), {}).models.resolve("m")
    assert route is not None and route.targets[0].price == FREE
    route = load(write(models + "pricing: {unpriced: {input: 1, output: 2}}"), {}).models.resolve("x1")
    assert route is not None and route.targets[0].price == Price(input=1, output=2)
    pattern = load(write(P % "" + "models: {'x*': {targets: ['p/*']}}"), {}).models.resolve("x1")
    assert pattern is not None and pattern.targets[0].price is None


def test_a_certificate_file_is_tried(write: Write, tmp_path: Path) -> None:
    """A PEM file is taken, anything else is named now rather than at the first request."""
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    text = P % f", tls: {{ca_file: {ca}}}"
    assert load(write(text), {}).providers["p"].tls.ca_file == str(ca)
    ca.write_text("not a certificate")
    assert "holds no certificate" in str(mistakes_in(write(text))[0])


def test_a_broken_section_blames_nobody_else(write: Write) -> None:
    """Where providers or prices cannot be read at all, models are not accused of using them."""
    text = "providers: none\npricing: {unpriced: fre}\nmodels: {m: {targets: [p/unheard-of]}}\n"
    assert [m.key for m in mistakes_in(write(text))] == ["providers", "pricing.unpriced"]


def test_tenants_keep_their_place_beside_a_broken_one(write: Write) -> None:
    """Positions are those of the file."""
    mistakes = mistakes_in(write("tenants: [{id: B}, {id: a}, {id: a}]"))
    assert [m.key for m in mistakes] == ["tenants.0.id", "tenants.2.id"]


def test_a_name_with_dots_is_quoted_in_a_key(write: Write) -> None:
    """gpt-4.1 is one part of the path."""
    (mistake,) = mistakes_in(write(P % "" + "models: {gpt-4.1: {targets: []}}"))
    assert mistake.key == 'models."gpt-4.1".targets'


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"a: \xff"), "is not UTF-8 text (byte 3)"),
        (lambda path: path.write_text("a: [1"), "is not YAML"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, make: Callable[[Path], Any], sentence: str) -> None:
    """Missing, a directory, bytes: a sentence, no traceback."""
    path = tmp_path / "gateway.yaml"
    make(path)
    (mistake,) = mistakes_in(path)
    assert sentence in str(mistake)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver: {port: 1}")
    assert load(path, {}).server.port == 1


def test_the_schema_describes_every_key() -> None:
    """An editor can complete and explain each one."""
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    sections = {"server", "ops", "providers", "models", "tenants", "stores", "ledger", "admin", "telemetry", "pricing"}
    assert set(schema["properties"]) == sections
    models = [schema, *schema["$defs"].values()]
    assert all(m["additionalProperties"] is False for m in models)
    assert [name for m in models for name, key in m["properties"].items() if "description" not in key] == []
    port = schema["$defs"]["ServerSettings"]["properties"]["port"]
    assert (port["minimum"], port["maximum"], port["default"]) == (0, 65535, 8080)


def test_shipped_prices_are_plausible() -> None:
    """Dated, some forty models, reading the cache never dearer than reading afresh."""
    prices = shipped_prices()
    assert len(prices) >= 40
    assert prices.as_of.year >= 2026
    names = ["gpt-4o-mini", "gpt-4o-2024-08-06", "text-embedding-3-small", "claude-sonnet-4-5-20250929"]
    for name in names:
        price = prices.lookup(name)
        assert price is not None
        assert price.cached_input is None or price.cached_input <= price.input
        assert price.cache_write is None or price.cache_write >= price.input
        assert price.output == 0 or price.output > price.input


def test_models_are_checked_without_a_file() -> None:
    """Settings stand on their own; the file is one way to make them."""
    model = ModelSettings.model_validate({"targets": ["a/b", {"target": "c/*"}]})
    assert model.target_names == (("a", "b"), ("c", "*"))
