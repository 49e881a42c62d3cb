"""A real Prometheus: over samples that were written beforehand, or on a configuration that scrapes."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PATIENCE_S = 60.0
"""How long a request may take; no test depends on it."""


class Refused(Exception):
    """Prometheus does not accept a query; the message is its own."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer and its value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    url: str

    def ask(self, expression: str, at_s: float | None = None) -> list[Sample]:
        """What an expression is at a moment (seconds since the epoch; None: now).

        Raises:
            Refused: it is no PromQL, or cannot be computed.
        """
        moment = {} if at_s is None else {"time": str(at_s)}
        answer = self._call("query", {"query": expression, **moment})
        if answer["resultType"] == "scalar":
            return [Sample({}, float(answer["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def label_values(self, label: str, selector: str, start_s: float, end_s: float) -> list[str]:
        """What Grafana offers for ``label_values(selector, label)``."""
        values = self._call(
            f"label/{label}/values", {"match[]": selector, "start": str(start_s), "end": str(end_s)}, post=False
        )
        assert isinstance(values, list)
        return values

    def rules(self) -> list[dict[str, Any]]:
        """Every rule that is loaded, with how its last evaluation went (``health``, ``lastError``)."""
        groups = self._call("rules", {}, post=False)["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _call(self, path: str, fields: Mapping[str, str], *, post: bool = True) -> Any:
        form = urlencode(fields)
        url = f"{self.url}/api/v1/{path}"
        request = Request(url, form.encode()) if post else Request(f"{url}?{form}")
        try:
            with urlopen(request, timeout=PATIENCE_S) as response:
                return json.load(response)["data"]
        except HTTPError as error:
            with error:
                raise Refused(json.load(error)["error"]) from None


@contextmanager
def running(folder: Path, samples: Iterator[str]) -> Iterator[Prometheus]:
    """Start Prometheus on a free port of loopback over ``samples`` (OpenMetrics); stop it at the end.

    Raises:
        RuntimeError: promtool or Prometheus failed; with what it wrote.
    """
    source, data, config = folder / "samples.txt", folder / "data", folder / "prometheus.yml"
    source.write_text("\n".join(samples) + "\n", "utf-8")
    config.write_text("scrape_configs: []\n")
    made = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(made.stdout[-2000:] + made.stderr)
    # the samples are years old
    with serving(config, data, "--storage.tsdb.retention.time=100y") as server:
        yield server


@contextmanager
def serving(config: Path, data: Path, *flags: str, port: int = 0) -> Iterator[Prometheus]:
    """Start Prometheus on a port of loopback (0: a free one) with a configuration; kill it at the end.

    Raises:
        RuntimeError: it did not start; with what it wrote.
    """
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
            *flags,
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    address: Future[str] = Future()
    reader = threading.Thread(target=_read_log, args=(process, address))
    with process:
        reader.start()
        try:
            yield Prometheus(f"http://{address.result()}")
        finally:
            # it has nothing to save
            process.kill()
            reader.join()


def _read_log(process: "subprocess.Popen[str]", address: "Future[str]") -> None:
    """Tell where it listens once it answers, which its log says in either order; read on, for a full pipe blocks it."""
    log: list[str] = []
    listens, ready = "", False
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if found := re.search(r'msg="Listening on" address=(\S+)', line):
            listens = found[1]
        ready |= "Server is ready to receive web requests" in line
        if ready and listens and not address.done():
            address.set_result(listens)
    if not address.done():
        address.set_exception(RuntimeError("Prometheus did not start:\n" + "".join(log)))
