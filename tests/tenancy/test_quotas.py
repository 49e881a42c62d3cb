"""Limits and budgets: how people write them, and whose they are."""

import math
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from gateway.core.period import Period
from gateway.core.quota import Budget, Limits, Scope
from gateway.tenancy.quotas import (
    BudgetSettings,
    Entitlement,
    LimitSettings,
    Owner,
    covers,
    may_cut,
    owner_of,
)

BERLIN = ZoneInfo("Europe/Berlin")
USD = 10**9


def limits(**figures: int) -> LimitSettings:
    """As the configuration has them."""
    return LimitSettings.model_validate(figures)


def budget(usd: object, **more: object) -> BudgetSettings:
    """As the configuration has it."""
    return BudgetSettings.model_validate({"usd": usd, **more})


# --- settings


def test_limits_that_are_left_out_do_not_exist() -> None:
    """And a section without any limits nothing."""
    assert limits().limits is None
    assert limits(requests_per_minute=600, burst=50).limits == Limits(requests_per_minute=600, burst=50)
    assert limits(concurrent=1).limits == Limits(concurrent=1)


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrent", "burst"])
@pytest.mark.parametrize("wrong", [-1, 0, 1.5, math.nan, math.inf, True, "many", 1_000_000_001])
def test_limits_are_whole_numbers_from_one(name: str, wrong: object) -> None:
    """Not negative, fractional, endless or a switch."""
    with pytest.raises(ValidationError) as refused:
        LimitSettings.model_validate({"requests_per_minute": 1, name: wrong})
    assert [error["loc"] for error in refused.value.errors()] == [(name,)]


def test_a_burst_needs_what_it_is_a_burst_of() -> None:
    """Alone it would do nothing, and nobody would notice."""
    with pytest.raises(ValidationError, match="needs requests_per_minute beside it"):
        limits(burst=5)


def test_a_budget_is_in_whole_nano_dollars() -> None:
    """With what is left out as the README says."""
    assert budget("0.000001").budget == Budget(1000, Period.MONTH, ZoneInfo("UTC"), (0.5, 0.8), "cut")
    written = budget(500, window="week", timezone="Europe/Berlin", soft_at=[0.9, 0.1], when_exhausted="finish")
    assert written.budget == Budget(500 * USD, Period.WEEK, BERLIN, (0.1, 0.9), "finish")


def test_nothing_is_a_budget_and_no_budget_is_none() -> None:
    """Zero is never taken for unlimited, and null is not zero."""
    assert budget(0).budget.nanousd == 0
    with pytest.raises(ValidationError, match="0 for nothing at all; where there is no budget, leave budget out"):
        budget(None)


@pytest.mark.parametrize("wrong", [-0.01, "0.0000001", 1_000_000_001, "much", True, math.inf, math.nan])
def test_a_budget_is_a_number_of_dollars(wrong: object) -> None:
    """Bounded, and no finer than a millionth."""
    with pytest.raises(ValidationError) as refused:
        budget(wrong)
    assert [error["loc"] for error in refused.value.errors()] == [("usd",)]


@pytest.mark.parametrize(
    "wrong",
    ["Mars/Olympus", "Europe", "../UTC", "/etc/localtime", "", "UTC\x00", "zone.tab", "Europe/Bérlin"],
)
def test_a_time_zone_exists(wrong: str) -> None:
    """Whatever way it does not, the sentence says what to write."""
    with pytest.raises(ValidationError, match="is no time zone: write a name of the IANA database"):
        budget(1, timezone=wrong)


def test_a_folder_of_time_zones_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As zoneinfo says it where the database comes as a Python package."""

    def from_package(key: str) -> ZoneInfo:
        raise IsADirectoryError(key)

    monkeypatch.setattr("gateway.tenancy.quotas.ZoneInfo", from_package)
    with pytest.raises(ValidationError, match="is no time zone"):
        budget(1, timezone="Europe")


def test_a_time_zone_has_a_short_name() -> None:
    """Zoneinfo recurses into whatever has slashes."""
    with pytest.raises(ValidationError, match="at most 64 characters"):
        budget(1, timezone="a/" * 3000 + "b")


@pytest.mark.parametrize("wrong", [[0], [1.01], [-0.5], [0.5, 0.5], [math.nan], [True], [0.1] * 11, 0.5])
def test_thresholds_are_shares_each_once(wrong: object) -> None:
    """80 is no share, and neither is nothing."""
    with pytest.raises(ValidationError):
        budget(1, soft_at=wrong)


@pytest.mark.parametrize("wrong", [{"window": "year"}, {"when_exhausted": "stop"}, {"currency": "EUR"}])
def test_other_words_are_refused(wrong: dict[str, str]) -> None:
    """By name."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        budget(1, **wrong)


# --- whose they are


def test_a_request_has_the_scopes_that_limit_anything() -> None:
    """Tenant, key, model, in this order; those without limit and budget are not asked."""
    acme = Entitlement(
        "acme",
        limits(concurrent=9),
        budget(5),
        {"web": (limits(concurrent=3), None), "app": (None, budget(1)), "idle": (limits(), None)},
        {"gpt-4o": limits(concurrent=2)},
    )
    own = Scope("tenant/acme", "the tenant `acme`", Limits(concurrent=9), budget(5).budget)
    web = Scope("key/acme/web", "the key `web`", Limits(concurrent=3))
    app = Scope("key/acme/app", "the key `app`", None, budget(1).budget)
    model = Scope("model/acme/gpt-4o", "the model `gpt-4o` for the tenant `acme`", Limits(concurrent=2))
    assert acme.scopes("web", "gpt-4o") == (own, web, model)
    assert acme.scopes("app", "other") == (own, app)
    assert acme.own == own
    assert [acme.of_key(key_id) for key_id in ("web", "app", "idle", "unheard")] == [web, app, None, None]
    keys_alone = Entitlement("acme", keys={"app": (None, budget(1))})
    assert (keys_alone.own, keys_alone.of_key("app"), keys_alone.of_key("web")) == (None, app, None)
    assert acme.scopes("idle", "other") == acme.scopes("unheard", "other") == (own,)
    assert Entitlement("free").scopes("any", "gpt-4o") == ()


def test_a_pattern_is_for_each_model_by_itself() -> None:
    """Its own name first, then the longest pattern; a configured pattern is one model."""
    acme = Entitlement(
        "acme",
        models={
            "*": limits(concurrent=1),
            "gpt-*": limits(concurrent=2),
            "gpt-4*": limits(concurrent=3),
            "gpt-4o": limits(concurrent=4),
            "llama-*": limits(concurrent=5),
        },
    )

    def its(label: str) -> list[tuple[str, int | None]]:
        return [(scope.key, scope.limits.concurrent) for scope in acme.scopes("web", label) if scope.limits]

    assert its("gpt-4o") == [("model/acme/gpt-4o", 4)]
    assert its("gpt-4o-mini") == [("model/acme/gpt-4o-mini", 3)]
    assert its("gpt-5") == [("model/acme/gpt-5", 2)]
    assert its("claude") == [("model/acme/claude", 1)]
    assert its("llama-*") == [("model/acme/llama-*", 5)]


@pytest.mark.parametrize(
    ("pattern", "label", "is_for"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-*", "gpt-4o", True),
        ("gpt-*", "gpt-*", True),
        ("g*", "gpt-*", True),
        ("gpt-4*", "gpt-*", False),
        ("*", "*", True),
    ],
)
def test_a_pattern_is_for_what_it_covers_whole(pattern: str, label: str, is_for: bool) -> None:
    """A narrower one says nothing of a wider."""
    assert covers(pattern, label) is is_for


@pytest.mark.parametrize(
    "owner",
    [
        Owner("acme"),
        Owner("acme", key_id="web"),
        Owner("acme", model="meta/llama-3:70b"),
        Owner("acme", model="llama-*"),
        Owner("a", model="a"),
    ],
)
def test_the_key_of_a_scope_says_whose_it_is(owner: Owner) -> None:
    """There and back, though models have slashes of their own."""
    assert owner_of(owner.scope_key) == owner


@pytest.mark.parametrize("key", ["", "acme", "tenant/", "tenant/a/b", "key/a", "key/a/", "model//m", "user/a/b"])
def test_anything_else_is_no_key_of_a_scope(key: str) -> None:
    """An error, not a guess."""
    with pytest.raises(ValueError, match="not the key of a scope"):
        owner_of(key)


@pytest.mark.parametrize(
    ("words", "may"),
    [([], False), (["cut"], True), (["cut", "cut"], True), (["finish"], False), (["cut", "finish"], False)],
)
def test_a_promise_to_finish_is_kept(words: list[str], may: bool) -> None:
    """By whichever budget it is made."""
    scopes = [Scope(str(n), "x", None, budget(1, when_exhausted=word).budget) for n, word in enumerate(words)]
    assert may_cut([*scopes, Scope("free", "x", Limits(concurrent=1))]) is may
