"""What is told of circuits: a line and a count per change, gauges per provider, and the part of a page."""

import logging

import pytest

from gateway.core.breaker import LEGAL, Reason, State, Transition
from gateway.metrics import Metrics
from gateway.proxy.circuits import Circuits
from gateway.upstream.targets import Targets
from tests.proxy.conftest import MakeFleet
from tests.proxy.fleet import Fleet

BREAKER = {"consecutive_failures": 1, "cooldown_s": 10, "jitter": 0}


@pytest.fixture
def fleet(make_fleet: MakeFleet) -> Fleet:
    """Two providers whose circuits open at once."""
    return make_fleet("a", "b", breaker=BREAKER)


@pytest.mark.parametrize("change", sorted(LEGAL))
def test_every_change_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture, change: tuple[State, State, Reason]
) -> None:
    """With provider, circuit and reason; one that takes a target out of service is a warning."""
    metrics = Metrics("i", "1", (), ("gpt",), ("a",))
    from_, to, reason = change
    with caplog.at_level(logging.INFO, "gateway"):
        Circuits(metrics).changed("a", "llama-*", Transition(from_, to, reason, 1.0))
    assert metrics.declared.circuit_transitions.labels("a", to.word, reason).value == 1
    (line,) = caplog.records
    assert line.getMessage() == f"circuit a/llama-*: {from_.word} -> {to.word} ({reason.value})"
    assert line.levelno == (logging.WARNING if to is State.OPEN else logging.INFO)


def gauges(fleet: Fleet, provider: str) -> tuple[float, float]:
    """State and time to the next probe, as a scrape reads them."""
    declared = fleet.metrics.declared
    fleet.metrics.render()
    return (
        declared.circuit_state.labels(provider).value,
        declared.circuit_next_probe.labels(provider).value,
    )


def test_gauges_follow_the_circuits(fleet: Fleet) -> None:
    """0, 2 and 1, and the seconds until the next probe; each provider by itself."""
    assert gauges(fleet, "a") == (0, 0)
    fleet.open_circuit("a")
    assert gauges(fleet, "a") == (2, 10)
    fleet.wait(4)
    assert gauges(fleet, "a") == (2, 6)
    fleet.wait(6)
    assert gauges(fleet, "a") == (1, 0)
    assert fleet.ask() == "a"
    assert gauges(fleet, "a") == (0, 0)
    assert gauges(fleet, "b") == (0, 0)


def test_the_page_shows_every_circuit(fleet: Fleet) -> None:
    """With what the window has heard, and of one that is not closed for how long, until when and why."""
    fleet.ask()
    fleet.open_circuit("b")
    fleet.wait(4)
    assert fleet.circuits.page() == {
        "a": {"gpt": {"circuit": "closed", "successes": 1, "failures": 0}},
        "b": {
            "gpt": {
                "circuit": "open",
                "successes": 0,
                "failures": 1,
                "reason": "consecutive_failures",
                "open_for_s": 4.0,
                "next_probe_s": 6.0,
            }
        },
    }


def test_without_circuits_the_page_is_empty() -> None:
    """Before the gateway is built; and there is nothing to order."""
    circuits = Circuits(Metrics("i", "1", (), (), ()))
    assert circuits.page() == {}
    with pytest.raises(KeyError, match="a"):
        circuits.drain("a")


def test_orders_are_obeyed_and_logged(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """The page shows who is drained; to take a provider out of service is a warning."""
    with caplog.at_level(logging.INFO, "gateway"):
        fleet.circuits.drain("a")
        assert fleet.ask() == "b"
        assert fleet.circuits.page()["a"]["gpt"] == {
            "circuit": "closed",
            "successes": 0,
            "failures": 0,
            "drained": True,
        }
        fleet.circuits.undrain("a")
        assert fleet.ask() == "a"
        assert "drained" not in str(fleet.circuits.page())
        fleet.open_circuit("b")
        assert gauges(fleet, "b") == (2, 10)
        fleet.circuits.reset("b")
        assert gauges(fleet, "b") == (0, 0)
    orders = [(record.levelno, record.getMessage()) for record in caplog.records if "provider" in record.getMessage()]
    assert orders == [
        (logging.WARNING, "the provider a is drained: no request goes there"),
        (logging.INFO, "the provider a may be asked again"),
        (logging.INFO, "the provider b has been reset: what spoke against it is forgotten"),
    ]


def test_nobody_left_to_ask_is_told_when_to_come_again(fleet: Fleet) -> None:
    """Where all are drained, as where all circuits are open; nobody is asked, not even as a last resort."""
    for name in ("a", "b"):
        fleet.circuits.drain(name)
    assert fleet.ask() == "circuit_open"
    assert fleet.asked == []


@pytest.mark.parametrize("order", ["drain", "undrain", "reset"])
def test_orders_about_an_unknown_provider(fleet: Fleet, order: str) -> None:
    """A KeyError, and no word in the log."""
    with pytest.raises(KeyError, match="c"):
        getattr(fleet.circuits, order)("c")


def test_gauges_follow_the_targets_of_now(fleet: Fleet) -> None:
    """A provider that is gone with its open circuit reads as closed."""
    fleet.open_circuit("a")
    assert gauges(fleet, "a") == (2, 10)
    fleet.circuits.watch(Targets({}, [], fleet.loop.time, lambda: 0.0, fleet.circuits.changed))
    assert gauges(fleet, "a") == (0, 0)
    assert fleet.circuits.page() == {}
