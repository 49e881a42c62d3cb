"""`traffic --play` with another story: ``python -m tests.stack.short_play STORY URL PORT PORT``."""

import sys

import uvloop

from gateway.traffic import Address, TrafficSettings, run_traffic
from gateway.traffic.schedule import Scene

STORIES = {
    # its outage comes soon, and is shorter than a circuit stays open: the first probe finds the provider well
    "outage": (
        Scene("a working day", 3, 2.5),
        Scene("globex runs a batch", 2, 2.0, crowd="globex"),
        Scene("a provider is down", 6, 2.5, is_outage=True),
        Scene("it recovers", 49, 2.5),
    ),
    "calm": (Scene("a lull", 60, 0.4),),
}
"""By name: the scenes of a minute, which then begin again."""


def main(story: str, url: str, *ports: str) -> None:
    """Play until SIGTERM."""
    uvloop.run(run_traffic(TrafficSettings(url, providers=tuple(map(Address.read, ports)), scenes=STORIES[story])))


if __name__ == "__main__":
    main(*sys.argv[1:])
