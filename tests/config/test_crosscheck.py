"""What no single section can see, with parts that are broken themselves: nobody is blamed twice, nobody wrongly."""

import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.crosscheck import Whole, cross_check
from gateway.config.mistakes import KeyPath
from gateway.config.root import RootSettings
from gateway.core.pricing import Price, PriceTable
from gateway.tenancy.tenants import hash_key

PRICE = {"input": 1, "output": 1}
OPENAI = {"dialect": "openai", "base_url": "https://o.example/v1"}
ANTHROPIC = {"dialect": "anthropic", "base_url": "https://a.example"}


def whole(
    tree: dict[str, Any],
    *broken: KeyPath,
    priced: tuple[str, ...] = (),
    positions: list[int] | None = None,
    lines: dict[KeyPath, int] | None = None,
) -> Whole:
    """What is checked: the valid rest of a file whose parts `broken` have mistakes of their own."""
    root = RootSettings.model_validate(tree)
    one = Price.model_validate(PRICE)
    return Whole(
        root=root,
        prices=PriceTable(dict.fromkeys(priced, one), date(2026, 1, 1)),
        broken=lambda path: path in broken or path[:1] in broken,
        tenant_positions=list(range(len(root.tenants))) if positions is None else positions,
        line_of=(lines or {}).get,
    )


def blamed(checked: Whole) -> list[str]:
    """The keys of all mistakes."""
    return [mistake.key for mistake in cross_check(checked)]


def routed(targets: list[Any], **model: Any) -> dict[str, Any]:
    """A file in which one model leads to these targets."""
    return {"providers": {"o": OPENAI, "a": ANTHROPIC}, "models": {"m": {"targets": targets, "price": PRICE, **model}}}


def test_traces_need_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them a collector is a mistake, with the command that mends it; no collector needs none."""
    tree = {"telemetry": {"otlp_endpoint": "http://c.example:4318"}}
    assert cross_check(whole(tree)) == []
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    (mistake,) = cross_check(whole(tree, lines={("telemetry", "otlp_endpoint"): 7}))
    assert (mistake.key, mistake.line) == ("telemetry.otlp_endpoint", 7)
    assert "run pip install '.[otel]', or remove it" in mistake.message
    assert cross_check(whole({"telemetry": {"sample": 0.1}})) == []


def test_a_good_file_has_no_mistake() -> None:
    """Every name leads somewhere, every model has a price, everything is there once."""
    tree = routed(["o/x", "o/y"])
    tree["models"]["x-*"] = {"targets": ["o/*"]}
    tree["tenants"] = [
        {"id": "one", "keys": [{"id": "k", "hash": hash_key("1")}, {"id": "l", "hash": hash_key("2")}]},
        {"id": "two", "keys": [{"id": "k", "hash": hash_key("3")}]},
    ]
    assert cross_check(whole(tree)) == []


def test_a_target_that_leads_nowhere_is_blamed_with_its_line() -> None:
    """And with the nearest name, and those that there are."""
    lines: dict[KeyPath, int] = {("models", "m", "targets", 1): 7}
    (mistake,) = cross_check(whole(routed(["o/x", "oo/x"]), lines=lines))
    assert (mistake.key, mistake.line, mistake.hint) == ("models.m.targets.1", 7, "Did you mean o?")
    assert mistake.message == "leads to the provider oo, which is not under providers (known: o, a)"


def test_no_provider_at_all_is_said() -> None:
    """Where there is none to name."""
    (mistake,) = cross_check(whole({"models": {"m": {"targets": ["o/x"], "price": PRICE}}}))
    assert mistake.message.endswith("(known: none)")


@pytest.mark.parametrize("broken", [("providers", "z"), ("providers",)], ids=["the provider", "the section"])
def test_a_target_of_a_broken_provider_is_not_blamed(broken: KeyPath) -> None:
    """The provider has a mistake of its own, which is enough to read."""
    assert blamed(whole(routed(["o/x", "z/x"]))) == ["models.m.targets.1"]
    assert blamed(whole(routed(["o/x", "z/x"]), broken)) == []


def test_a_target_twice_is_blamed_once_for_each() -> None:
    """With the first of its kind; a mistake of the first is not repeated for the others."""
    mistakes = cross_check(whole(routed(["o/x", "o/y", "o/x", "o/x"])))
    assert [(mistake.key, mistake.message) for mistake in mistakes] == [
        (f"models.m.targets.{n}", "is o/x again, as targets.0 is: keep one") for n in (2, 3)
    ]
    assert blamed(whole(routed(["z/x", "z/x"]))) == ["models.m.targets.0", "models.m.targets.1"]


def test_two_dialects_of_one_model_are_blamed_at_its_targets() -> None:
    """Each is named with the first provider that speaks it."""
    (mistake,) = cross_check(whole(routed(["o/x", "a/x", "o/y"])))
    assert mistake.key == "models.m.targets"
    assert "but o speaks openai and a speaks anthropic: make it two models" in mistake.message


@pytest.mark.parametrize(
    ("name", "targets", "priced", "unpriced"),
    [
        ("m", ["o/x"], ("x",), []),
        ("m", ["o/x"], ("m",), ["models.m.targets.0"]),
        ("m", ["o/*"], ("m",), []),
        ("m", ["o/*"], ("x",), ["models.m.targets.0"]),
        ("m", ["o/x", "o/y"], ("x",), ["models.m.targets.1"]),
        ("x-*", ["o/*"], (), []),
        ("x-*", ["o/y"], (), ["models.x-*.targets.0"]),
        ("x-*", ["o/y"], ("y",), []),
    ],
)
def test_every_target_needs_a_price(
    name: str, targets: list[str], priced: tuple[str, ...], unpriced: list[str]
) -> None:
    """By the provider's name of the model; what a pattern will be asked for, nobody knows before."""
    tree = {"providers": {"o": OPENAI}, "models": {name: {"targets": targets}}}
    assert blamed(whole(tree, priced=priced)) == unpriced
    assert blamed(whole({**tree, "models": {name: {"targets": targets, "price": PRICE}}}, priced=priced)) == []
    assert blamed(whole({**tree, "pricing": {"unpriced": "free"}}, priced=priced)) == []
    assert blamed(whole(tree, ("pricing",), priced=priced)) == []


def weighing(*weights: int) -> list[Any]:
    """Targets in their long form."""
    return [{"target": f"o/{number}", "weight": weight} for number, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("targets", "balance", "keys"),
    [
        (weighing(3, 1), "weighted", []),
        (weighing(0, 1), "weighted", []),
        ([*weighing(0, 0), "o/x"], "weighted", []),
        (weighing(0, 0), "weighted", ["models.m.targets"]),
        (weighing(0), "weighted", ["models.m.targets"]),
        (weighing(1, 1), "ordered", []),
        (weighing(1, 1), "least_busy", []),
        (weighing(1, 2), "ordered", ["models.m.targets.1.weight"]),
        (weighing(0, 2), "least_busy", ["models.m.targets.0.weight", "models.m.targets.1.weight"]),
    ],
)
def test_weights_are_for_a_balance_that_reads_them(targets: list[Any], balance: str, keys: list[str]) -> None:
    """They sum to something; elsewhere only the 1 that holds anyway may be written."""
    assert blamed(whole(routed(targets, balance=balance))) == keys


def test_a_weight_that_nobody_reads_names_the_balance_and_what_to_write() -> None:
    """Who wrote 0 most likely wants the target to be the last."""
    tree = routed(weighing(0, 5), balance="least_busy")
    spare, preferred = cross_check(whole(tree, lines={("models", "m", "targets", 0, "weight"): 9}))
    assert spare.message == "does nothing where balance is least_busy: write balance: weighted, or remove it"
    assert (spare.line, spare.hint) == (9, "To use a target only when the others cannot serve, put it last.")
    assert preferred.hint is None


def test_a_hedge_needs_somebody_to_start() -> None:
    """A second target, of whatever provider."""
    assert blamed(whole(routed(["o/x", "o/y"], hedge={"after_s": 2}))) == []
    assert blamed(whole(routed(["o/x"], hedge={"after_s": 2}))) == ["models.m.hedge"]


@pytest.mark.parametrize(
    ("provider_s", "model_s", "deadline_s", "late_s", "key"),
    [
        (60, None, 120, 59.9, None),
        (60, None, 120, 60, "providers.o.timeouts.first_token_s"),
        (60, 90, 120, 60, None),
        (60, 90, 120, 90, "models.m.timeouts.first_token_s"),
        (60, 5, 120, 7, "models.m.timeouts.first_token_s"),
        (60, None, 30, 29, None),
        (60, None, 30, 31, "server.deadline_s"),
    ],
)
@pytest.mark.parametrize("what", ["hedge.after_s", "slow_first_token_s"])
def test_what_comes_too_late_is_told_by_the_key_that_ends_the_wait(
    what: str, provider_s: float, model_s: float | None, deadline_s: float, late_s: float, key: str | None
) -> None:
    """The model's own timeout where it has one, else the provider's, and the deadline of all attempts together."""
    model: dict[str, Any] = {"timeouts": {} if model_s is None else {"first_token_s": model_s}}
    model |= {"hedge": {"after_s": late_s}} if what == "hedge.after_s" else {"slow_first_token_s": late_s}
    tree = routed(["o/x", "o/y"], **model)
    tree["providers"]["o"] = {**OPENAI, "timeouts": {"first_token_s": provider_s}}
    tree["server"] = {"deadline_s": deadline_s}
    found = cross_check(whole(tree))
    assert [mistake.key for mistake in found] == ([] if key is None else [f"models.m.{what}"])
    assert all(f"as {key} gives a target up after " in mistake.message for mistake in found)


def test_the_most_impatient_target_counts() -> None:
    """One mistake, with its provider; a provider with mistakes of its own, and a broken server, are not asked."""
    tree = routed(["o/x", "b/x", "z/x"], hedge={"after_s": 10})
    tree["providers"]["b"] = {**OPENAI, "timeouts": {"first_token_s": 8}}
    (mistake,) = cross_check(whole(tree, ("providers", "z")))
    assert (mistake.key, mistake.message) == (
        "models.m.hedge.after_s",
        "is never reached, as providers.b.timeouts.first_token_s gives a target up after 8 s: write less than that",
    )
    late = routed(["z/x", "z/y"], hedge={"after_s": 500})
    assert blamed(whole(late, ("providers", "z"))) == ["models.m.hedge.after_s"]
    assert blamed(whole(late, ("providers", "z"), ("server",))) == []


@pytest.mark.parametrize(
    ("unfinished", "keys"),
    [
        ({}, []),
        ({"settle": "cancel"}, []),
        ({"settle": "drain"}, []),
        ({"settle": "drain", "max_tokens": 1, "max_s": 1}, []),
        ({"max_s": 60}, ["max_s"]),
        ({"settle": "cancel", "max_s": 1, "max_tokens": 1}, ["max_tokens", "max_s"]),
    ],
)
def test_bounds_of_a_drain_are_for_a_drain(unfinished: dict[str, Any], keys: list[str]) -> None:
    """Who bounds it believes to have one."""
    tree = {"providers": {"o": {**OPENAI, "unfinished": unfinished}}}
    assert blamed(whole(tree)) == [f"providers.o.unfinished.{key}" for key in keys]


def test_tenants_are_found_at_their_places_in_the_file() -> None:
    """Those between them that are broken are counted, though they are not there."""
    tenants = [{"id": "one"}, {"id": "two"}, {"id": "one"}, {"id": "one"}]
    mistakes = cross_check(whole({"tenants": tenants}, positions=[0, 2, 5, 9]))
    assert [(mistake.key, mistake.message) for mistake in mistakes] == [
        (f"tenants.{n}.id", "is one again, as tenants.0.id is: rename one") for n in (5, 9)
    ]


def test_a_key_belongs_to_one_place() -> None:
    """Its hash in the whole file, its id within the tenant."""
    one, two = hash_key("1"), hash_key("2")
    tenants = [
        {"id": "a", "keys": [{"id": "k", "hash": one}, {"id": "k", "hash": two}]},
        {"id": "b", "keys": [{"id": "k", "hash": two}]},
    ]
    mistakes = cross_check(whole({"tenants": tenants}, positions=[0, 3]))
    assert [mistake.key for mistake in mistakes] == ["tenants.0.keys.1.id", "tenants.3.keys.0.hash"]
    assert "tenants.0.keys.1.hash" in mistakes[1].message
    assert one not in str(mistakes) and two not in str(mistakes)


def trusting(ca_file: Path) -> Whole:
    """A file in which a provider names an authority."""
    return whole({"providers": {"o": {**OPENAI, "tls": {"ca_file": str(ca_file)}}}})


def test_an_authority_must_be_a_readable_certificate(tmp_path: Path, ca: trustme.CA) -> None:
    """A certificate is taken; no file, a folder and a file of something else are told apart."""
    good, bad = tmp_path / "ca.pem", tmp_path / "notes.txt"
    ca.cert_pem.write_to_path(good)
    bad.write_text("no certificate")
    assert cross_check(trusting(good)) == []
    said = {}
    for path in (bad, tmp_path / "gone.pem", tmp_path):
        (mistake,) = cross_check(trusting(path))
        assert mistake.key == "providers.o.tls.ca_file"
        said[path] = mistake.message
    assert said[bad] == f"{bad} holds no certificate: it must be a PEM file"
    assert said[tmp_path / "gone.pem"] == f"{tmp_path / 'gone.pem'} cannot be read: No such file or directory"
    assert said[tmp_path].startswith(f"{tmp_path} ")


@pytest.mark.parametrize(
    ("server", "admin", "keys"),
    [
        ({}, {"port": 8080}, ["admin.port"]),
        ({"port": 9000}, {"port": 9000}, ["admin.port"]),
        ({"port": 9000}, {"port": 8080}, []),
        ({"port": 0}, {"port": 0}, []),
        ({}, {}, []),
    ],
)
def test_the_admin_api_has_another_port(server: dict[str, Any], admin: dict[str, Any], keys: list[str]) -> None:
    """Any free one is never the same."""
    assert blamed(whole({"server": server, "admin": admin})) == keys
