"""Numbers of the configuration: what counts as a time, and what is refused."""

import pytest
from pydantic import ValidationError

from gateway.core.quantity import Seconds
from gateway.core.settings import Settings


class Patience(Settings):
    """A section with one time."""

    wait_s: Seconds = 5.0


@pytest.mark.parametrize(("written", "wait_s"), [(1, 1.0), (0.001, 0.001), ("2.5", 2.5), (86400, 86400.0)])
def test_times(written: object, wait_s: float) -> None:
    """Numbers and texts of numbers (from the environment), up to a day."""
    assert Patience.model_validate({"wait_s": written}).wait_s == wait_s


@pytest.mark.parametrize(
    "written", [0, -1, 86400.5, True, False, float("inf"), float("nan"), "inf", "nan", "soon", "", None, [1]]
)
def test_no_times(written: object) -> None:
    """Refused at their key; YAML's `yes` is no 1."""
    with pytest.raises(ValidationError) as refusal:
        Patience.model_validate({"wait_s": written})
    assert [error["loc"] for error in refusal.value.errors()] == [("wait_s",)]


def test_switches_are_told_what_to_write() -> None:
    """Not that they are too small."""
    with pytest.raises(ValidationError, match="must be a number, not true or false"):
        Patience.model_validate({"wait_s": True})


def test_sections_are_strict_and_stay_as_they_are() -> None:
    """Unknown names are refused, wrong defaults too, and nothing changes after loading."""

    class Wrong(Settings):
        wait_s: Seconds = -1

    with pytest.raises(ValidationError, match="Extra inputs"):
        Patience.model_validate({"wait": 1})
    with pytest.raises(ValidationError, match="greater than 0"):
        Wrong()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Patience(), "wait_s", 1)  # noqa: B010 (mypy knows that it is read-only)
