"""Every verb on limits and budgets in any order and at any pace, against a model: conserved, bounded, nothing leaks."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.period import Period
from gateway.core.quota import LEASE_S, ORPHAN_S, Ask, Budget, Denied, Grant, Limits, Scope, Settled, Standing
from gateway.stores.memory import LocalQuotas
from tests.stores.local_house import NEW_YEARS_EVE_S, at_once


@dataclass(slots=True)
class Held:
    """What the model knows of one exchange."""

    grant: Grant
    scopes: tuple[Scope, ...]
    hold: int
    until_s: float
    starts_s: dict[str, float]


class AnySequence(RuleBasedStateMachine):
    """Every verb in any order, at any pace, over scopes that share tenants; the model is a list and three sums."""

    SCOPES = (
        Scope("tenant/acme", "the tenant", Limits(concurrent=6), Budget(2000, Period.DAY, ZoneInfo("Europe/Berlin"))),
        Scope("key/acme/web", "the key", Limits(100, 1000, 4, 8), Budget(900, Period.TOTAL, ZoneInfo("UTC"))),
        Scope("model/acme/m", "the model", Limits(tokens_per_minute=5000), None),
    )

    def __init__(self) -> None:
        super().__init__()
        self.now_s = NEW_YEARS_EVE_S
        self.quotas = LocalQuotas(lambda: self.now_s, lambda: self.now_s)
        self.open: list[Held] = []
        self.spent: dict[tuple[str, float], int] = {}
        self.asked = 0

    def standings(self) -> list[Standing]:
        return [at_once(self.quotas.standing(scope)) for scope in self.SCOPES]

    def book(self, held: Held, cost: int) -> None:
        for key, start_s in held.starts_s.items():
            self.spent[key, start_s] = self.spent.get((key, start_s), 0) + cost

    def pick(self, data: st.DataObject) -> Held:
        return self.open[data.draw(st.integers(0, len(self.open) - 1))]

    @rule(
        scopes=st.lists(st.sampled_from(SCOPES), unique_by=lambda s: s.key, max_size=3),
        tokens=st.integers(0, 300),
        hold=st.integers(0, 600),
    )
    def begin(self, scopes: list[Scope], tokens: int, hold: int) -> None:
        before = self.standings()
        self.asked += 1
        answer = at_once(self.quotas.admit(Ask(str(self.asked), "acme", tuple(scopes), tokens, hold)))
        if isinstance(answer, Denied):
            assert self.standings() == before
            return
        starts_s = {s.key: s.budget.span_at(self.now_s).start_s for s in scopes if s.budget is not None}
        self.open.append(Held(answer, tuple(scopes), hold, self.now_s + LEASE_S, starts_s))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), more=st.integers(0, 300))
    def grow(self, data: st.DataObject, more: int) -> None:
        held = self.pick(data)
        if at_once(self.quotas.top_up(held.grant, more)):
            held.hold += more

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.floats(0, 1), tokens=st.integers(0, 600))
    def end(self, data: st.DataObject, share: float, tokens: int) -> None:
        held = self.pick(data)
        cost = int(held.hold * share)
        self.open.remove(held)
        assert at_once(self.quotas.settle(held.grant, tokens, cost)) == Settled(True)
        assert at_once(self.quotas.settle(held.grant, tokens, cost)) == Settled(False)
        self.book(held, cost)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        held = self.pick(data)
        self.open.remove(held)
        at_once(self.quotas.withdraw(held.grant))

    @rule(seconds=st.sampled_from([0.01, 1, LEASE_S / 2, LEASE_S, ORPHAN_S, 12 * 3600]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        held = self.pick(data)
        at_once(self.quotas.renew([held.grant]))
        held.until_s = self.now_s + LEASE_S

    @invariant()
    def agrees_with_the_model(self) -> None:
        for held in [h for h in self.open if h.until_s + ORPHAN_S <= self.now_s]:
            self.open.remove(held)
            self.book(held, held.hold)
        for scope_, standing in zip(self.SCOPES, self.standings(), strict=True):
            its = [held for held in self.open if scope_ in held.scopes]
            assert standing.in_flight == sum(held.until_s > self.now_s for held in its)
            if scope_.budget is None:
                continue
            funds = standing.funds
            assert funds is not None
            start_s = scope_.budget.span_at(self.now_s).start_s
            assert funds.span.start_s == start_s
            assert funds.spent_nanousd == self.spent.get((scope_.key, start_s), 0)
            assert funds.held_nanousd == sum(held.hold for held in its if held.starts_s[scope_.key] == start_s)
            assert funds.spent_nanousd + funds.held_nanousd <= scope_.budget.nanousd

    def teardown(self) -> None:
        """Nothing leaks once all have ended."""
        for held in self.open:
            assert at_once(self.quotas.settle(held.grant, 0, 0)).first
        for standing in self.standings():
            assert not standing.in_flight
            assert standing.funds is None or standing.funds.held_nanousd == 0


AnySequence.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnySequence = AnySequence.TestCase
