"""What is measured: no proxy, the two marks, nginx and the gateway, each started on the proxy's core."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from bench.place import PROXY_PORTS, Place, Unavailable, free_port
from bench.spawn import spawn, stop

HERE = Path(__file__).parent
ROOT = HERE.parent
START_S = 20.0


class Kind(StrEnum):
    """A column of the table."""

    DIRECT = "direct"
    RAW = "raw relay"
    GATEWAY = "gateway"
    NAIVE = "naive relay"
    NGINX = "nginx"


def gateway_config(place: Place, directory: Path, *, port: int, tls: bool) -> dict[str, Any]:
    """A ``gateway.yaml`` with everything that serving costs switched on: key, price, usage, ledger, log, metrics."""
    provider: dict[str, Any] = {
        "dialect": "openai",
        "base_url": f"{place.upstream(tls=tls)}/v1",
        "api_keys": ["sk-bench-upstream"],
        "usage": "inject",
    }
    if tls:
        assert place.certificate is not None
        provider["tls"] = {"ca_file": str(place.certificate.authority)}
    digest = hashlib.sha256(place.secret.encode()).hexdigest()
    return {
        "server": {"host": "127.0.0.1", "port": port, "access_log": True, "ready_grace_s": 0},
        "providers": {"mock": provider},
        "models": {"mock-model": {"targets": ["mock/mock-model"], "price": {"input": 0.15, "output": 0.6}}},
        "tenants": [{"id": "bench", "keys": [{"id": "bench", "hash": f"sha256:{digest}"}]}],
        "stores": {"database_url": f"sqlite:///{directory}/gateway.db"},
    }


def nginx_config(place: Place, directory: Path, *, port: int, tls: bool) -> str:
    """One worker that streams unbuffered over kept-alive HTTP/1.1 connections, without an access log."""
    origin = place.upstream(tls=tls)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"  {name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    trust = ""
    if tls and place.certificate is not None:
        trust = f"proxy_ssl_trusted_certificate {place.certificate.authority}; proxy_ssl_verify on;"
        trust += " proxy_ssl_name localhost;"
    return f"""\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 30000;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 30000; }}
http {{
{temporary}
  access_log off;
  keepalive_requests 10000000;
  keepalive_timeout 300;
  upstream mock {{
    server {origin.partition("://")[2]};
    keepalive 10000;
    keepalive_requests 10000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {origin.partition("://")[0]}://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      {trust}
    }}
  }}
}}
"""


class Proxy:
    """One running proxy; for ``direct`` no process at all, its port is the mock's."""

    def __init__(self, kind: Kind, place: Place, *, tls: bool) -> None:
        self.kind = kind
        self.tls = tls
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self.port = place.mock_port if kind is Kind.DIRECT else free_port(PROXY_PORTS)

    @property
    def pid(self) -> int | None:
        """The process to watch, or None for ``direct``."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start and wait until it listens.

        Raises:
            Unavailable: it is not installed or did not start; the text quotes its last words.
        """
        if self.kind is Kind.DIRECT:
            return
        if self.tls and self._place.certificate is None:
            raise Unavailable("no certificate for a TLS mock")
        directory = self._place.directory / f"{self.kind.name.lower()}-{self.port}"
        directory.mkdir()
        command, env = self._command(directory)
        log = directory / "stderr"
        try:
            # Access logs cost their formatting and a write to /dev/null; errors are kept for the message.
            self._launch(command, env, directory, subprocess.DEVNULL)
        except Unavailable:
            with log.open("wb") as words:
                try:
                    self._launch(command, env, directory, words)
                except Unavailable as problem:
                    last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
                    for path, name in ((sys.executable, "python"), (str(directory), "."), (str(ROOT), "")):
                        last = last.replace(path, name)  # the text goes into a committed table
                    raise Unavailable(f"{problem}{': ' if last else ''}{last}") from None

    def _launch(self, command: list[str], env: dict[str, str], directory: Path, output: int | IO[bytes]) -> None:
        self._process = spawn(
            command, cpu=self._place.cores.proxy, stdout=output, stderr=output, env=env, cwd=directory
        )
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise Unavailable(f"{self.kind} ended with code {self._process.returncode}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise Unavailable(f"{self.kind} did not listen within {START_S:.0f} s")

    def _command(self, directory: Path) -> tuple[list[str], dict[str, str]]:
        place, env = self._place, dict(os.environ)
        origin = place.upstream(tls=self.tls)
        if self.kind is Kind.RAW:
            if self.tls:
                raise Unavailable("the raw relay knows no TLS")
            address = origin.partition("://")[2]
            return [sys.executable, str(HERE / "raw_relay.py"), address, str(self.port)], env
        if self.kind is Kind.NAIVE:
            if self.tls and place.certificate is not None:
                env["SSL_CERT_FILE"] = str(place.certificate.authority)  # it has no setting for this
            return [sys.executable, str(HERE / "naive_relay.py"), origin, str(self.port)], env
        if self.kind is Kind.NGINX:
            binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
            if binary is None:
                raise Unavailable("nginx is not installed")
            file = directory / "nginx.conf"
            file.write_text(nginx_config(place, directory, port=self.port, tls=self.tls))
            return [binary, "-p", str(directory), "-e", "stderr", "-c", str(file)], env
        # JSON is YAML, and needs no quoting rules of its own.
        file = directory / "gateway.yaml"
        file.write_text(json.dumps(gateway_config(place, directory, port=self.port, tls=self.tls), indent=1))
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(file), "--port", str(self.port)]
        return command, env

    def stop(self) -> None:
        """End it and what it started."""
        if self._process is not None:
            stop(self._process)
            self._process = None


class Proxies:
    """The proxies that serve more than one measurement; each is started once, all end with the context."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._running: dict[tuple[Kind, bool], Proxy] = {}
        self.unavailable: dict[tuple[Kind, bool], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in self._running.values():
            proxy.stop()

    def get(self, kind: Kind, *, tls: bool) -> tuple[Proxy, bool]:
        """The running proxy, and whether it has just been started.

        Raises:
            Unavailable: it cannot be measured here; it is not tried again.
        """
        if (kind, tls) in self.unavailable:
            raise Unavailable(self.unavailable[kind, tls])
        if (kind, tls) in self._running:
            return self._running[kind, tls], False
        proxy = Proxy(kind, self._place, tls=tls)
        self._running[kind, tls] = proxy
        try:
            proxy.start()
        except Unavailable as problem:
            del self._running[kind, tls]
            self.unavailable[kind, tls] = str(problem)
            raise
        return proxy, True

    def discard(self, kind: Kind, *, tls: bool) -> None:
        """End one, so that the next measurement meets a fresh process."""
        if proxy := self._running.pop((kind, tls), None):
            proxy.stop()
