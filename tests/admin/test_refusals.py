"""One body for all that is refused: bounded, complete, in OpenAI's words."""

from dataclasses import dataclass

import pytest

from gateway.admin.refusals import KINDS, MOST_CHARACTERS, MOST_MISTAKES, AdminError, invalid


@dataclass(frozen=True)
class Wrong:
    """A mistake of a key."""

    key: str

    def __str__(self) -> str:
        return f"{self.key}: is wrong."


@pytest.mark.parametrize("code", KINDS)
def test_every_code_has_a_status_and_a_type(code: str) -> None:
    """Those of the client are 4xx, ours 5xx."""
    error = AdminError(code, "So it is.", param="x")
    assert 400 <= error.kind.status < 600
    assert (error.kind.type == "server_error") is (error.kind.status >= 500)
    assert error.answer.model_dump() == {
        "error": {"type": error.kind.type, "code": code, "message": "So it is.", "param": "x"},
        "mistakes": (),
    }


def test_a_code_that_is_not_there_is_a_mistake_of_ours() -> None:
    """Not something to be answered."""
    with pytest.raises(KeyError):
        AdminError("nonsense", "")


@pytest.mark.parametrize(
    ("count", "end"), [(1, "a0: is wrong."), (2, " There is 1 more mistake."), (3, " There are 2 more mistakes.")]
)
def test_all_mistakes_are_told(count: int, end: str) -> None:
    """The first in the message, all in the list."""
    answer = invalid([Wrong(f"a{n}") for n in range(count)]).answer
    assert answer.error.message.startswith("a0: is wrong.") and answer.error.message.endswith(end)
    assert answer.error.param == "a0"
    assert [one.key for one in answer.mistakes] == [f"a{n}" for n in range(count)]


def test_what_was_sent_makes_no_answer_long() -> None:
    """A name may be as long as a body, and a body may have as many as it likes."""
    answer = invalid([Wrong("x" * 1_000_000)] * 10_000).answer
    assert len(answer.model_dump_json()) < (MOST_MISTAKES + 1) * (2 * MOST_CHARACTERS + 100)
    assert len(answer.mistakes) == MOST_MISTAKES


def test_the_whole_has_no_param() -> None:
    """What blames no field names none."""
    assert invalid([Wrong("")]).answer.error.param is None
