"""The table of consequences, row by row as it was designed."""

import pytest

from gateway.core.outcome import CONSEQUENCES, Billing, Consequences, Fault, Outcome, Verdict

# outcome | fault | breaker hears | may move on | status while no head was sent | billed
TABLE = """
success             | none     | success | no  | 200 | usage
invalid_request     | client   | success | no  | 400 | nothing
unauthorized        | client   | none    | no  | 401 | nothing
forbidden_model     | client   | none    | no  | 403 | nothing
rate_limited        | client   | none    | no  | 429 | nothing
too_busy            | client   | none    | no  | 429 | nothing
over_budget         | client   | none    | no  | 402 | nothing
provider_auth       | gateway  | neutral | yes | 502 | nothing
provider_misrouted  | gateway  | neutral | yes | 502 | nothing
provider_throttled  | capacity | neutral | yes | 429 | nothing
provider_error      | provider | failure | yes | 502 | nothing
connect_failed      | path     | failure | yes | 502 | nothing
first_token_timeout | provider | failure | yes | 504 | relayed
stalled             | provider | failure | yes | 502 | relayed
truncated           | provider | failure | yes | 502 | relayed
stream_error        | provider | failure | yes | 502 | relayed
client_closed       | client   | neutral | no  | 499 | relayed
budget_cut          | client   | neutral | no  | 402 | relayed
circuit_open        | provider | none    | no  | 503 | nothing
deadline_exceeded   | provider | failure | no  | 504 | relayed
overloaded          | gateway  | none    | no  | 503 | nothing
draining            | gateway  | neutral | no  | 503 | relayed
hedge_lost          | none     | neutral | no  |   0 | relayed
internal            | gateway  | neutral | no  | 500 | nothing
"""


def designed() -> dict[Outcome, Consequences]:
    """The table above, read."""
    rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    return {
        Outcome(name): Consequences(Fault(fault), Verdict(verdict), moves == "yes", int(status), Billing(billing))
        for name, fault, verdict, moves, status, billing in rows
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_consequences_are_those_of_the_design(outcome: Outcome) -> None:
    """Every outcome has its row, and no other."""
    assert CONSEQUENCES[outcome] == designed()[outcome]


def test_no_row_is_left_over() -> None:
    """The table has the outcomes and nothing else."""
    assert set(CONSEQUENCES) == set(designed()) == set(Outcome)


@pytest.mark.parametrize("outcome", Outcome)
def test_rows_agree_with_themselves(outcome: Outcome) -> None:
    """Nobody is sent on for a fault of the client's, and the client's fault never opens a breaker."""
    row = CONSEQUENCES[outcome]
    if row.fault is Fault.CLIENT:
        assert not row.may_move_on
        assert row.verdict is not Verdict.FAILURE
        assert 400 <= row.status < 500
    if row.verdict is Verdict.FAILURE:
        assert row.fault in (Fault.PROVIDER, Fault.PATH)
    if row.may_move_on:
        assert row.verdict in (Verdict.FAILURE, Verdict.NEUTRAL)


def test_words_are_label_values() -> None:
    """The `status` label and the error code are the value itself."""
    assert {str(outcome) for outcome in Outcome} == {outcome.name.lower() for outcome in Outcome}
