"""Keys of the admin API: long enough, different, and none at all where nothing is set."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.admin.settings import AdminSettings

LONG = "0123456789abcdef"


@pytest.mark.parametrize("empty", [None, ""])
def test_nothing_is_no_key(empty: str | None) -> None:
    """An environment variable that is not set leaves an empty text."""
    settings = AdminSettings.model_validate({"key": empty, "viewer_key": empty})
    assert (settings.key, settings.viewer_key, settings.port) == (None, None, None)


def test_keys_are_kept_and_never_shown() -> None:
    """Sixteen characters are enough; a representation has none of them."""
    settings = AdminSettings.model_validate({"key": LONG, "viewer_key": LONG + "!"})
    assert settings.key is not None and settings.key.get_secret_value() == LONG
    assert LONG not in repr(settings) + str(settings) + settings.model_dump_json()


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "too short": ({"key": LONG[:-1]}, "key", "must be 16 to 512 printable ASCII characters"),
    "a space": ({"key": LONG + " x"}, "key", "must be 16 to 512"),
    "not ASCII": ({"viewer_key": LONG + "ü"}, "viewer_key", "must be 16 to 512"),
    "a line break": ({"key": LONG + "\n"}, "key", "must be 16 to 512"),
    "much too long": ({"key": "k" * 513}, "key", "must be 16 to 512"),
    "the same": ({"key": LONG, "viewer_key": LONG}, "viewer_key", "must differ from admin.key"),
    "no port": ({"port": 65536}, "port", "less than or equal to 65535"),
    "a negative port": ({"port": -1}, "port", "greater than or equal to 0"),
    "a switch": ({"port": True}, "port", "must be a number, not true or false"),
    "an unknown key": ({"keys": []}, "keys", "Extra inputs"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_key_is_refused(case: str) -> None:
    """Each by its own field, without its value."""
    tree, field, sentence = BAD[case]
    with pytest.raises(ValidationError) as refusal:
        AdminSettings.model_validate(tree)
    (error,) = refusal.value.errors()
    assert error["loc"] == (field,)
    assert sentence in error["msg"]
    assert LONG not in error["msg"]


def test_both_keys_may_be_missing_or_one() -> None:
    """A viewer key alone is an API that nobody can change anything with."""
    settings = AdminSettings.model_validate({"viewer_key": LONG, "port": 0})
    assert (settings.key, settings.port) == (None, 0)
