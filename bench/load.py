"""Build the load tool, run it, and judge whether what it reports may be quoted."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cores import Cores
from bench.spawn import spawn, stop

HERE = Path(__file__).parent
BUILD = HERE / "build"
MAX_CHUNKS_PER_READ = 1.05
"""Above this the proxy merges chunks, which makes a chunk look cheaper than it is."""
MIN_RATE = 0.99
"""Below this share of the asked chunk rate the proxy is overloaded: latency is queueing, CPU is batching."""

Data = dict[str, Any]
"""The JSON line of one run of the tool; its keys are explained in README.md."""


class LoadFailed(Exception):
    """The tool did not come to a result; the text says why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """The built load tool; ``no_tls`` says why its mock cannot speak TLS, or is empty."""

    path: Path
    no_tls: str


def build() -> Tool:
    """Compile ``sseload.c``, with TLS where OpenSSL's headers exist.

    Raises:
        LoadFailed: there is no C compiler, or the plain build fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise LoadFailed("the load tool needs a C compiler: install gcc so that cc is on PATH")
    BUILD.mkdir(exist_ok=True)
    path = BUILD / "sseload"
    plain = [compiler, "-O2", "-Wall", "-o", str(path), str(HERE / "sseload.c"), "-lm"]
    with_tls = [*plain, "-DWITH_TLS", "-lssl", "-lcrypto"]
    if subprocess.run(with_tls, capture_output=True, check=False).returncode == 0:
        return Tool(path, "")
    done = subprocess.run(plain, capture_output=True, check=False, text=True)
    if done.returncode != 0:
        raise LoadFailed(f"cc could not build sseload.c:\n{done.stderr}")
    return Tool(path, "OpenSSL's headers are not installed (Debian: libssl-dev)")


def run(tool: Tool, arguments: list[str], cores: Cores, *, timeout_s: float) -> Data:
    """Run the tool on its core and return its one JSON line.

    Raises:
        LoadFailed: it did not end within ``timeout_s``, or ended without a result.
    """
    command = [str(tool.path), "-pin", str(cores.tool), *arguments]
    process = spawn(command, cpu=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"no result within {timeout_s:.0f} s") from None
    finally:
        stop(process)
    if process.returncode != 0 or not out:
        words = err.decode(errors="replace").strip().splitlines()
        raise LoadFailed(f"the tool ended with code {process.returncode}: {words[-1] if words else 'no word'}")
    data: Data = json.loads(out)
    return data


def damage(data: Data) -> list[str]:
    """What was wrong with the answers, warm-up and drain included: one such run voids the row."""
    run_ = data["run"]
    faults = []
    if run_["errors"]:
        kinds = ", ".join(f"{kind} {n}" for kind, n in data["err"].items() if n)
        faults.append(f"{run_['errors']} errors" + (f" ({kinds})" if kinds else ""))
    if run_["byte_exact"] != run_["requests"]:
        faults.append(f"{run_['requests'] - run_['byte_exact']} of {run_['requests']} answers not byte-exact")
    if data["undrained"]:
        faults.append(f"{data['undrained']} answers never ended")
    return faults


def overload(data: Data, asked_chunks_s: float) -> list[str]:
    """Why a paced run is no measure of the cost per chunk: merged chunks, or fewer than asked for."""
    faults = []
    if data["chunks_per_read"] > MAX_CHUNKS_PER_READ:
        faults.append(f"{data['chunks_per_read']:.2f} chunks per read")
    if data["chunks_s"] < MIN_RATE * asked_chunks_s:
        faults.append(f"{data['chunks_s'] / asked_chunks_s:.0%} of the asked rate")
    return faults
