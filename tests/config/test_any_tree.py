"""Whatever a file holds, it is a configuration or a list of sentences."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import ConfigError
from gateway.config.assembly import assemble
from gateway.config.document import Document

WORDS = ["server", "ops", "providers", "models", "tenants", "pricing", "cache", "port", "p", "m", "id"]
WORDS += ["targets", "target", "dialect", "base_url", "api_keys", "headers", "keys", "hash", "price"]
WORDS += ["unpriced", "timeouts", "total_s", "tls", "verify", "balance", "weight", "limits"]
WORDS += ["stores", "database_url", "redis_url", "ledger", "retention_days", "budget", "usd", "timezone", "soft_at"]
WORDS += ["hedge", "after_s", "slow_first_token_s", "breaker", "unfinished", "max_s", "drain_s", "ready_grace_s"]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["server", "providers", "models", "tenants", "stores", "ledger", "admin", "pricing", "x"]),
        TREES,
    )
)
def test_any_tree_is_taken_or_refused_in_sentences(tree: dict[str, object]) -> None:
    """No tree ends in a traceback."""
    said: list[str] = []
    try:
        assemble(Document(tree=tree), "here")
    except ConfigError as error:
        said = [str(mistake) for mistake in error.mistakes]
    assert all(sentence.endswith((".", "?")) for sentence in said)
