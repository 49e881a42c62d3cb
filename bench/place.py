"""Where a bench happens: its files, its cores, its ports, and the certificate of its TLS mock."""

from __future__ import annotations

import contextlib
import random
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from bench.cores import Cores


class Unavailable(Exception):
    """This proxy cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files for the TLS mock: the authority that proxies trust, the mock's chain and its key."""

    authority: Path
    chain: Path
    key: Path


def certificate(directory: Path) -> Certificate:
    """Issue a certificate for the mock under an authority of its own (ECDSA P-256, as providers use).

    Raises:
        Unavailable: trustme, a development dependency, is not installed.
    """
    try:
        import trustme
    except ImportError:
        raise Unavailable("trustme is not installed (pip install -e '.[dev]')") from None
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = Certificate(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    authority.cert_pem.write_to_path(str(files.authority))
    files.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(files.key))
    return files


MOCK_PORTS = range(20_000, 26_000)
PROXY_PORTS = range(26_000, 32_000)
"""Below the ports that Linux hands to outgoing connections (from 32768), and apart from each other: the mock
does not listen while proxies are started."""


def free_port(ports: range) -> int:
    """A port of loopback, out of ``ports``, that nobody listens on."""
    while True:
        port = random.choice(ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True, slots=True)
class Place:
    """Where this bench happens: its files, cores, the mock's ports, and the key that every client sends."""

    directory: Path
    cores: Cores
    mock_port: int
    mock_tls_port: int
    certificate: Certificate | None
    secret: str

    @classmethod
    def make(cls, directory: Path, cores: Cores, files: Certificate | None) -> Place:
        """Choose the ports and a random key."""
        even, odd = free_port(MOCK_PORTS[::2]), free_port(MOCK_PORTS[1::2])
        return cls(directory, cores, even, odd, files, f"agw-{secrets.token_urlsafe(32)}")

    def upstream(self, *, tls: bool) -> str:
        """The mock's origin, as a proxy's configuration wants it."""
        return f"https://127.0.0.1:{self.mock_tls_port}" if tls else f"http://127.0.0.1:{self.mock_port}"
