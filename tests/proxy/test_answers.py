"""What comes out of dispatch: answers that can be dropped, refusals and failures that say what follows from them."""

from unittest.mock import Mock

import pytest

from gateway.core.outcome import Outcome
from gateway.proxy.answers import ProviderFailure, ProviderRefusal, Rests, StreamAnswer, WholeAnswer


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refusal_is_the_providers(status: int) -> None:
    """Its status and body pass; its outcome is the client's own fault, so no other target is asked."""
    refusal = ProviderRefusal(status, b'{"error":{}}', {"Retry-After": "1"})
    assert (refusal.status, refusal.body, refusal.headers) == (status, b'{"error":{}}', {"Retry-After": "1"})
    assert refusal.outcome is Outcome.INVALID_REQUEST


def test_a_whole_answer_has_no_rest() -> None:
    """Unless it was too large to be read at once."""
    assert WholeAnswer(b"{}", {}, "application/json", {}).rest is None


def test_answers_that_nobody_takes_are_closed() -> None:
    """A stream at once; a whole answer only where something of it is still to come."""
    stream, rest = Mock(), Mock()
    StreamAnswer(stream, Mock(), {}).drop()
    stream.abort.assert_called_once_with()
    WholeAnswer(b"{", None, "application/json", {}, rest=rest).drop()
    rest.close.assert_called_once_with()
    WholeAnswer(b"{}", {}, "application/json", {}).drop()


@pytest.mark.parametrize("rests", Rests)
def test_a_failure_says_who_is_to_rest(rests: Rests) -> None:
    """And is an error like any other beside."""
    failure = ProviderFailure("provider_throttled", "Later.", rests, 1.5)
    assert (failure.rests, failure.retry_after_s, failure.status) == (rests, 1.5, 429)
