"""What comes out of dispatch: refusals keep the provider's status and words."""

import pytest

from gateway.core.outcome import Outcome
from gateway.proxy.answers import ProviderRefusal, WholeAnswer


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refusal_is_the_providers(status: int) -> None:
    """Its status and body pass; its outcome is the client's own fault, so no other target is asked."""
    refusal = ProviderRefusal(status, b'{"error":{}}', {"Retry-After": "1"})
    assert (refusal.status, refusal.body, refusal.headers) == (status, b'{"error":{}}', {"Retry-After": "1"})
    assert refusal.outcome is Outcome.INVALID_REQUEST


def test_a_whole_answer_has_no_rest() -> None:
    """Unless it was too large to be read at once."""
    assert WholeAnswer(b"{}", {}, "application/json", {}).rest is None
