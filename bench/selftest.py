"""Does the load tool notice faults? Runs it against broken proxies: ``python -m bench.selftest``."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cores import Cores
from bench.load import Data, Tool, build, damage, overload, run
from bench.place import PROXY_PORTS, Place, certificate, free_port
from bench.plan import LEAVE_PHASES
from bench.proxies import Kind, Proxy
from bench.spawn import spawn, stop

HERE = Path(__file__).parent
TRIES = 40
ERRORS = {
    "drop": "sequence",
    "dup": "sequence",
    "swap": "sequence",
    "nodone": "no_done",
    "cut": "truncated",
    "error": "status",
    "event": "error_event",
    "stall": "timeout",
}
"""Fault of the broken proxy -> the one counter in which all answers must show up."""


@contextmanager
def broken(place: Place, fault: str) -> Iterator[int]:
    """The broken proxy, listening."""
    port = free_port(PROXY_PORTS)
    command = [sys.executable, str(HERE / "badproxy.py"), str(port), str(place.mock_port), fault]
    process = spawn(command, cpu=place.cores.proxy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        stop(process)


@contextmanager
def relay(kind: Kind, place: Place, *, tls: bool = False) -> Iterator[int]:
    """One of the marks, listening."""
    proxy = Proxy(kind, place, tls=tls)
    proxy.start()
    try:
        yield proxy.port
    finally:
        proxy.stop()


class Checks:
    """Runs the tool, prints a line per check, remembers failures."""

    def __init__(self, tool: Tool, place: Place) -> None:
        self._tool = tool
        self._place = place
        self.failed = 0

    def load(self, port: int, *arguments: str, tls: bool = False) -> Data:
        """One run of the tool against ``port``."""
        place = self._place
        full = ["-mock", str(place.mock_tls_port if tls else place.mock_port), "-target", f"127.0.0.1:{port}"]
        if tls and place.certificate:
            full += ["-cert", str(place.certificate.chain), "-key", str(place.certificate.key)]
        return run(self._tool, [*full, *arguments], place.cores, timeout_s=40)

    def streams(self, port: int, *arguments: str, tls: bool = False) -> Data:
        """A few short streams."""
        count = ("-c", "4", "-n", "20", "-r", str(TRIES), "-timeout", "0.5")
        return self.load(port, *count, *arguments, tls=tls)

    def expect(self, title: str, holds: bool, data: Data) -> None:
        """Print whether it holds, with the tool's words if not."""
        print(f"{'ok' if holds else 'FAILED':8}{title}")
        if not holds:
            self.failed += 1
            print(f"        {data}")

    def faults(self) -> None:
        """Each kind of damage shows in its own counter, and sound answers are exact."""
        for fault in ("none", "resplit"):
            with broken(self._place, fault) as port:
                data = self.streams(port)
            self.expect(f"{fault}: all exact", data["byte_exact"] == TRIES and not damage(data), data)
        with broken(self._place, "flip") as port:
            data = self.streams(port)
        self.expect("flip: all differ", data["byte_diff"] == TRIES and bool(damage(data)), data)
        for fault, counter in ERRORS.items():
            with broken(self._place, fault) as port:
                data = self.streams(port)
            only = {name: n for name, n in data["err"].items() if n}
            self.expect(f"{fault}: all {counter}", only == {counter: TRIES} and bool(damage(data)), data)

    def usage(self) -> None:
        """The usage event belongs to the expected bytes exactly when the client asked for it."""
        for fault, asked, exact, titled in (
            ("none", True, True, "client asks, event arrives: exact"),
            ("none", False, True, "nobody asks, no event: exact"),
            ("inject", False, True, "proxy asks and hides the event: exact"),
            ("leak", False, False, "proxy asks and lets the event through: differs"),
            ("inject", True, False, "client asks, proxy hides the event: differs"),
        ):
            with broken(self._place, fault) as port:
                data = self.streams(port, *(() if asked else ("-noask",)))
            counter = "byte_exact" if exact else "byte_diff"
            missing = TRIES if asked and not exact else 0
            self.expect(titled, data[counter] == TRIES and data["no_usage"] == missing, data)

    def validity(self) -> None:
        """Merged chunks and a missed rate are noticed; a relay that does neither passes."""
        paced = ("-c", "20", "-n", "20", "-t", "20", "-ramp", "0.4", "-warm", "0.2", "-d", "1")
        with broken(self._place, "none") as port:
            data = self.load(port, *paced)
        self.expect("merging: invalid", any("per read" in text for text in overload(data, 1000)), data)
        with relay(Kind.RAW, self._place) as port:
            data = self.load(port, *paced)
            self.expect("raw relay: valid", not overload(data, 1000) and not damage(data), data)
            data = self.load(port, *paced, "-think", "200")
            self.expect("late: invalid", any("rate" in text for text in overload(data, 1000)), data)

    def leaving(self) -> None:
        """A relay that closes is seen to close in every phase, and one that does not, not."""
        for phase in LEAVE_PHASES:
            with relay(Kind.RAW, self._place) as port:
                data = self.load(port, "-leave", phase, "-c", "10", "-r", str(TRIES))
            found = data["leave_ms"]
            good = found["tries"] == found["closed"] == TRIES and 0 < found["max"] < 1000
            self.expect(f"leave {phase}: all seen", good and not damage(data), data)
        for phase in ("head", "unary"):
            with broken(self._place, "none") as port:
                data = self.load(port, "-leave", phase, "-c", "20", "-r", str(TRIES), "-leavewait", "0.3")
            found = data["leave_ms"]
            self.expect(f"deaf proxy, {phase}: all missed", found["missed"] == found["tries"] == TRIES, data)

    def arrivals(self) -> None:
        """Random arrivals come at the asked rate, and their figures are apart from the others'."""
        rate, window_s = 200, 2
        with relay(Kind.RAW, self._place) as port:
            arguments = ("-c", "10", "-n", "20", "-t", "20", "-ramp", "0.4", "-warm", "0.2")
            data = self.load(port, *arguments, "-d", str(window_s), "-noask", "-arrive", str(rate))
        expected = rate * window_s
        off = abs(data["arrivals"] - expected) / math.sqrt(expected)
        counted = abs(data["short_ttfb_us"]["n"] - data["arrivals"]) <= 5 and data["ttfb_us"]["n"] < 100
        self.expect("arrivals: asked rate, own figures", off < 5 and counted and not damage(data), data)
        self.expect("arrivals: background rate untouched", not overload(data, 500), data)

    def tls(self) -> None:
        """The TLS mock serves who trusts its authority, byte-exact, and nobody else."""
        if self._tool.no_tls:
            print(f"skipped TLS: {self._tool.no_tls}")
            return
        with relay(Kind.NAIVE, self._place, tls=True) as port:
            data = self.streams(port, tls=True)
            self.expect("TLS: all exact", data["byte_exact"] == TRIES and not damage(data), data)
            data = self.load(port, "-mode", "unary", "-c", "8", "-r", "200", tls=True)
            self.expect("TLS unary: all exact", data["byte_exact"] == 200 and not damage(data), data)
            data = self.streams(port)
            self.expect("plain mock: refused by a TLS client", data["errors"] == TRIES, data)


def main() -> int:
    """Run all checks; 1 if one failed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Place.make(Path(name), Cores.choose(), certificate(Path(name)))
        checks = Checks(build(), place)
        parts: tuple[Callable[[], None], ...] = (
            checks.faults,
            checks.usage,
            checks.validity,
            checks.leaving,
            checks.arrivals,
            checks.tls,
        )
        for part in parts:
            part()
    print("all hold" if not checks.failed else f"{checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
