"""Every mistake says which key, what was found and what to write, and never shows a secret."""

import pytest

from gateway.config import ConfigError, load
from tests.config.bad_files import BAD, P, T, U
from tests.config.conftest import Write, mistakes_in


@pytest.mark.parametrize(("text", "key", "sentence"), BAD.values(), ids=BAD)
def test_each_mistake_says_what_to_write(write: Write, text: str, key: str, sentence: str) -> None:
    """One mistake in a file gives one sentence, with the key, what was found and what is allowed."""
    (mistake,) = mistakes_in(write(text))
    assert mistake.key == key
    assert sentence in str(mistake)
    assert mistake.line is not None and mistake.line <= text.count("\n") + 1


TEN = """\
server: {port: 99999, log_level: warn}
opps: {}
providers:
  openai:
    dialect: opnai
    base_url: https://api.openai.com/v1
    api_keys: ["${OPENAI_API_KEY}"]
    timeouts: {first_tokens_s: 3}
  eu: {dialect: openai, base_url: https://eu.example/v1}
models:
  gpt-4o: {targets: [openai/gpt-4o, europe/gpt-4o]}
  mine: {targets: [eu/unheard-of]}
tenants:
  - {id: a, budget: {usd: -1}}
  - {id: A}
"""


def test_ten_mistakes_are_told_at_once(write: Write) -> None:
    """In the order of the file; a broken provider is not blamed again where a model uses it."""
    mistakes = mistakes_in(write(TEN))
    assert [(m.key, m.line) for m in mistakes] == [
        ("server.port", 1),
        ("server.log_level", 1),
        ("opps", 2),
        ("providers.openai.dialect", 5),
        ("providers.openai.api_keys.0", 7),
        ("providers.openai.timeouts.first_tokens_s", 8),
        ("models.gpt-4o.targets.1", 11),
        ("models.mine.targets.0", 12),
        ("tenants.0.budget.usd", 14),
        ("tenants.1.id", 15),
    ]


def test_the_error_prints_a_paragraph_each(write: Write) -> None:
    """The head counts them and names the file."""
    path = write(TEN)
    with pytest.raises(ConfigError) as refusal:
        load(path, {})
    paragraphs = str(refusal.value).split("\n\n")
    assert paragraphs[0] == f"{path} has 10 mistakes:"
    assert paragraphs[1:] == [str(m) for m in refusal.value.mistakes]
    assert "\n" not in "".join(paragraphs[1:])


@pytest.mark.parametrize(
    "text",
    [
        P % ", api_keys: [AIzaSECRET, AIzaSECRET]",
        P % ", api_key: hunter2SECRET",
        P % ", headers: {Authorization: Bearer SECRET\u00e9}",
        P % ", query: {key: [SECRET]}",
        U % "http://user:SECRET@x.example/v1",
        "server: {host: [sk-SECRET], port: sk-proj-SECRET}",
        "server: {Bearer SECRET: 1}",
        "ops: {metrics_token: SEC SECRET}",
        T % ("agw-SECRET", "", ""),
        "server: {port: '${LEAK}', log_level: 'x${LEAK}'}",
        "providers: {p: {dialect: '${LEAK}', base_url: '${LEAK}'}}",
        "stores: {database_url: 'postgresql://me:SECRET@db:port/x'}",
        "stores: {database_url: 'mysql://me:SECRET@db/x', redis_url: 'redis://:SECRET@cache:port'}",
        "stores: {database_url: '${LEAK}', redis_url: 'rediss://${LEAK}'}",
        "admin: {key: SECRET, viewer_key: SECRET}",
    ],
)
def test_no_mistake_shows_a_secret(write: Write, text: str) -> None:
    """Neither what stands under a secret's key, nor what looks like a key, nor what a variable holds."""
    with pytest.raises(ConfigError) as refusal:
        load(write(text), {"LEAK": "SECRET"})
    assert "SECRET" not in str(refusal.value)


def test_a_variable_is_named_instead_of_its_value(write: Write) -> None:
    """Its text in the file is all that the reader needs."""
    (mistake,) = mistakes_in(write("server: {port: '${PORT}'}"), {"PORT": "eighty"})
    assert str(mistake).endswith("found the text of '${PORT}'.")
