"""The table that `make bench` prints, and its verdict on each figure that the gateway has to reach."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.load import Data
from bench.plan import LEAVE_PHASES
from bench.proxies import Kind
from bench.results import NOTHING, Reading, Results

COLUMNS = (Kind.DIRECT, Kind.RAW, Kind.NAIVE, Kind.NGINX, Kind.GATEWAY)
DISTURBED = 0.05
"""Share of the two cores' time used by others from which a row is marked in the table."""


def cpu_per_chunk(data: Data) -> Reading:
    """Microseconds of user and system time."""
    return (data["proxy"]["us_per_chunk"],)


def cpu_per_request(data: Data) -> Reading:
    """Microseconds of user and system time."""
    return (data["proxy"]["us_per_req"],)


def chunks_per_second(data: Data) -> Reading:
    """Content chunks that reached clients."""
    return (data["chunks_s"],)


def chunks_per_read(data: Data) -> Reading:
    """Above 1 where an overloaded proxy sends what has piled up in one write."""
    return (data["chunks_per_read"],)


def chunk_latency(data: Data) -> Reading:
    """Milliseconds from the mock's send to the client's receive: p50, p99."""
    return (data["chunk_us"]["p50"] / 1e3, data["chunk_us"]["p99"] / 1e3)


def short_ttfb(data: Data) -> Reading:
    """Milliseconds from a randomly timed request to the first byte of its answer: p50, p99."""
    return (data["short_ttfb_us"]["p50"] / 1e3, data["short_ttfb_us"]["p99"] / 1e3)


def leave(data: Data) -> Reading:
    """From a client's close() to the mock seeing its connection closed: p50 ms, max ms, misses, tries."""
    found = data["leave_ms"]
    return (found.get("p50", 0.0), found.get("max", 0.0), found["tries"] - found["closed"], found["tries"])


def memory(streams: int) -> Callable[[Data], Reading]:
    """KiB of resident memory per stream: peak under load less what the warmed process had before."""

    def read(data: Data) -> Reading:
        proxy = data["proxy"]
        return ((proxy["rss_peak_kb"] - proxy["rss_start_kb"]) / streams,)

    return read


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what it reads from which scenario, and the mark that it is set against."""

    title: str
    scenario: str
    read: Callable[[Data], Reading]
    digits: int
    ratio_to: Kind | None = None
    less: Kind | None = None
    show: Callable[[Reading], str] | None = None

    def format(self, reading: Reading) -> str:
        """The numbers of one cell."""
        if self.show:
            return self.show(reading)
        return " / ".join(f"{value:,.{self.digits}f}" for value in reading)


def _show_leave(reading: Reading) -> str:
    p50, longest, missed, tries = reading
    if missed:
        return f"not closed: {missed:.0f} of {tries:.0f}"
    return f"{p50:.1f} / {longest:.1f}"


def rows(results: Results) -> Iterator[Row]:
    """The lines in the order in which they are printed."""
    raw, naive = Kind.RAW, Kind.NAIVE
    for tls, mark in (("", raw), ("-tls", naive)):
        over = ", TLS upstream" if tls else ""
        yield Row(f"200 x 20 ms{over}: CPU µs/chunk", f"200x20ms{tls}", cpu_per_chunk, 1, mark)
        yield Row(f"500 x 20 ms{over}: CPU µs/chunk", f"500x20ms{tls}", cpu_per_chunk, 1, mark)
        if not tls:
            yield Row("500 x 20 ms, chunks alone: CPU µs/chunk", "500x20ms-long", cpu_per_chunk, 1, mark)
        yield Row(f"200 x 20 ms{over}: chunk p50 / p99 ms", f"200x20ms{tls}", chunk_latency, 2)
        yield Row(f"500 x 20 ms{over}: chunk p50 / p99 ms", f"500x20ms{tls}", chunk_latency, 2)
        yield Row(f"2,000 x 20 ms{over}: chunks/s", f"2000x20ms{tls}", chunks_per_second, 0, mark)
        yield Row(f"2,000 x 20 ms{over}: chunks per read", f"2000x20ms{tls}", chunks_per_read, 2)
        slow = f"5000x1s{tls}"
        streams = results.streams.get(slow, 5000)
        yield Row(f"{streams:,} x 1 s{over}: RSS KiB/stream", slow, memory(streams), 1)
        yield Row(f"{streams:,} x 1 s{over}: chunk p50 / p99 ms", slow, chunk_latency, 2)
    yield Row("unary 1 KB: CPU µs/request", "unary", cpu_per_request, 0, naive)
    yield Row("added TTFB p50 / p99 ms (direct: whole)", "ttfb", short_ttfb, 2, less=Kind.DIRECT)
    titles = {
        "head": "before headers",
        "event": "before first event",
        "mid": "mid-stream",
        "quiet": "mid-stream, provider silent",
        "unary": "unary",
    }
    for phase in LEAVE_PHASES:
        title = f"client leaves {titles[phase]}: p50 / max ms"
        yield Row(title, f"leave-{phase}", leave, 1, show=_show_leave)


class Table:
    """Cells and footnotes of one bench."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._notes: list[str] = []

    def _note(self, text: str) -> str:
        if text not in self._notes:
            self._notes.append(text)
        return f" [{self._notes.index(text) + 1}]"

    def _cell(self, row: Row, kind: Kind) -> str:
        results = self._results
        if row.read in (cpu_per_chunk, cpu_per_request) and kind is Kind.DIRECT:
            return NOTHING
        if refusal := results.refusal(row.scenario, kind):
            head, colon, reason = refusal.partition(": ")
            return head + (self._note(reason) if colon else "")
        if row.less is not None and kind is not row.less:
            reading = results.paired(row.scenario, kind, row.less, row.read, operator.sub)
        else:
            reading = results.median(row.scenario, kind, row.read)
        if reading is None:
            return NOTHING
        text = row.format(reading)
        if row.ratio_to is not None:
            ratio = results.paired(row.scenario, kind, row.ratio_to, row.read, operator.truediv)
            text += f" ({ratio[0]:.2f})" if ratio else ""
        runs = results.of(row.scenario, kind)
        if skipped := sum(not run.valid for run in runs):
            text += self._note(f"{len(runs) - skipped} of {len(runs)} rounds valid")
        if row.read is chunks_per_second and any(run.data and run.data["tool_busy"] > 0.95 for run in runs):
            text += self._note("the load tool was at its own limit: at least so many")
        if max(run.others for run in runs) > DISTURBED:
            text += "*"
        return text

    def lines(self) -> list[str]:
        """The table in Markdown, then its footnotes."""
        head = ["measure", *COLUMNS]
        body = [
            [row.title, *(self._cell(row, kind) for kind in COLUMNS)]
            for row in rows(self._results)
            if any(self._results.refusal(row.scenario, kind) != NOTHING for kind in COLUMNS)
        ]
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

        def line(cells: list[str]) -> str:
            padded = [
                cells[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
            ]
            return f"| {' | '.join(padded)} |"

        rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:]), ""])
        notes = [f"[{i + 1}] {text}" for i, text in enumerate(self._notes)]
        disturbed = [run for run in self._results.runs if run.others > DISTURBED]
        if disturbed:
            worst = max(run.others for run in disturbed)
            notes.append(f"\\* other processes used up to {worst:.0%} of the two cores in one of the rounds")
        parted = [text for note in notes for text in ("", note)]
        return [line(head), rule, *map(line, body), *parted]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure of the goal: what was found, and whether it was reached (None: not measured or invalid)."""

    goal: str
    found: str
    met: bool | None

    def __str__(self) -> str:
        word = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        return f"{word}: {self.goal}: {self.found}"


def _reason(refusal: str) -> str:
    return "not run" if refusal == NOTHING else refusal.removeprefix("not measured: ")


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach: a reading of the gateway, alone or set against a mark in the same round."""

    title: str
    scenario: str
    read: Callable[[Data], Reading]
    bound: float
    unit: str
    element: int = 0
    mark: Kind | None = None
    combine: Callable[[float, float], float] = operator.truediv
    at_least: bool = False

    def verdict(self, results: Results) -> Verdict:
        """Judge the medians; where there are none, say which side is missing and why."""
        involved = [Kind.GATEWAY] if self.mark is None else [Kind.GATEWAY, self.mark]
        for kind in involved:
            if refusal := results.refusal(self.scenario, kind):
                return Verdict(self.title, f"{kind}: {_reason(refusal)}", None)
        if self.mark is None:
            reading = results.median(self.scenario, Kind.GATEWAY, self.read)
        else:
            reading = results.paired(self.scenario, Kind.GATEWAY, self.mark, self.read, self.combine)
        if reading is None:
            return Verdict(self.title, "no round in which both are valid", None)
        value = reading[self.element]
        met = value >= self.bound if self.at_least else value <= self.bound
        return Verdict(self.title, f"{value:.2f} {self.unit}", met)


def goals(results: Results) -> Iterator[Goal]:
    """The figures that have one number."""
    raw, naive, direct = Kind.RAW, Kind.NAIVE, Kind.DIRECT
    plain, tls = "5000x1s", "5000x1s-tls"
    streams, streams_tls = (results.streams.get(name, 5000) for name in (plain, tls))
    title = "500 x 20 ms: CPU per chunk <= 1.5 x raw relay"
    yield Goal(title, "500x20ms", cpu_per_chunk, 1.5, "x", mark=raw)
    title = "2,000 x 20 ms: chunks/s >= 0.55 x raw relay"
    yield Goal(title, "2000x20ms", chunks_per_second, 0.55, "x", mark=raw, at_least=True)
    title = f"{streams:,} x 1 s: RSS per stream <= 36 KiB"
    yield Goal(title, plain, memory(streams), 36, "KiB")
    title = f"{streams:,} x 1 s: added chunk latency p99 <= 15 ms"
    yield Goal(title, plain, chunk_latency, 15, "ms", element=1)
    title = f"{streams_tls:,} x 1 s, TLS upstream: RSS per stream <= 100 KiB"
    yield Goal(title, tls, memory(streams_tls), 100, "KiB")
    title = "unary 1 KB: CPU per request <= 2.0 x naive relay"
    yield Goal(title, "unary", cpu_per_request, 2.0, "x", mark=naive)
    title = "added TTFB, 200 streams and random arrivals: p50 <= 1.5 ms"
    yield Goal(title, "ttfb", short_ttfb, 1.5, "ms", mark=direct, combine=operator.sub)


def verdicts(results: Results) -> list[Verdict]:
    """Each figure that the gateway has to reach, in turn."""
    found = [goal.verdict(results) for goal in goals(results)]
    found.insert(1, _intact(results))
    return found + [_left(results, phase) for phase in LEAVE_PHASES]


def _intact(results: Results) -> Verdict:
    """Every stream of every run through the gateway, warm-up and drain included."""
    title = "every answer byte-exact, 0 errors"
    runs = [run for run in results.runs if run.kind is Kind.GATEWAY]
    if not runs:
        return Verdict(title, "not run", None)
    answers = sum(run.data["run"]["requests"] for run in runs if run.data)
    bad = [text for run in runs for text in run.damage]
    return Verdict(title, bad[0] if bad else f"{answers:,} answers in {len(runs)} runs", not bad)


def _left(results: Results, phase: str) -> Verdict:
    title = f"client leaves ({phase}): upstream closed <= 100 ms in every try"
    if refusal := results.refusal(f"leave-{phase}", Kind.GATEWAY):
        return Verdict(title, _reason(refusal), None)
    reading = results.median(f"leave-{phase}", Kind.GATEWAY, leave)
    assert reading is not None
    _p50, longest, missed, tries = reading
    text = f"{tries - missed:.0f} of {tries:.0f} closed, longest {longest:.1f} ms"
    return Verdict(title, text, not missed and longest <= 100)
