"""Measure direct, raw relay, naive relay, nginx and the gateway side by side: ``python -m bench.run``."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from bench.cores import Cores, Watch
from bench.load import LoadFailed, Tool, build, damage, run
from bench.place import Place, Unavailable, certificate
from bench.plan import Scenario, full, quick
from bench.proxies import Kind, Proxies, Proxy
from bench.report import Table, verdicts
from bench.results import Results, Run
from bench.spawn import raise_open_files

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table: written by `make bench` -->", "<!-- end of table -->"


def machine() -> str:
    """One line that says what the figures depend on."""
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    versions = [f"{name} {metadata.version(name)}" for name in ("aiohttp", "uvloop")]
    return ", ".join(
        [
            datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            f"{os.cpu_count()} cores ({names[0] if names else platform.machine()})",
            f"Linux {platform.release().split('-')[0]}",
            f"Python {platform.python_version()}",
            *versions,
        ]
    )


class Bench:
    """One bench: goes through the scenarios in rounds and keeps what each run brought."""

    def __init__(self, tool: Tool, place: Place, proxies: Proxies, scenarios: tuple[Scenario, ...]) -> None:
        self._tool = tool
        self._place = place
        self._proxies = proxies
        self._scenarios = scenarios
        self.results = Results({scenario.name: scenario.streams for scenario in scenarios})

    def _load(self, proxy: Proxy, arguments: tuple[str, ...], timeout_s: float) -> dict[str, object]:
        place, tls = self._place, proxy.tls
        port = place.mock_tls_port if tls else place.mock_port
        full = ["-mock", str(port), "-target", f"127.0.0.1:{proxy.port}", "-auth", place.secret, *arguments]
        if tls and place.certificate:
            full += ["-cert", str(place.certificate.chain), "-key", str(place.certificate.key)]
        if proxy.pid is not None:
            full += ["-watch", str(proxy.pid)]
        return run(self._tool, full, place.cores, timeout_s=timeout_s)

    def _proxy(self, scenario: Scenario, kind: Kind) -> Proxy:
        if scenario.tls and self._tool.no_tls:
            raise Unavailable(self._tool.no_tls)
        if scenario.fresh:
            self._proxies.discard(kind, tls=scenario.tls)
        proxy, started = self._proxies.get(kind, tls=scenario.tls)
        if started:  # code paths, pools and buffers are warm before anything is counted
            try:
                self._load(proxy, ("-c", "20", "-n", "5", "-r", "300", "-noask"), 30)
            except LoadFailed as problem:
                raise Unavailable(f"no answer to the warm-up: {problem}") from None
        return proxy

    def measure(self, scenario: Scenario, kind: Kind, round_: int) -> str:
        """Make one run, keep it, and return a short text about it."""
        if scenario.name in {name for name, k in self.results.missing if k is kind}:
            return "not measured"
        try:
            proxy = self._proxy(scenario, kind)
        except Unavailable as problem:
            self.results.missing[scenario.name, kind] = str(problem)
            return f"not measured: {problem}"
        watch = Watch(self._place.cores)
        try:
            data = self._load(proxy, scenario.arguments, scenario.duration_s + 45)
        except LoadFailed as problem:
            self.results.runs.append(Run(scenario.name, kind, round_, None, (str(problem),), (), 0.0))
            return str(problem)
        others = watch.others()
        faults = scenario.faults(data)
        if not self._place.cores.separate:
            faults.append("tool and proxy share the only core")
        made = Run(scenario.name, kind, round_, data, tuple(damage(data)), tuple(faults), others)
        self.results.runs.append(made)
        return "; ".join((*made.damage, *made.faults)) or "valid"

    def rounds(self, count: int, end: float) -> None:
        """``count`` rounds over all scenarios; no new run begins after ``end`` (monotonic seconds)."""
        for round_ in range(count):
            for scenario in self._scenarios:
                for kind in scenario.who(round_):
                    if time.monotonic() > end:
                        print("the time is over: the rest is not measured", file=sys.stderr)
                        return
                    began = time.monotonic()
                    text = self.measure(scenario, kind, round_)
                    took_s = time.monotonic() - began
                    label = f"{round_ + 1}/{count} {scenario.name}, {kind}"
                    print(f"{label:42} {took_s:5.1f} s  {text}", file=sys.stderr)


def write_readme(lines: list[str]) -> None:
    """Put ``lines`` between the markers of README.md."""
    text = README.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{README.name} must hold the lines {BEGIN!r} and {END!r} once each")
    head, rest = text.split(BEGIN)
    README.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{rest.split(END)[1]}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--rounds", type=int, help="alternating rounds (3; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="short windows, for development: not to be quoted")
    parser.add_argument("--only", action="append", metavar="NAME", help="scenarios whose name begins so")
    parser.add_argument("--proxy", action="append", choices=[k.name.lower() for k in Kind], help="only these")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    parser.add_argument("--limit-s", type=float, default=1200, help="begin no run after this time (1200)")
    options = parser.parse_args(argv)
    if options.write and (options.quick or options.only or options.proxy):
        parser.error("--write needs a whole run: no --quick, --only or --proxy")
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def chosen(options: argparse.Namespace) -> tuple[Scenario, ...]:
    """The scenarios that the command line asks for, with only the proxies that it asks for."""
    kinds = {Kind[name.upper()] for name in options.proxy} if options.proxy else set(Kind)
    scenarios = quick() if options.quick else full()
    picked = tuple(
        scenario.narrowed(kinds)
        for scenario in scenarios
        if not options.only or any(scenario.name.startswith(name) for name in options.only)
    )
    if not picked:
        names = ", ".join(scenario.name for scenario in scenarios)
        raise SystemExit(f"--only names no scenario; there are: {names}")
    return picked


def main(argv: list[str] | None = None) -> int:
    """Run the bench; 0 if a table came out, whatever its verdicts."""
    options = parse(argv)
    scenarios = chosen(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts jobs may have it ignored
    files, cores = raise_open_files(), Cores.choose()
    if files < 12_000:
        print(f"only {files} open files are allowed: 5,000 streams need 12,000", file=sys.stderr)
    try:
        tool = build()
    except LoadFailed as problem:
        raise SystemExit(str(problem)) from None
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        try:
            issued = certificate(Path(name))
        except Unavailable as problem:
            issued, tool = None, Tool(tool.path, tool.no_tls or str(problem))
        place = Place.make(Path(name), cores, issued)
        with Proxies(place) as proxies:
            bench = Bench(tool, place, proxies, scenarios)
            bench.rounds(options.rounds, began + options.limit_s)
    took = f"{options.rounds} round{'s' * (options.rounds > 1)} in {(time.monotonic() - began) / 60:.1f} min"
    table = [f"{machine()}, {took}", "", *Table(bench.results).lines()]
    judged = [f"- {verdict}" for verdict in verdicts(bench.results)]
    print(
        "\n".join(table),
        "\nFigures to reach" + (" (short windows: not to be quoted)" * options.quick),
        sep="\n",
    )
    print("\n".join(judged))
    if options.json:
        options.json.write_text(json.dumps(bench.results.as_json(), indent=1))
    if options.write:
        write_readme([*table, "", "Figures to reach:", "", *judged])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
