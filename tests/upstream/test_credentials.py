"""Keys are handed out in turn, rest where the provider refused or throttled them, and are kept out of what it says."""

from collections import Counter

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.upstream.credentials import FIRST_REST_S, LONGEST_REST_S, KeyPool
from tests.upstream.passing import HandClock


@pytest.fixture
def clock() -> HandClock:
    """A clock that only moves when it is told to."""
    return HandClock()


@pytest.fixture
def two(clock: HandClock) -> KeyPool:
    """Keys a and b."""
    return KeyPool(["a", "b"], clock)


def picked(pool: KeyPool, times: int) -> str:
    """The keys that are handed out, in order."""
    return "".join(str(pool.pick()[1]) for _ in range(times))


def test_keys_take_turns(clock: HandClock) -> None:
    """Each in its order, again and again."""
    pool = KeyPool(["a", "b", "c"], clock)
    assert [pool.pick() for _ in range(4)] == [(0, "a"), (1, "b"), (2, "c"), (0, "a")]


def test_a_pinned_key_is_no_turn(two: KeyPool) -> None:
    """It is given as often as it is asked for; one that is not there any more is any key."""
    assert [two.pick(1), two.pick(1), two.pick(), two.pick(7)] == [(1, "b"), (1, "b"), (0, "a"), (1, "b")]


def test_a_pinned_key_is_given_even_if_it_rests(two: KeyPool) -> None:
    """No other key knows the answer that is continued."""
    two.throttled(1, 60)
    assert two.pick(1) == (1, "b")
    assert picked(two, 3) == "aaa"


def test_no_keys_is_no_credential(clock: HandClock) -> None:
    """Some providers ask for none; nothing is there to be refused, and a throttle still asks for a rest."""
    pool = KeyPool([], clock)
    assert pool.pick() == pool.pick(3) == (0, None)
    pool.refused(0)
    assert pool.rests_for() == 0
    pool.throttled(0, 5)
    assert (pool.rests_for(), pool.has_other(0), pool.pick()) == (5, False, (0, None))


def test_keys_are_scrubbed(clock: HandClock) -> None:
    """Every key of the pool, wherever it stands."""
    pool = KeyPool(["sk-a", "sk-b"], clock)
    assert pool.scrub(b"sk-a, sk-b and sk-ab; sk-c") == b"[key], [key] and [key]b; sk-c"
    assert KeyPool([], clock).scrub(b"None") == b"None"


# --- 401


def test_a_refused_key_rests_for_a_minute(two: KeyPool, clock: HandClock) -> None:
    """The other is used meanwhile, and then both again."""
    two.refused(0)
    assert picked(two, 3) == "bbb"
    clock.now = 59.9
    assert picked(two, 2) == "bb"
    clock.now = 60
    assert Counter(picked(two, 4)) == {"a": 2, "b": 2}


def test_rests_double_up_to_an_hour(two: KeyPool, clock: HandClock) -> None:
    """With each further 401 in a row; a success begins a new row."""
    rests = []
    for _ in range(8):
        two.refused(0)
        began_s = clock.now
        while picked(two, 2) == "bb":
            clock.now += 30
        rests.append(clock.now - began_s)
    assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    two.accepted(0)
    two.refused(0)
    clock.now += 60
    assert set(picked(two, 2)) == {"a", "b"}


def test_the_last_key_never_rests_for_a_401(clock: HandClock) -> None:
    """Whether it is the only one, or the others rest; and what did not rest did not double."""
    pool = KeyPool(["a"], clock)
    for _ in range(9):
        pool.refused(0)
    assert (pool.rests_for(), pool.pick()) == (0, (0, "a"))
    pool = KeyPool(["a", "b", "c"], clock)
    pool.refused(0)
    pool.throttled(1, 3600)
    for _ in range(9):
        pool.refused(2)
    assert picked(pool, 3) == "ccc"
    clock.now = 60
    pool.refused(2)
    assert picked(pool, 2) == "aa"
    clock.now = 120
    assert set(picked(pool, 2)) == {"a", "c"}


def test_requests_under_way_refuse_once(two: KeyPool, clock: HandClock) -> None:
    """A revoked key with fifty requests out rests for a minute, not for an hour."""
    for _ in range(50):
        two.refused(0)
        clock.now += 0.1
    clock.now = 60
    assert set(picked(two, 2)) == {"a", "b"}


def test_a_401_counts_while_a_throttled_key_rests(two: KeyPool, clock: HandClock) -> None:
    """It is other news, and the longer rest holds, in either order."""
    two.throttled(0, 2)
    two.refused(0)
    clock.now = 59
    assert picked(two, 2) == "bb"
    two.throttled(0, 1800)
    clock.now = 1858
    assert picked(two, 2) == "bb"
    clock.now = 1859
    assert set(picked(two, 2)) == {"a", "b"}


# --- 429


def test_a_throttled_key_rests_as_long_as_told(two: KeyPool, clock: HandClock) -> None:
    """A later word may make it longer and never shorter; a wait that is none parks nothing."""
    two.throttled(0, 5)
    two.throttled(0, 1)
    clock.now = 4.9
    assert picked(two, 2) == "bb"
    clock.now = 5
    two.throttled(0, 0)
    two.throttled(1, -3)
    two.throttled(1, float("nan"))
    assert Counter(picked(two, 4)) == {"a": 2, "b": 2}


def test_where_all_rest_the_first_to_be_free_is_given(two: KeyPool, clock: HandClock) -> None:
    """With how long that takes, so that the caller may wait, or move on."""
    two.throttled(0, 9)
    two.throttled(1, 4)
    clock.now = 1
    assert (picked(two, 3), two.rests_for()) == ("bbb", 3)
    clock.now = 4
    assert (picked(two, 3), two.rests_for()) == ("bbb", 0)


def test_whether_another_key_could_be_used(two: KeyPool, clock: HandClock) -> None:
    """What a request that was refused or throttled may be sent again with at once."""
    assert (two.has_other(0), two.has_other(1)) == (True, True)
    two.throttled(0, 5)
    assert (two.has_other(0), two.has_other(1)) == (True, False)
    two.throttled(1, 7)
    assert (two.has_other(0), two.has_other(1)) == (False, False)
    clock.now = 5
    assert (two.has_other(0), two.has_other(1)) == (False, True)
    assert not KeyPool(["a"], clock).has_other(0)


def test_keys_awake_share_the_turns_of_those_that_rest(clock: HandClock) -> None:
    """Evenly, and in their order."""
    pool = KeyPool(["a", "b", "c", "d"], clock)
    pool.throttled(1, 60)
    assert picked(pool, 9) == "acdacdacd"


def test_a_pool_without_trouble_reads_no_clock() -> None:
    """The line's cost: with no key at rest a turn is a turn."""

    def no_clock() -> float:
        raise AssertionError

    pool = KeyPool(["a", "b"], no_clock)
    for _ in range(5):
        index, _ = pool.pick()
        pool.accepted(index)
        assert pool.rests_for() == 0


# --- long random stories


class Keys(RuleBasedStateMachine):
    """A pool beside the rules, written down as simply as they are said."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.free_at: list[float] = []

    @initialize(count=st.integers(1, 4))
    def build(self, count: int) -> None:
        self.pool = KeyPool([f"key{n}" for n in range(count)], lambda: self.now_s)
        self.free_at = [0.0] * count
        self.refused_until = [0.0] * count
        self.next_rest_s = [FIRST_REST_S] * count

    def _awake(self) -> set[int]:
        return {index for index, at in enumerate(self.free_at) if at <= self.now_s}

    def _any(self, data: st.DataObject) -> int:
        return data.draw(st.integers(0, len(self.free_at) - 1))

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        index = self._any(data)
        self.pool.refused(index)
        if self.refused_until[index] <= self.now_s and self._awake() - {index}:
            until_s = self.refused_until[index] = self.now_s + self.next_rest_s[index]
            self.free_at[index] = max(self.free_at[index], until_s)
            self.next_rest_s[index] = min(self.next_rest_s[index] * 2, LONGEST_REST_S)

    @rule(data=st.data(), wait_s=st.sampled_from([-1.0, 0.0, 0.5, 5.0, 90.0, 86400.0]))
    def throttle(self, data: st.DataObject, wait_s: float) -> None:
        index = self._any(data)
        self.pool.throttled(index, wait_s)
        if wait_s > 0:
            self.free_at[index] = max(self.free_at[index], self.now_s + wait_s)

    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        index = self._any(data)
        self.pool.accepted(index)
        self.refused_until[index], self.next_rest_s[index] = 0.0, FIRST_REST_S

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 30.0, 60.0, 600.0, 7200.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.free_at)
    @rule()
    def wait_as_told(self) -> None:
        """Then, and not before, a key may be used, and it is given."""
        self.now_s += self.pool.rests_for()
        assert self.pool.pick()[0] in self._awake()

    @rule(rounds=st.integers(1, 3))
    def take_turns(self, rounds: int) -> None:
        """Over whole rounds those awake are given equally often; where none is, who is free first."""
        awake = self._awake()
        given = Counter(self.pool.pick()[0] for _ in range(rounds * max(len(awake), 1)))
        if awake:
            assert given == dict.fromkeys(awake, rounds)
        else:
            assert [self.free_at[index] for index in given] == [min(self.free_at)]

    @invariant()
    def answers_agree(self) -> None:
        awake = self._awake()
        for index in range(len(self.free_at)):
            assert self.pool.has_other(index) == bool(awake - {index})
        if self.free_at:
            assert self.pool.rests_for() == (0 if awake else min(self.free_at) - self.now_s)


TestKeys = Keys.TestCase
TestKeys.settings = hypothesis_settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_woken_keys_rest_no_more(two: KeyPool, clock: HandClock) -> None:
    """Whatever they rested for; the next 401 is the first of a row."""
    two.refused(0)
    clock.now = 61
    two.refused(0)
    two.throttled(1, 200)
    assert two.rests_for() > 0
    two.wake()
    assert (two.rests_for(), Counter(picked(two, 4))) == (0, {"a": 2, "b": 2})
    two.refused(0)
    clock.now += 60
    assert Counter(picked(two, 4)) == {"a": 2, "b": 2}
