"""Providers over HTTP: how they stand, and orders that are written down before they are obeyed."""

import pytest

from gateway.admin.providers import CircuitAnswer
from gateway.core.breaker import State
from tests.admin.house import House, error_of
from tests.proxy.conftest import MakeFleet, make_fleet

__all__ = ["make_fleet"]


async def test_circuits_are_told_by_provider_and_model(house: House) -> None:
    """What there is to know of each, null where it is closed."""
    told = (await house.get("/admin/providers")).json()["providers"]
    assert set(told) == {"near", "far"}
    assert told["far"] == {
        "drained": False,
        "circuits": {
            name: {
                "circuit": "open",
                "successes": 3,
                "failures": 0,
                "reason": "failure_ratio",
                "open_for_s": 1.5,
                "next_probe_s": 8.5,
            }
            for name in ("gpt-4o", "a/*")
        },
    }
    assert told["near"]["circuits"]["a/*"]["next_probe_s"] is None


async def test_orders_are_obeyed_and_written_down(house: House) -> None:
    """Each answers how the provider stands after it."""
    for word, drained in (("drain", True), ("undrain", False), ("reset", False)):
        answer = await house.post(f"/admin/providers/near/{word}")
        assert answer.status == 200
        assert {name: one["drained"] for name, one in answer.json()["providers"].items()} == {"near": drained}
    orders = ["drain", "undrain", "reset"]
    assert house.providers.orders == [(word, "near") for word in orders]
    assert await house.audited() == [("admin key", f"provider.{word}", "provider/near") for word in orders]


@pytest.mark.parametrize("name", ["nobody", "Near", "near%2Fx", "near%00", "%20near"])
async def test_orders_to_nobody_are_not_found(house: House, name: str) -> None:
    """Nothing is ordered, nothing is written down."""
    for word in ("drain", "undrain", "reset"):
        answer = await house.post(f"/admin/providers/{name}/{word}")
        assert (answer.status, error_of(answer)["code"]) == (404, "not_found")
    assert (house.providers.orders, await house.audited()) == ([], [])


async def test_a_provider_that_goes_meanwhile_is_not_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload may take it away between the question and the order."""

    def gone(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(house.providers, "drain", gone)
    assert (await house.post("/admin/providers/near/drain")).status == 404


async def test_an_order_takes_no_body(house: House) -> None:
    """A field that means nothing is a mistake; an empty object is nothing."""
    assert (await house.post("/admin/providers/near/drain", {})).status == 200
    answer = await house.post("/admin/providers/near/drain", {"for_s": 60})
    assert (answer.status, error_of(answer)["param"]) == (400, "for_s")


def test_every_word_of_the_circuits_is_known(make_fleet: MakeFleet) -> None:
    """What the gateway's own circuits say is what the answers have."""
    fleet = make_fleet("a", breaker={"consecutive_failures": 1, "cooldown_s": 10, "jitter": 0})
    for _ in range(2):
        for page in fleet.circuits.page().values():
            for circuit in page.values():
                assert CircuitAnswer.model_validate(circuit).circuit in {state.word for state in State}
        fleet.open_circuit("a")
