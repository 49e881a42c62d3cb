"""What is measured, on whom and for how long: the scenarios, in full and short for development."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.load import Data, overload
from bench.proxies import Kind

D, R, G, N, X = Kind.DIRECT, Kind.RAW, Kind.GATEWAY, Kind.NAIVE, Kind.NGINX
LEAVE_PHASES = ("head", "event", "mid", "quiet", "unary")
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    Attributes:
        every: measured in each round, in this order, so that rounds alternate (A B C A B C).
        once: measured in the first round only.
        asked_chunks_s: the paced rate that must be reached; None where no pace is asked.
        fresh: needs a process that has served nothing but its warm-up (for memory).
        streams: how many run at once.
    """

    name: str
    arguments: tuple[str, ...]
    duration_s: float
    every: tuple[Kind, ...]
    once: tuple[Kind, ...] = ()
    tls: bool = False
    asked_chunks_s: float | None = None
    fresh: bool = False
    streams: int = 0

    def who(self, round_: int) -> tuple[Kind, ...]:
        """Who is measured in this round, counted from 0."""
        return self.every + self.once if round_ == 0 else self.every

    def narrowed(self, kinds: set[Kind]) -> Scenario:
        """The same for only these proxies."""
        return replace(
            self,
            every=tuple(kind for kind in self.every if kind in kinds),
            once=tuple(kind for kind in self.once if kind in kinds),
        )

    def faults(self, data: Data) -> list[str]:
        """Why the run may not be quoted for what it measures; damage to answers is judged apart."""
        if self.asked_chunks_s is not None:
            return overload(data, self.asked_chunks_s)
        if "leave_ms" not in data and data["requests"] == 0:
            return ["no request ended in the measured time"]
        return []


def _restarting(
    name: str,
    streams: int,
    window_s: float,
    *,
    chunks: int,
    every: tuple[Kind, ...],
    once: tuple[Kind, ...] = (),
    tls: bool = False,
    judged: bool = True,
    extra: tuple[str, ...] = (),
) -> Scenario:
    """Streams of ``chunks`` x 20 ms; each is followed by the next, and the starts are spread evenly.

    Without the spread all streams would end and begin within the same 20 ms, and a window would hold
    more or fewer of these waves by chance.
    """
    length_s = chunks * 0.02  # the finishing event is paced too
    warm_s = 0.3
    arguments = (
        *("-c", str(streams), "-n", str(chunks), "-t", "20", "-ramp", f"{length_s:.2f}"),
        *("-warm", str(warm_s), "-d", str(window_s), "-drain", "20", "-noask", "-spin", *extra),
    )
    return Scenario(
        name,
        arguments,
        2 * length_s + warm_s + window_s,
        every,
        once,
        tls=tls,
        asked_chunks_s=streams * 50.0 if judged else None,
        streams=streams,
    )


def _long(name: str, streams: int, window_s: float, every: tuple[Kind, ...]) -> Scenario:
    """Streams that begin before the measured window and end after it: chunks alone, no request."""
    ramp_s, warm_s = 0.5, 0.5
    chunks = round((ramp_s + warm_s + window_s + 0.2) / 0.02)
    arguments = (
        *("-c", str(streams), "-n", str(chunks), "-t", "20", "-ramp", str(ramp_s), "-warm", str(warm_s)),
        *("-d", str(window_s), "-drain", "20", "-oneshot", "-noask", "-spin"),
    )
    return Scenario(
        name,
        arguments,
        chunks * 0.02 + ramp_s,
        every,
        asked_chunks_s=streams * 50.0,
        streams=streams,
    )


def _slow(
    name: str,
    streams: int,
    window_s: float,
    *,
    starts_s: int,
    every: tuple[Kind, ...],
    once: tuple[Kind, ...] = (),
    tls: bool = False,
) -> Scenario:
    """Streams with a chunk each second that all live through the whole window."""
    ramp_s, warm_s = streams / starts_s, 2.0
    chunks = round(ramp_s + warm_s + window_s + 3)
    arguments = (
        *(
            "-c",
            str(streams),
            "-n",
            str(chunks),
            "-t",
            "1000",
            "-ramp",
            f"{ramp_s:.1f}",
            "-warm",
            str(warm_s),
        ),
        *("-d", str(window_s), "-drain", "30", "-oneshot", "-noask", "-spin"),
    )
    return Scenario(
        name,
        arguments,
        chunks + ramp_s + 1,
        every,
        once,
        tls=tls,
        asked_chunks_s=float(streams),
        fresh=True,
        streams=streams,
    )


def _unary(name: str, window_s: float, every: tuple[Kind, ...], once: tuple[Kind, ...]) -> Scenario:
    arguments = ("-mode", "unary", "-c", str(CONNECTIONS), "-warm", "1", "-d", str(window_s))
    return Scenario(name, arguments, 1 + window_s, every, once)


def _leaves(phase: str, tries: int, every: tuple[Kind, ...]) -> Scenario:
    """Ten clients at a time, so that one leave is not queueing behind the others'."""
    wait_s = 2  # long enough to tell late from never
    arguments = ("-leave", phase, "-c", "10", "-r", str(tries), "-noask", "-leavewait", str(wait_s))
    return Scenario(f"leave-{phase}", arguments, 2 + tries / 10 * wait_s, every)


def full() -> tuple[Scenario, ...]:
    """The measurements whose table is committed: some twelve minutes with three rounds."""
    return (
        _restarting("200x20ms", 200, 3, chunks=100, every=(R, G, N, X), once=(D,)),
        _restarting("500x20ms", 500, 3, chunks=100, every=(R, G, N, X), once=(D,)),
        _long("500x20ms-long", 500, 3, (R, G)),
        _restarting("2000x20ms", 2000, 3, chunks=100, every=(R, G, N), once=(X,), judged=False),
        _restarting("ttfb", 200, 4, chunks=50, every=(D, G, N), once=(R, X), extra=("-arrive", "100")),
        _unary("unary", 3, (N, G, R, X), (D,)),
        _slow("5000x1s", 5000, 8, starts_s=1000, every=(), once=(R, G, N, X)),
        _restarting("200x20ms-tls", 200, 3, chunks=100, every=(N, G), once=(X,), tls=True),
        _restarting("500x20ms-tls", 500, 3, chunks=100, every=(G,), once=(X,), tls=True),
        _restarting("2000x20ms-tls", 2000, 3, chunks=100, every=(), once=(N, G), tls=True, judged=False),
        _slow("5000x1s-tls", 5000, 7, starts_s=400, every=(), once=(G, N), tls=True),
        *(
            Scenario(s.name, s.arguments, s.duration_s, (), s.every)
            for s in (_leaves(phase, 200, (R, G, X)) for phase in LEAVE_PHASES)
        ),
    )


def quick() -> tuple[Scenario, ...]:
    """The same shapes with windows too short to quote: under two minutes with one round."""
    return (
        _restarting("200x20ms", 200, 1, chunks=50, every=(R, G, N)),
        _restarting("500x20ms", 500, 1, chunks=50, every=(R, G, N)),
        _long("500x20ms-long", 500, 1, (R, G)),
        _restarting("2000x20ms", 2000, 1, chunks=50, every=(R, G, N), judged=False),
        _restarting("ttfb", 200, 1.5, chunks=50, every=(D, G, N), extra=("-arrive", "100")),
        _unary("unary", 1, (N, G, X), ()),
        _slow("5000x1s", 1000, 3, starts_s=1000, every=(R, G)),
        _restarting("200x20ms-tls", 200, 1, chunks=50, every=(N, G), tls=True),
        _slow("5000x1s-tls", 1000, 3, starts_s=500, every=(G,), tls=True),
        *(_leaves(phase, 60, (G,)) for phase in LEAVE_PHASES),
    )
