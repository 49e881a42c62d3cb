"""Keys are handed out in turn, named by number, and taken out of what providers say."""

from gateway.upstream.credentials import KeyPool


def test_keys_take_turns() -> None:
    """Each in its order, again and again."""
    pool = KeyPool(["a", "b", "c"])
    assert [pool.pick() for _ in range(4)] == [(0, "a"), (1, "b"), (2, "c"), (0, "a")]


def test_a_pinned_key_is_no_turn() -> None:
    """It is given as often as it is asked for; one that is not there any more is any key."""
    pool = KeyPool(["a", "b"])
    assert [pool.pick(1), pool.pick(1), pool.pick(), pool.pick(7)] == [(1, "b"), (1, "b"), (0, "a"), (1, "b")]


def test_no_keys_is_no_credential() -> None:
    """Some providers ask for none."""
    assert KeyPool([]).pick() == KeyPool([]).pick(3) == (0, None)


def test_keys_are_scrubbed() -> None:
    """Every key of the pool, wherever it stands."""
    assert KeyPool(["sk-a", "sk-b"]).scrub(b"sk-a, sk-b and sk-ab; sk-c") == b"[key], [key] and [key]b; sk-c"
