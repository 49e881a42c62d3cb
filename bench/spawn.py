"""Child processes that are pinned to a core, may open many files, and never outlive the bench."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``: the signal that the kernel sends a process when its parent dies."""

_libc = ctypes.CDLL(None, use_errno=True)


def raise_open_files(wanted: int = 65_536) -> int:
    """Raise the limit of open files (hard too where that is allowed) and return what children now get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (wanted, hard):
        if limit <= soft:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
        except (ValueError, OSError):
            continue
        return limit
    return soft


def _in_child(cpu: int | None, parent: int) -> Callable[[], None]:
    def prepare() -> None:
        # SIGTERM, not SIGKILL: nginx's master takes its worker along only when it is asked.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return prepare


def spawn(
    command: Sequence[str],
    *,
    cpu: int | None,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in its own session on core ``cpu``; it gets SIGTERM if this process dies."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_in_child(cpu, os.getpid()),  # noqa: PLW1509  (this process has one thread)
    )


def stop(process: subprocess.Popen[bytes], *, grace_s: float = 3.0) -> None:
    """End a process that :func:`spawn` started, and everything in its session, within ``grace_s``."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            continue
        break
    process.wait()
