"""What systemd tells a service and what it wants to hear: sd_listen_fds(3) and sd_notify(3), without its library."""

import logging
import os
import socket
from collections.abc import Mapping, MutableMapping

from gateway.config import ConfigError, Mistake
from gateway.listening import adopt

log = logging.getLogger("gateway")

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


def passed_sockets(environ: MutableMapping[str, str]) -> tuple[socket.socket, ...]:
    """The sockets of a socket unit, none if there is no such unit.

    The variables are removed: they are for this process and not for those that it starts.

    Raises:
        ConfigError: what was passed cannot be listened on.
    """
    given = {name: environ.pop(name) for name in _VARIABLES if name in environ}
    pid, count = given.get("LISTEN_PID"), given.get("LISTEN_FDS")
    if pid is None or count is None:
        return ()
    if not (pid.isascii() and pid.isdigit()):
        raise ConfigError("the environment", [Mistake("LISTEN_PID", f"must be the number of a process; found {pid!r}")])
    if int(pid) != os.getpid():
        log.warning(
            "LISTEN_FDS is meant for process %s and this is process %d, so its sockets are not used: start the "
            "gateway without a shell around it (exec)",
            pid,
            os.getpid(),
        )
        return ()
    if not (count.isascii() and count.isdigit() and len(count) <= 4):
        raise ConfigError("the environment", [Mistake("LISTEN_FDS", f"must be a number of sockets; found {count!r}")])
    return adopt(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)), "LISTEN_FDS")


def notify(environ: Mapping[str, str], *assignments: str) -> None:
    """Tell the service manager how the service is (``READY=1``, ``STOPPING=1``, ``MAINPID=…``), if it wants to know."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # A manager that does not read must not hold up streams.
        sock.setblocking(False)
        try:
            sock.sendto("\n".join(assignments).encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            log.warning("systemd could not be told %s: %s", " ".join(assignments), error)
