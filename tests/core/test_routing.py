"""Which targets serve a name, at which price."""

import sys
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.pricing import FREE, Price, PriceTable
from gateway.core.routing import (
    MAX_REMEMBERED_ROUTES,
    HedgeSettings,
    ModelSettings,
    ModelTable,
    Target,
    check_id,
    check_model_pattern,
    is_model_name,
    split_target,
)
from gateway.core.timeouts import TimeoutOverrides, Timeouts, merged

KNOWN = Price(input=1, output=2)
OWN = Price(input=3, output=4)
PRICES = PriceTable({"gpt-4o": KNOWN}, date(2026, 1, 1))


def table(models: dict[str, dict[str, object]], unpriced: Price | None = None) -> ModelTable:
    """Route with two OpenAI providers and one of Anthropic."""
    return ModelTable(
        {name: ModelSettings.model_validate(model) for name, model in models.items()},
        {"openai": "openai", "eu": "openai", "anthropic": "anthropic"},
        PRICES,
        unpriced,
    )


MODELS = table(
    {
        "*": {"targets": ["eu/*"]},
        "gpt-*": {"targets": ["openai/*", "eu/gpt-4o"], "max_output": 100},
        "gpt-4*": {"targets": ["openai/gpt-4o"]},
        "gpt-4o": {"targets": ["openai/gpt-4o", {"target": "eu/gpt-4o-eu"}], "price": OWN.model_dump()},
        "claude": {"targets": ["anthropic/claude-x"], "timeouts": {"stall_s": 5}},
    }
)


@pytest.mark.parametrize(
    ("asked", "label", "targets"),
    [
        ("gpt-4o", "gpt-4o", ["openai/gpt-4o", "eu/gpt-4o-eu"]),
        ("gpt-4o-mini", "gpt-4*", ["openai/gpt-4o"]),
        ("gpt-4", "gpt-4*", ["openai/gpt-4o"]),
        ("gpt-5", "gpt-*", ["openai/gpt-5", "eu/gpt-4o"]),
        ("gpt-", "gpt-*", ["openai/gpt-", "eu/gpt-4o"]),
        ("meta/llama", "*", ["eu/meta/llama"]),
        ("claude", "claude", ["anthropic/claude-x"]),
        ("claude-x", "*", ["eu/claude-x"]),
    ],
)
def test_the_most_specific_name_wins(asked: str, label: str, targets: list[str]) -> None:
    """Exact names first, then the longest prefix; * passes the asked name on."""
    for _ in range(2):  # the second time from memory
        route = MODELS.resolve(asked)
        assert route is not None
        assert (route.asked, route.label) == (asked, label)
        assert [f"{t.provider}/{t.model}" for t in route.targets] == targets


def test_a_route_carries_what_its_model_sets() -> None:
    """Dialect, output limit and timeouts come with the route."""
    gpt, claude = MODELS.resolve("gpt-5"), MODELS.resolve("claude")
    assert gpt is not None and claude is not None
    assert (gpt.dialect, gpt.max_output, gpt.timeouts) == ("openai", 100, None)
    assert (claude.dialect, claude.timeouts) == ("anthropic", TimeoutOverrides(stall_s=5))


@pytest.mark.parametrize("asked", ["nope", "", "gpt-4O ", "gpt-\n", "gpt-é", "gpt-" + "x" * 125, "*"])
def test_a_name_that_nothing_matches_has_no_route(asked: str) -> None:
    """Neither an unknown name nor one that is no model name is passed on."""
    assert table({"gpt-*": {"targets": ["openai/*"]}, "a": {"targets": ["openai/a"]}}).resolve(asked) is None


@pytest.mark.parametrize(
    ("model", "unpriced", "price"),
    [
        ({"targets": ["openai/gpt-4o"], "price": OWN.model_dump()}, None, OWN),
        ({"targets": ["openai/gpt-4o"]}, None, KNOWN),
        ({"targets": ["openai/gpt-4o-2024-08-06"]}, FREE, KNOWN),
        ({"targets": ["openai/other"]}, None, None),
        ({"targets": ["openai/other"]}, FREE, FREE),
        ({"targets": ["openai/other"]}, OWN, OWN),
        ({"targets": ["openai/gpt-4o"], "price": FREE.model_dump()}, None, FREE),
    ],
)
def test_each_target_has_its_price(model: dict[str, object], unpriced: Price | None, price: Price | None) -> None:
    """The model's own, else the shipped one of the target, else the policy; None is refused."""
    route = table({"m": model}, unpriced).resolve("m")
    assert route is not None
    assert route.targets[0].price == price


def test_targets_of_one_model_may_cost_differently() -> None:
    """The price belongs to the target where the model sets none."""
    route = table({"m": {"targets": ["openai/gpt-4o", "eu/x"]}}).resolve("m")
    assert route is not None
    assert route.targets == (
        Target("openai", "gpt-4o", price=KNOWN, circuit="gpt-4o"),
        Target("eu", "x", price=None, circuit="x"),
    )


def test_a_route_carries_how_its_targets_are_chosen() -> None:
    """Balance, weights, hedge and patience as written; nothing of it where nothing is written."""
    plain = MODELS.resolve("claude")
    chosen = table(
        {
            "m": {
                "targets": ["openai/a", {"target": "eu/b", "weight": 0}, {"target": "eu/c", "weight": 7}],
                "balance": "weighted",
                "hedge": {"after_s": 2},
                "slow_first_token_s": 10,
            }
        }
    ).resolve("m")
    assert plain is not None and chosen is not None
    assert (plain.balance, plain.hedge, plain.slow_first_token_s) == ("ordered", None, None)
    assert [target.weight for target in plain.targets] == [1]
    assert (chosen.balance, chosen.slow_first_token_s) == ("weighted", 10)
    assert chosen.hedge == HedgeSettings(after_s=2, max_share=0.05)
    assert [target.weight for target in chosen.targets] == [1, 0, 7]


@pytest.mark.parametrize(
    ("asked", "circuits"),
    [
        ("gpt-4o", ["gpt-4o", "gpt-4o-eu"]),
        ("gpt-5", ["gpt-*", "gpt-4o"]),
        ("gpt-6-made-up", ["gpt-*", "gpt-4o"]),
        ("anything/else", ["*"]),
    ],
)
def test_a_circuit_is_named_after_what_is_configured(asked: str, circuits: list[str]) -> None:
    """The model where one is named, else the pattern, however many names it is asked for by."""
    route = MODELS.resolve(asked)
    assert route is not None
    assert [target.circuit for target in route.targets] == circuits


def test_an_exact_name_that_goes_through_has_a_circuit_of_its_own() -> None:
    """It is the same as that of a target which names it."""
    models = table({"llama": {"targets": ["openai/*"]}, "alias": {"targets": ["openai/llama"]}})
    llama, alias = models.resolve("llama"), models.resolve("alias")
    assert llama is not None and alias is not None
    assert llama.targets[0] == alias.targets[0] == Target("openai", "llama", circuit="llama")
    assert models.circuits() == (("openai", "llama"),)


def test_all_circuits_are_known_before_the_first_request() -> None:
    """Each once, in the order of the file."""
    assert MODELS.circuits() == (
        ("eu", "*"),
        ("openai", "gpt-*"),
        ("eu", "gpt-4o"),
        ("openai", "gpt-4o"),
        ("eu", "gpt-4o-eu"),
        ("anthropic", "claude-x"),
    )


@given(st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True) | st.sampled_from(["gpt-4o", "gpt-4.1", "claude", "gpt-"]))
def test_no_name_that_is_asked_for_makes_a_new_circuit(asked: str) -> None:
    """Clients choose names; breakers, and their metrics, must stay a closed set."""
    route = MODELS.resolve(asked)
    assert route is not None
    assert {(target.provider, target.circuit) for target in route.targets} <= set(MODELS.circuits())


@pytest.mark.parametrize(
    "model",
    [
        {"balance": "random"},
        {"balance": None},
        {"hedge": {}},
        {"hedge": {"after_s": 0}},
        {"hedge": {"after_s": float("inf")}},
        {"hedge": {"after_s": True}},
        {"hedge": {"after_s": 1, "max_share": 0}},
        {"hedge": {"after_s": 1, "max_share": 1.1}},
        {"hedge": {"after_s": 1, "max_share": True}},
        {"hedge": {"after_s": 1, "max_shares": 1}},
        {"slow_first_token_s": 0},
        {"slow_first_token_s": -1},
        {"slow_first_token_s": float("nan")},
        {"targets": [{"target": "openai/a", "weight": -1}]},
        {"targets": [{"target": "openai/a", "weight": 1.5}]},
        {"targets": [{"target": "openai/a", "weight": True}]},
        {"targets": [{"target": "openai/a", "weight": None}]},
        {"targets": [{"target": "openai/a", "weights": 1}]},
        {"targets": [{"weight": 1}]},
    ],
)
def test_what_cannot_be_meant_is_refused(model: dict[str, object]) -> None:
    """Times that are none, shares of more than all, weights that are no whole numbers."""
    with pytest.raises(ValidationError):
        ModelSettings.model_validate({"targets": ["openai/a", "eu/a"], **model})


def test_names_keep_the_order_of_the_file() -> None:
    """Names and patterns are the closed set of labels."""
    assert MODELS.names() == ("*", "gpt-*", "gpt-4*", "gpt-4o", "claude")
    assert MODELS.labels()[:3] == (("eu", "*"), ("openai", "gpt-*"), ("eu", "gpt-*"))


def test_made_up_names_cannot_fill_the_memory() -> None:
    """Only so many resolved names are kept, and one that left is resolved again."""
    models = table({"x*": {"targets": ["openai/*"]}})
    first = models.resolve("x0")
    assert models.resolve("x0") is first
    for i in range(1, MAX_REMEMBERED_ROUTES):
        models.resolve(f"x{i}")
    assert models.resolve("x0") is first
    models.resolve("x-one-more")
    again = models.resolve("x0")
    assert again == first and again is not first
    assert sys.getsizeof(models._remembered) < 200 * MAX_REMEMBERED_ROUTES
    assert len(models._remembered) == MAX_REMEMBERED_ROUTES


@given(st.text(max_size=140))
def test_only_plain_names_ever_reach_a_provider(asked: str) -> None:
    """Whatever is asked, a route is found exactly for the names that are model names."""
    assert (MODELS.resolve(asked) is not None) == is_model_name(asked)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("or/meta/llama-3:free", ("or", "meta/llama-3:free")),
        ("openai/*", ("openai", "*")),
    ],
)
def test_a_target_splits_at_its_first_slash(target: str, parts: tuple[str, str]) -> None:
    """Models have slashes of their own; providers have none."""
    assert split_target(target) == parts


@pytest.mark.parametrize("target", ["gpt-4o", "/gpt", "openai/", "openai/gpt-*", "Open/x", "openai/a b", ""])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    """Provider, slash, one model."""
    with pytest.raises(ValueError, match="must"):
        split_target(target)


@pytest.mark.parametrize("name", ["*", "gpt-*", "gpt-4o", "a/b:c@d.e_f-*", "x" * 128])
def test_patterns_end_in_a_star(name: str) -> None:
    """One star, at the end."""
    assert check_model_pattern(name) == name


@pytest.mark.parametrize("name", ["", "*x", "a*b", "**", "a b", "é", "x" * 129, "a\n"])
def test_other_patterns_are_refused(name: str) -> None:
    """No second star, no star elsewhere, no other characters."""
    with pytest.raises(ValueError, match="128"):
        check_model_pattern(name)


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a/b", "x" * 65, "a\n"])
def test_identifiers_are_plain(name: str) -> None:
    """Lower case, digits and . _ - only."""
    with pytest.raises(ValueError, match="64"):
        check_id(name)


def test_a_model_changes_the_timeouts_that_it_names() -> None:
    """What is left out stays the provider's; null lifts the total only."""
    base = Timeouts(first_token_s=1, stall_s=2, unary_s=3, total_s=4)
    assert merged(base, None) is base
    assert merged(base, TimeoutOverrides()) is base
    assert merged(base, TimeoutOverrides(stall_s=9)) == Timeouts(first_token_s=1, stall_s=9, unary_s=3, total_s=4)
    assert merged(base, TimeoutOverrides(total_s=None)).total_s is None
    with pytest.raises(ValidationError, match="cannot be null"):
        TimeoutOverrides(stall_s=None)
