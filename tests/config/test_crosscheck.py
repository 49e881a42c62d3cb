"""What no single section can see, with parts that are broken themselves: nobody is blamed twice, nobody wrongly."""

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


def routed(targets: list[str], **model: Any) -> dict[str, Any]:
    """A file in which one model leads to these targets."""
    return {"providers": {"o": OPENAI, "a": ANTHROPIC}, "models": {"m": {"targets": targets, "price": PRICE, **model}}}


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
