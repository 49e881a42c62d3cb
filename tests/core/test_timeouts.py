"""How long a provider may take, and what a model changes of it: every key alone, all together, and null."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.timeouts import TimeoutOverrides, Timeouts, merged

KEYS = ("first_token_s", "stall_s", "unary_s", "total_s")
NEVER_NULL = KEYS[:3]
SECONDS = st.floats(0.001, 86400)

OF_PROVIDER = Timeouts(first_token_s=10, stall_s=20, unary_s=30, total_s=40)


def wrong_keys(model: type[Timeouts] | type[TimeoutOverrides], written: dict[str, Any]) -> list[tuple[str, ...]]:
    """At which keys a section is refused."""
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(written)
    return [tuple(map(str, error["loc"])) for error in refusal.value.errors()]


def test_what_holds_where_nothing_is_written() -> None:
    """Streams may be silent for a minute and last for ever; a whole answer has ten minutes (OpenAI's SDK as well)."""
    assert Timeouts.model_validate({}).model_dump() == {
        "first_token_s": 60.0,
        "stall_s": 60.0,
        "unary_s": 600.0,
        "total_s": None,
    }


@pytest.mark.parametrize("key", KEYS)
def test_one_key_changes_one_deadline(key: str) -> None:
    """The others stay the provider's, which itself stays as it is."""
    override = TimeoutOverrides.model_validate({key: 7})
    assert merged(OF_PROVIDER, override).model_dump() == OF_PROVIDER.model_dump() | {key: 7.0}
    assert OF_PROVIDER.model_dump() == dict(zip(KEYS, (10.0, 20.0, 30.0, 40.0), strict=True))


def test_only_the_whole_stream_may_be_unlimited() -> None:
    """Null lifts the limit of the provider; left out, it stays."""
    assert merged(OF_PROVIDER, TimeoutOverrides.model_validate({"total_s": None})).total_s is None
    assert merged(OF_PROVIDER, TimeoutOverrides.model_validate({"stall_s": 1})).total_s == 40.0
    assert Timeouts.model_validate({"total_s": None}).total_s is None


@pytest.mark.parametrize("key", NEVER_NULL)
def test_the_other_deadlines_cannot_be_lifted(key: str) -> None:
    """Null is refused at its key, and the refusal says what to do; a provider cannot lift them either."""
    assert wrong_keys(TimeoutOverrides, {key: None}) == [(key,)]
    with pytest.raises(ValidationError, match="cannot be null: leave it out to keep the provider's"):
        TimeoutOverrides.model_validate({key: None})
    assert wrong_keys(Timeouts, {key: None}) == [(key,)]


@pytest.mark.parametrize("model", [Timeouts, TimeoutOverrides])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("written", [0, -1, 86400.5, True, "nan", "inf", "soon"])
def test_what_is_no_time_is_refused(model: type[Timeouts] | type[TimeoutOverrides], key: str, written: object) -> None:
    """At its key, in both sections."""
    assert wrong_keys(model, {key: written}) == [(key,)]


@pytest.mark.parametrize("model", [Timeouts, TimeoutOverrides])
def test_unknown_keys_are_refused(model: type[Timeouts] | type[TimeoutOverrides]) -> None:
    """A deadline that is misspelled would otherwise never come."""
    assert wrong_keys(model, {"first_token": 1, "stalls_s": 1}) == [("first_token",), ("stalls_s",)]


@pytest.mark.parametrize("override", [None, TimeoutOverrides()], ids=["none", "empty"])
def test_no_change_is_no_copy(override: TimeoutOverrides | None) -> None:
    """Requests without a model's own deadlines share the provider's."""
    assert merged(OF_PROVIDER, override) is OF_PROVIDER


@given(st.dictionaries(st.sampled_from(KEYS), SECONDS), st.dictionaries(st.sampled_from(KEYS), SECONDS))
def test_the_model_wins_where_it_says_something(provider: dict[str, float], model: dict[str, float]) -> None:
    """As if one section had been written over the other."""
    result = merged(Timeouts.model_validate(provider), TimeoutOverrides.model_validate(model))
    assert result == Timeouts.model_validate(provider | model)
