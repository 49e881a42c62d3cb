"""Every code: its outcome, its status, its type in either dialect."""

import pytest

from gateway.core.errors import KINDS, GatewayError
from gateway.core.outcome import CONSEQUENCES, Outcome

# code | outcome | status | OpenAI type | Anthropic type
TABLE = """
invalid_request             | invalid_request     | 400 | invalid_request_error | invalid_request_error
unauthorized                | unauthorized        | 401 | authentication_error  | authentication_error
forbidden_model             | forbidden_model     | 403 | permission_error      | permission_error
rate_limited                | rate_limited        | 429 | rate_limit_error      | rate_limit_error
too_busy                    | too_busy            | 429 | rate_limit_error      | rate_limit_error
over_budget                 | over_budget         | 402 | insufficient_quota    | billing_error
provider_auth               | provider_auth       | 502 | server_error          | api_error
provider_misrouted          | provider_misrouted  | 502 | server_error          | api_error
provider_throttled          | provider_throttled  | 429 | rate_limit_error      | rate_limit_error
provider_error              | provider_error      | 502 | server_error          | api_error
connect_failed              | connect_failed      | 502 | server_error          | api_error
first_token_timeout         | first_token_timeout | 504 | server_error          | timeout_error
stalled                     | stalled             | 502 | server_error          | api_error
truncated                   | truncated           | 502 | server_error          | api_error
stream_error                | stream_error        | 502 | server_error          | api_error
client_closed               | client_closed       | 499 | invalid_request_error | invalid_request_error
budget_cut                  | budget_cut          | 402 | insufficient_quota    | billing_error
circuit_open                | circuit_open        | 503 | server_error          | overloaded_error
deadline_exceeded           | deadline_exceeded   | 504 | server_error          | timeout_error
overloaded                  | overloaded          | 503 | server_error          | overloaded_error
draining                    | draining            | 503 | server_error          | overloaded_error
internal                    | internal            | 500 | server_error          | api_error
not_found                   | invalid_request     | 404 | invalid_request_error | not_found_error
model_not_found             | invalid_request     | 404 | invalid_request_error | not_found_error
method_not_allowed          | invalid_request     | 405 | invalid_request_error | invalid_request_error
request_timeout             | invalid_request     | 408 | invalid_request_error | invalid_request_error
request_too_large           | invalid_request     | 413 | invalid_request_error | request_too_large
unsupported_media_type      | invalid_request     | 415 | invalid_request_error | invalid_request_error
expectation_failed          | invalid_request     | 417 | invalid_request_error | invalid_request_error
unsupported_transfer_coding | invalid_request     | 501 | invalid_request_error | invalid_request_error
malformed_http              | invalid_request     | 400 | invalid_request_error | invalid_request_error
header_too_large            | invalid_request     | 431 | invalid_request_error | invalid_request_error
unpriced_model              | invalid_request     | 400 | invalid_request_error | invalid_request_error
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("code", "outcome", "status", "openai_type", "anthropic_type"), ROWS)
def test_codes(code: str, outcome: str, status: str, openai_type: str, anthropic_type: str) -> None:
    """One row each, and the error says what its row says."""
    error = GatewayError(code, "Do this.")
    assert (error.outcome, error.status) == (Outcome(outcome), int(status))
    assert (error.kind.openai_type, error.kind.anthropic_type) == (openai_type, anthropic_type)


def test_the_vocabulary_is_closed() -> None:
    """The codes are those above; another one is a mistake of ours."""
    assert set(KINDS) == {row[0] for row in ROWS}
    with pytest.raises(KeyError):
        GatewayError("no_such_code", "")


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_that_is_answered_has_a_code(outcome: Outcome) -> None:
    """Under its own name, with the status of the table of consequences."""
    status = CONSEQUENCES[outcome].status
    assert (str(outcome) in KINDS) == (status >= 400)
    if status >= 400:
        assert (KINDS[outcome].outcome, KINDS[outcome].status) == (outcome, status)


def test_what_an_error_carries() -> None:
    """All its parts; the headers are its own."""
    error = GatewayError("rate_limited", "Wait.", param="model", retry_after_s=1.5, headers={"Allow": "POST"})
    assert (error.code, error.message, error.param, error.retry_after_s) == ("rate_limited", "Wait.", "model", 1.5)
    assert error.headers == {"Allow": "POST"}
    assert str(error) == "rate_limited: Wait."
    bare = GatewayError("internal", "Sorry.")
    assert (bare.param, bare.retry_after_s, bare.headers) == (None, None, {})
