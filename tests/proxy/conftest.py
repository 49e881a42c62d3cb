"""What tests of the line may ask for: a fleet of providers that answer as they are told."""

from collections.abc import Callable, Iterator

import pytest

from tests.proxy.fleet import Fleet

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def make_fleet() -> Iterator[MakeFleet]:
    """Makes fleets, as :class:`Fleet` is made, and closes them."""
    fleets: list[Fleet] = []

    def make(*names: str, **settings: object) -> Fleet:
        fleets.append(Fleet(*names, **settings))  # type: ignore[arg-type]
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()
